"""What the engine of :mod:`toy_engine` did, however often that file is loaded as a plugin."""

RAN: list[str] = []  # names of tasks that were begun
SAID: list[str] = []  # what they said
