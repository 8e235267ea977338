"""wdstools: checksummed WebDataset shards, from packing to training.

    import wdstools as wt

    dataset = wt.pack(wt.FolderSource("InstaCities1M"), "shards")
    wt.verify(dataset).raise_for_findings()
    dataset["train"][123]

Importing this module imports nothing heavy: each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.version import __version__

_HOMES = {
    "AdoptResult": "ops.adopt",
    "AppendResult": "ops.append",
    "Batch": "reader.batch",
    "BenchResult": "ops.bench",
    "BusyError": "errors",
    "ColumnsInfo": "ops.columns",
    "ColumnsResult": "ops.columns",
    "Dataset": "dataset",
    "Diagnosis": "ops.doctor",
    "DiffResult": "ops.diff",
    "Difference": "ops.diff",
    "DuplicateGroups": "dedup.results",
    "EmitResult": "ops.emit",
    "Executor": "executors.base",
    "ExtractResult": "ops.extract",
    "Finding": "results",
    "FinishResult": "landing.staging",
    "FolderSource": "sources.folder",
    "FormatError": "errors",
    "FuturesExecutor": "executors.futures",
    "Hazard": "results",
    "IntegrityError": "errors",
    "Inventory": "ops.scan",
    "Manifest": "formats.manifest",
    "MirrorResult": "ops.mirror",
    "NotFoundError": "errors",
    "PackResult": "ops.pack",
    "Plan": "plan",
    "Progress": "progress",
    "Proved": "results",
    "PullResult": "ops.pull",
    "RayExecutor": "executors.ray",
    "RemoveResult": "ops.remove",
    "RepairResult": "ops.repair",
    "Report": "results",
    "Sample": "reader.sample",
    "SampleInfo": "ops.ls",
    "Selection": "reader.select",
    "ShardEntry": "formats.manifest",
    "ShardsSource": "sources.shards",
    "SharedImage": "ops.duplicates",
    "SharedImages": "ops.duplicates",
    "SignResult": "ops.sign",
    "Skip": "results",
    "SkippedError": "errors",
    "SourceChangedError": "errors",
    "Split": "reader.split",
    "StatsResult": "ops.stats",
    "Step": "plan",
    "StoreError": "errors",
    "TableSource": "sources.table",
    "UnsupportedVersionError": "errors",
    "UsageError": "errors",
    "WdsError": "errors",
    "WorkerError": "errors",
    "WorkerLostError": "errors",
    "add_columns": "ops.columns",
    "adopt": "ops.adopt",
    "append": "ops.append",
    "apply": "plan",
    "aspect_buckets": "reader.buckets",
    "bench": "ops.bench",
    "diff": "ops.diff",
    "doctor": "ops.doctor",
    "emit": "ops.emit",
    "extract": "ops.extract",
    "find_duplicates": "ops.duplicates",
    "find_shared": "ops.duplicates",
    "head": "ops.ls",
    "image": "reader.image",
    "list_columns": "ops.columns",
    "loader": "reader.loader",
    "map_columns": "ops.columns",
    "mirror": "ops.mirror",
    "mix": "reader.mixing",
    "open_dataset": "dataset",
    "open_executor": "executors.open",
    "open_source": "sources.open",
    "open_store": "stores.open",
    "pack": "ops.pack",
    "parse_where": "reader.select",
    "plan_add_columns": "ops.columns",
    "plan_append": "ops.append",
    "plan_emit": "ops.emit",
    "plan_emit_removal": "ops.emit",
    "plan_mirror": "ops.mirror",
    "plan_pull": "ops.pull",
    "plan_remove": "ops.remove",
    "plan_remove_columns": "ops.columns",
    "plan_repair": "ops.repair",
    "pull": "ops.pull",
    "remove": "ops.remove",
    "remove_columns": "ops.columns",
    "repair": "ops.repair",
    "scan": "ops.scan",
    "select": "reader.select",
    "sign": "ops.sign",
    "source": "reader.mixing",
    "stats": "ops.stats",
    "stream": "reader.stream",
    "torch": "reader.torch",
    "verify": "ops.verify",
    "webdataset": "reader.webdataset",
}

__all__ = [
    "AdoptResult",
    "AppendResult",
    "Batch",
    "BenchResult",
    "BusyError",
    "ColumnsInfo",
    "ColumnsResult",
    "Dataset",
    "Diagnosis",
    "DiffResult",
    "Difference",
    "DuplicateGroups",
    "EmitResult",
    "Executor",
    "ExtractResult",
    "Finding",
    "FinishResult",
    "FolderSource",
    "FormatError",
    "FuturesExecutor",
    "Hazard",
    "IntegrityError",
    "Inventory",
    "Manifest",
    "MirrorResult",
    "NotFoundError",
    "PackResult",
    "Plan",
    "Progress",
    "Proved",
    "PullResult",
    "RayExecutor",
    "RemoveResult",
    "RepairResult",
    "Report",
    "Sample",
    "SampleInfo",
    "Selection",
    "ShardEntry",
    "ShardsSource",
    "SharedImage",
    "SharedImages",
    "SignResult",
    "Skip",
    "SkippedError",
    "SourceChangedError",
    "Split",
    "StatsResult",
    "Step",
    "StoreError",
    "TableSource",
    "UnsupportedVersionError",
    "UsageError",
    "WdsError",
    "WorkerError",
    "WorkerLostError",
    "__version__",
    "add_columns",
    "adopt",
    "append",
    "apply",
    "aspect_buckets",
    "bench",
    "diff",
    "doctor",
    "emit",
    "extract",
    "find_duplicates",
    "find_shared",
    "head",
    "image",
    "list_columns",
    "loader",
    "map_columns",
    "mirror",
    "mix",
    "open_dataset",
    "open_executor",
    "open_source",
    "open_store",
    "pack",
    "parse_where",
    "plan_add_columns",
    "plan_append",
    "plan_emit",
    "plan_emit_removal",
    "plan_mirror",
    "plan_pull",
    "plan_remove",
    "plan_remove_columns",
    "plan_repair",
    "pull",
    "remove",
    "remove_columns",
    "repair",
    "scan",
    "select",
    "sign",
    "source",
    "stats",
    "stream",
    "torch",
    "verify",
    "webdataset",
]

if TYPE_CHECKING:
    from wdstools.dataset import Dataset, open_dataset
    from wdstools.dedup.results import DuplicateGroups
    from wdstools.errors import (
        BusyError,
        FormatError,
        IntegrityError,
        NotFoundError,
        SkippedError,
        SourceChangedError,
        StoreError,
        UnsupportedVersionError,
        UsageError,
        WdsError,
        WorkerError,
        WorkerLostError,
    )
    from wdstools.executors.base import Executor
    from wdstools.executors.futures import FuturesExecutor
    from wdstools.executors.open import open_executor
    from wdstools.executors.ray import RayExecutor
    from wdstools.formats.manifest import Manifest, ShardEntry
    from wdstools.landing.staging import FinishResult
    from wdstools.ops.adopt import AdoptResult, adopt
    from wdstools.ops.append import AppendResult, append, plan_append
    from wdstools.ops.bench import BenchResult, bench
    from wdstools.ops.columns import (
        ColumnsInfo,
        ColumnsResult,
        add_columns,
        list_columns,
        map_columns,
        plan_add_columns,
        plan_remove_columns,
        remove_columns,
    )
    from wdstools.ops.diff import Difference, DiffResult, diff
    from wdstools.ops.doctor import Diagnosis, doctor
    from wdstools.ops.duplicates import SharedImage, SharedImages, find_duplicates, find_shared
    from wdstools.ops.emit import EmitResult, emit, plan_emit, plan_emit_removal
    from wdstools.ops.extract import ExtractResult, extract
    from wdstools.ops.ls import SampleInfo, head
    from wdstools.ops.mirror import MirrorResult, mirror, plan_mirror
    from wdstools.ops.pack import PackResult, pack
    from wdstools.ops.pull import PullResult, plan_pull, pull
    from wdstools.ops.remove import RemoveResult, plan_remove, remove
    from wdstools.ops.repair import RepairResult, plan_repair, repair
    from wdstools.ops.scan import Inventory, scan
    from wdstools.ops.sign import SignResult, sign
    from wdstools.ops.stats import StatsResult, stats
    from wdstools.ops.verify import verify
    from wdstools.plan import Plan, Step, apply
    from wdstools.progress import Progress
    from wdstools.reader import image, torch
    from wdstools.reader.batch import Batch
    from wdstools.reader.buckets import aspect_buckets
    from wdstools.reader.loader import loader
    from wdstools.reader.mixing import mix, source
    from wdstools.reader.sample import Sample
    from wdstools.reader.select import Selection, parse_where, select
    from wdstools.reader.split import Split
    from wdstools.reader.stream import stream
    from wdstools.reader.webdataset import webdataset
    from wdstools.results import Finding, Hazard, Proved, Report, Skip
    from wdstools.sources.folder import FolderSource
    from wdstools.sources.open import open_source
    from wdstools.sources.shards import ShardsSource
    from wdstools.sources.table import TableSource
    from wdstools.stores.open import open_store


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wdstools' has no attribute {name!r}")
    import importlib

    from wdstools.system import REFUSED, is_supported

    if not is_supported():
        raise ImportError(REFUSED)
    module = importlib.import_module(f"wdstools.{home}")
    return module if name in ("image", "torch") else getattr(module, name)


def __dir__() -> list[str]:
    return list(__all__)
