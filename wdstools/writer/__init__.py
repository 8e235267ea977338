"""From planned samples to a shard with its index: reading, checking, laying out and hashing."""

#: Modules that a worker process needs.
WORKER_MODULES = ("wdstools.writer.shard", "pyarrow.parquet", "awscrt.checksums", "simplejpeg")
