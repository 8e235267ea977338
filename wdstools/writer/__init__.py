"""From samples by name to shards on disk: planning which sample lies where, and writing one shard."""

#: What a worker process imports at its start, while its parent is still listing the source.
WORKER_MODULES = ("wdstools.writer.shard", "awscrt.checksums", "simplejpeg")
