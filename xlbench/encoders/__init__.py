"""Encoders: found by name, loaded as SentenceTransformers, run over many sentences."""
