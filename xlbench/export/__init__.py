"""Students that leave the store."""
