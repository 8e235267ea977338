"""How a result appears whole or not at all: scratch places, staging, and the small files of a dataset."""
