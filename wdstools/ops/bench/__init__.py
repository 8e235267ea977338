"""bench: how fast a dataset streams here, and what bounds it."""
