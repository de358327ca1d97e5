"""What a board declares, how it is run, and its folder."""
