"""Runs: from a request to records, one call an arrow."""
