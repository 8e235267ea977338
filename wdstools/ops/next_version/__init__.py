"""What all changes of a dataset share: rewriting shards, what follows from that, and how the next version appears."""
