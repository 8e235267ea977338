"""Assign the findings of a check to samples: from the output of ``verify --json``, or from a check run by the page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import FormatError, IntegrityError
from wdstools.formats.arrow import to_list, to_numpy
from wdstools.formats.manifest import index_path
from wdstools.results import Finding
from wdstools.stores.local import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset

_NAMES = frozenset(one.name for one in fields(Finding))
_NUMBERS = ("start", "length")


@dataclass(frozen=True, slots=True)
class Checked:
    """The findings of a check, and its level."""

    level: str
    findings: tuple[Finding, ...]
    source: str


@dataclass(slots=True)
class _OfShard:
    """The findings of one shard: by key, by byte range, and about the whole shard."""

    keys: dict[str, list[Finding]] = field(default_factory=dict)
    spans: list[Finding] = field(default_factory=list)
    whole: list[Finding] = field(default_factory=list)
    mask: NDArray[np.bool_] | None = None


class Damage:
    """Findings by shard, and the samples that they affect. ``elsewhere`` are findings that do not affect any shard."""

    def __init__(self, dataset: Dataset, findings: Iterable[Finding]) -> None:
        shards = {entry.path for _, entry in dataset.manifest.shards}
        of_index = {index_path(path): path for path in shards}
        self.of_shard: dict[str, _OfShard] = {}
        self.elsewhere: list[Finding] = []
        for finding in findings:
            path = of_index.get(finding.path, finding.path)
            if path not in shards:
                self.elsewhere.append(finding)
                continue
            mine = self.of_shard.setdefault(path, _OfShard())
            if finding.key is not None:
                mine.keys.setdefault(finding.key, []).append(finding)
            else:
                (mine.whole if finding.path != path or finding.start is None else mine.spans).append(finding)

    def mask(self, path: str, table: pa.Table) -> NDArray[np.bool_]:
        """Which samples of a shard are damaged, or touched by damage."""
        mine = self.of_shard.get(path)
        if mine is None:
            return np.zeros(table.num_rows, bool)
        if mine.mask is None:
            hit = np.fromiter((key in mine.keys for key in to_list(table.column("key"))), bool, table.num_rows)
            hit |= bool(mine.whole)
            for finding in mine.spans:
                hit |= _inside(finding, table)
            mine.mask = hit
        return mine.mask

    def of_row(self, path: str, row: int, table: pa.Table) -> list[Finding]:
        """The findings about one sample."""
        mine = self.of_shard.get(path)
        if mine is None:
            return []
        one = table.slice(row, 1)
        inside = [finding for finding in mine.spans if _inside(finding, one).any()]
        return [*mine.keys.get(one.column("key")[0].as_py(), ()), *inside, *mine.whole]


def _inside(finding: Finding, table: pa.Table) -> NDArray[np.bool_]:
    """The samples that a finding's byte range touches."""
    assert finding.start is not None
    first = to_numpy(table.column("offset"), null=-1)
    end = first + to_numpy(table.column("length"), null=0)
    touched: NDArray[np.bool_] = (
        (first >= 0) & (first < finding.start + max(1, finding.length or 1)) & (end > finding.start)
    )
    return touched


def read_findings(path: str, dataset: Dataset) -> Checked:
    """The findings in the output of ``verify --json``.

    Raises StoreError, FormatError (``findings-not-understood``), and IntegrityError (``root-differs``) for the findings of
    another dataset.
    """
    findings, level = [], ""
    for number, line in enumerate(read_file(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            kind = document.get("type")
            if kind == "finding":
                findings.append(_finding(document))
            elif kind == "summary":
                level = str(document.get("level", ""))
                root = document.get("root")
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            raise _not_understood(path, f"line {number}") from None
        if kind == "summary" and root not in (None, dataset.root):
            raise IntegrityError(
                "these findings are for another dataset",
                code="root-differs",
                where=path,
                expected=dataset.root,
                got=str(root)[:80],
            )
    if not level:
        raise _not_understood(path, "no summary")
    return Checked(level, tuple(findings), path)


def _finding(document: dict[str, object]) -> Finding:
    known = {name: value for name, value in document.items() if name in _NAMES}
    for name, value in known.items():
        if not isinstance(value, int if name in _NUMBERS else str) or isinstance(value, bool):
            raise TypeError(name)
    if not {"kind", "path", "message"} <= known.keys():
        raise TypeError("kind, path or message")
    kind, where, message, cause = (str(known.pop(name, "")) for name in ("kind", "path", "message", "cause"))
    return Finding(kind, where, message, cause=cause, **known)  # type: ignore[arg-type]  # checked above


def _not_understood(path: str, got: str) -> FormatError:
    return FormatError(
        "these are not the findings of a check",
        code="findings-not-understood",
        where=path,
        expected="all lines that wdstools verify --json prints, including the last",
        got=got,
        hint="wdstools verify DATASET --json > findings.jsonl",
    )
