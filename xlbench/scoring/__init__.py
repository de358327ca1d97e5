"""Scoring: MTEB's tasks and metrics, the items that the bootstrap resamples, footprint and speed."""
