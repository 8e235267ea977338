"""Find damage: in a shard with its index, in a lone shard, in metadata, in files on a checksum list."""
