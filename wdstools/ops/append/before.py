"""Recognise the result of an earlier append to a new dataset, so that the same command again just says so."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from wdstools.dataset import open_dataset
from wdstools.errors import FormatError, StoreError
from wdstools.formats.manifest import SKIPPED_PATH
from wdstools.landing.inside import read_inside
from wdstools.landing.small_files import read_provenance
from wdstools.ops.append.known import tell_apart
from wdstools.stores.open import is_bucket

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.planning.table import Samples
    from wdstools.progress import Progress
    from wdstools.writer.assembly import ShardSettings


def made_before(
    dataset: Dataset, output: str, samples: Samples, settings: ShardSettings, executor: Executor, progress: Progress
) -> Dataset | None:
    """The dataset at ``output``, if it is the next version of this one with these samples, byte for byte; else None.

    Samples that could not be packed must be on its list of skips.
    """
    if not (is_bucket(output) or os.path.isdir(output)):
        return None
    try:
        found = open_dataset(output)
        history = read_provenance(found.metadata).get("history")
        last = history[-1] if isinstance(history, list) and history else None
        if not isinstance(last, dict) or (last.get("action"), last.get("previous_root")) != ("append", dataset.root):
            return None
        known = tell_apart(found, samples, settings, executor, progress)
        absent = {key.decode() for key in known.fresh.texts("key")}
        same = absent <= _skipped_keys(found) and not known.skips
    except (StoreError, FormatError):
        return None
    return found if same else None


def _skipped_keys(dataset: Dataset) -> set[Any]:
    try:
        lines = [json.loads(line) for line in read_inside(dataset.metadata, SKIPPED_PATH).splitlines()]
    except (StoreError, ValueError, RecursionError):
        return set()
    return {line["key"] for line in lines if isinstance(line, dict) and isinstance(line.get("key"), str)}
