"""How a result appears complete or not at all: scratch places, staging, and the small files of a dataset."""
