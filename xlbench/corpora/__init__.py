"""Sources of parallel pairs, and the one way in which they become training data."""
