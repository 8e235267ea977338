"""Files that consumers want beside the shards, and proof that they open the dataset."""
