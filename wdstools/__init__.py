"""wdstools: checksummed WebDataset shards, from packing to training.

    import wdstools as wt

    dataset = wt.pack(wt.FolderSource("InstaCities1M"), "shards")
    wt.verify(dataset).raise_for_findings()
    dataset["train"][123]

Importing this module imports nothing heavy: names are looked up when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.version import __version__

_HOMES = {
    "Batch": "reader.batch",
    "BusyError": "errors",
    "Dataset": "dataset",
    "DuplicateGroups": "dedup.results",
    "Finding": "results",
    "FolderSource": "sources.folder",
    "FormatError": "errors",
    "IntegrityError": "errors",
    "Inventory": "results",
    "Manifest": "formats.manifest",
    "NotFoundError": "errors",
    "PackResult": "ops.pack",
    "Plan": "plan",
    "Report": "results",
    "Sample": "reader.sample",
    "Selection": "reader.select",
    "ShardEntry": "formats.manifest",
    "ShardsSource": "sources.shards",
    "SkippedError": "errors",
    "SourceChangedError": "errors",
    "Split": "reader.split",
    "StoreError": "errors",
    "TableSource": "sources.table",
    "UnsupportedVersionError": "errors",
    "UsageError": "errors",
    "WdsError": "errors",
    "WorkerError": "errors",
    "adopt": "ops.adopt",
    "apply": "plan",
    "diff": "ops.diff",
    "extract": "ops.extract.write",
    "find_duplicates": "ops.duplicates.find",
    "loader": "reader.loader",
    "open_dataset": "dataset",
    "open_source": "sources.open",
    "open_store": "stores.open",
    "pack": "ops.pack",
    "parse_where": "reader.select",
    "plan_mirror": "ops.mirror.plan",
    "plan_pull": "ops.pull",
    "plan_remove": "ops.remove.plan",
    "plan_repair": "ops.repair.plan",
    "scan": "ops.scan",
    "stream": "reader.stream",
    "torch": "reader.torch",
    "verify": "ops.verify.run",
    "webdataset": "reader.webdataset",
}

__all__ = [
    "Batch",
    "BusyError",
    "Dataset",
    "DuplicateGroups",
    "Finding",
    "FolderSource",
    "FormatError",
    "IntegrityError",
    "Inventory",
    "Manifest",
    "NotFoundError",
    "PackResult",
    "Plan",
    "Report",
    "Sample",
    "Selection",
    "ShardEntry",
    "ShardsSource",
    "SkippedError",
    "SourceChangedError",
    "Split",
    "StoreError",
    "TableSource",
    "UnsupportedVersionError",
    "UsageError",
    "WdsError",
    "WorkerError",
    "__version__",
    "adopt",
    "apply",
    "diff",
    "extract",
    "find_duplicates",
    "loader",
    "open_dataset",
    "open_source",
    "open_store",
    "pack",
    "parse_where",
    "plan_mirror",
    "plan_pull",
    "plan_remove",
    "plan_repair",
    "scan",
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
    )
    from wdstools.formats.manifest import Manifest, ShardEntry
    from wdstools.ops.adopt import adopt
    from wdstools.ops.diff import diff
    from wdstools.ops.duplicates.find import find_duplicates
    from wdstools.ops.extract.write import extract
    from wdstools.ops.mirror.plan import plan_mirror
    from wdstools.ops.pack import PackResult, pack
    from wdstools.ops.pull import plan_pull
    from wdstools.ops.remove.plan import plan_remove
    from wdstools.ops.repair.plan import plan_repair
    from wdstools.ops.scan import scan
    from wdstools.ops.verify.run import verify
    from wdstools.plan import Plan, apply
    from wdstools.reader import torch
    from wdstools.reader.batch import Batch
    from wdstools.reader.loader import loader
    from wdstools.reader.sample import Sample
    from wdstools.reader.select import Selection, parse_where
    from wdstools.reader.split import Split
    from wdstools.reader.stream import stream
    from wdstools.reader.webdataset import webdataset
    from wdstools.results import Finding, Inventory, Report
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

    module = importlib.import_module(f"wdstools.{home}")
    return module if name == "torch" else getattr(module, name)  # wt.torch is a module


def __dir__() -> list[str]:
    return list(__all__)
