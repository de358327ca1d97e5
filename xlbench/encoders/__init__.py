"""Encoders: how they are found by name, loaded as SentenceTransformers, and run over many sentences."""
