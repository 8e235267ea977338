"""remove: samples out of a dataset."""
