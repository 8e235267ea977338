"""bench: how fast a dataset streams here, and what bounds it."""

from wdstools.ops.bench.result import BenchResult
from wdstools.ops.bench.run import bench

__all__ = ["BenchResult", "bench"]
