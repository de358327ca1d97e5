"""The toys that the conformance kit ships, under the name that tests have for them."""

from __future__ import annotations

from xlbench.testing.toys import save_toy_encoder, write_toy_corpus

__all__ = ["save_toy_encoder", "write_toy_corpus"]
