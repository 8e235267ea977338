"""From samples by name to shards on disk: planning which sample lies where, and writing one shard."""
