"""The results of runs: records, the rows made of them, predictions, published rows, failures."""
