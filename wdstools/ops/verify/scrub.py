"""Scrubbing: checking a large dataset a little at a time. What was checked when is kept outside the dataset."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError, NotFoundError
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry

_VERSION = 1


@dataclass(frozen=True, slots=True)
class ScrubOptions:
    """How much of a dataset one run checks; times in seconds, ``now`` since 1970.

    Shards found whole less than ``max_age`` ago are passed over; without it those found whole in this round, which
    ends when all were. None is begun ``time_limit`` after the start. ``folder`` holds a state file for each dataset.
    """

    folder: str
    now: Callable[[], float]
    max_age: float | None = None
    time_limit: float | None = None

    def open(self, dataset: Dataset, kind: str) -> Scrub:
        """Begin a run of checks of a ``kind``, which is level and digest: another kind has seen nothing.

        Raises FormatError (``state-damaged``).
        """
        store, name = LocalStore(self.folder), f"{dataset.root}.json"
        kinds = _load(store, name)
        seen = kinds.setdefault(kind, {})
        if self.max_age is None and all(entry.sha256 in seen for _, entry in dataset.manifest.shards):
            seen.clear()  # the round is over; the next one begins
        return Scrub(self, store, name, kinds, seen, self.now())


@dataclass(slots=True)
class Scrub:
    """One run: which shards it looks at. What it has seen is kept after each shard, so that it may end at any time."""

    options: ScrubOptions
    store: LocalStore
    name: str
    kinds: dict[str, dict[str, float]]
    seen: dict[str, float]
    began: float
    passed_over: int = field(default=0)
    waiting: int = field(default=0)

    def wants(self, entry: ShardEntry) -> bool:
        """Whether a shard is to be checked in this run."""
        at = self.seen.get(entry.sha256)
        if at is not None and (self.options.max_age is None or self.options.now() - at < self.options.max_age):
            self.passed_over += 1
            return False
        if self.options.time_limit is not None and self.options.now() - self.began >= self.options.time_limit:
            self.waiting += 1
            return False
        return True

    def note(self, entry: ShardEntry, *, whole: bool) -> None:
        """A shard was checked; a damaged one is looked at again in the next run."""
        if whole:
            self.seen[entry.sha256] = self.options.now()
        else:
            self.seen.pop(entry.sha256, None)
        document = {"seen": self.kinds, "version": _VERSION}
        self.store.put(self.name, (json.dumps(document, sort_keys=True) + "\n").encode())


def _load(store: LocalStore, name: str) -> dict[str, dict[str, float]]:
    """Kind -> SHA-256 of a shard -> when it was found whole."""
    try:
        document: Any = json.loads(get_whole(store, name))
        if document["version"] != _VERSION:
            return {}
        return {
            str(kind): {str(digest): float(at) for digest, at in seen.items()}
            for kind, seen in document["seen"].items()
        }
    except NotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        where = store.locate(name)
        raise FormatError(
            "what earlier checks have seen cannot be read", code="state-damaged", where=where, hint=f"rm {where}"
        ) from error
