"""Corpora of parallel pairs: how they are read, and how they become training data."""
