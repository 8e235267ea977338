"""Files that consumers need next to the shards, and probes that show that they can open the dataset."""
