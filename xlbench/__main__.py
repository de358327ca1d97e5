"""``python -m xlbench``."""

from xlbench.cli import main

main()
