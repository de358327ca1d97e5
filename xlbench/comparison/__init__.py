"""Comparison: which differences between rows are real, from the items that their scores rest on."""
