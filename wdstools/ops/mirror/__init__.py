"""mirror: a dataset to another place, sent and proved file by file."""
