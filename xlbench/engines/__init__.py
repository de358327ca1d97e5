"""Engines: where the tasks of a run are run: in this process, on Ray, on Slurm, or on anything that a plugin brings."""
