"""Records, and tables made from them."""
