"""From samples by name to shards on disk: planning which sample lies where, and writing one shard."""

#: What a worker process needs.
WORKER_MODULES = ("wdstools.writer.shard", "pyarrow.parquet", "awscrt.checksums", "simplejpeg")
