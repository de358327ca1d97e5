"""What runs leave: records, the rows that they make, predictions, published rows, failures."""
