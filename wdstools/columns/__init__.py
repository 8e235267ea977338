"""Columns that were added to a dataset: which sets lie with it (``sets``), and the values of their fields (``values``)."""
