"""How results are shown: figures, tables, pages, plots, findings."""
