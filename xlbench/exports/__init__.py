"""Exporting students from the store."""
