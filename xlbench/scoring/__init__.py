"""Scoring: MTEB's own tasks and metrics, with items kept for the bootstrap, footprint, and speed."""
