"""Comparison: which differences between rows are significant, by a bootstrap over their items."""
