"""Tars that something else made: their samples as rows of an index, and what will go wrong with them, for whom."""
