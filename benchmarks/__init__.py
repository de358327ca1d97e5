"""Measures xlbench's speed: ``python -m benchmarks.speed``; no part of the package."""
