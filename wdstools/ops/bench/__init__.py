"""bench: measure how fast a dataset streams here, and find the bottleneck."""

from wdstools.ops.bench.result import BenchResult
from wdstools.ops.bench.run import bench

__all__ = ["BenchResult", "bench"]
