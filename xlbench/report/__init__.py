"""How results look: figures, tables, pages, plots, findings."""
