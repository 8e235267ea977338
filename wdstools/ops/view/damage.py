"""What a check found, brought to the samples: by a file of ``verify --json``, or by a check that runs while people look."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import FormatError, IntegrityError
from wdstools.formats.arrow import one_chunk, to_list, to_numpy
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
    """The findings of a check, and at which level it was made."""

    level: str
    findings: tuple[Finding, ...]
    source: str


class Damage:
    """Findings by shard: which of its samples they concern. ``elsewhere`` are those that concern no shard."""

    def __init__(self, dataset: Dataset, findings: Iterable[Finding]) -> None:
        shards = {entry.path for _, entry in dataset.manifest.shards}
        of_index = {index_path(path): path for path in shards}
        self.of_shard: dict[str, list[Finding]] = defaultdict(list)
        self.elsewhere: list[Finding] = []
        for finding in findings:
            path = of_index.get(finding.path, finding.path)
            (self.of_shard[path] if path in shards else self.elsewhere).append(finding)

    def mask(self, path: str, table: pa.Table) -> NDArray[np.bool_]:
        """Which samples of a shard are damaged, or lie in what is."""
        hit = np.zeros(table.num_rows, bool)
        for finding in self.of_shard.get(path, ()):
            hit |= _concerned(finding, path, table)
        return hit

    def of_row(self, path: str, row: int, table: pa.Table) -> list[Finding]:
        """What was found of one sample."""
        one = table.slice(row, 1)
        return [finding for finding in self.of_shard.get(path, ()) if _concerned(finding, path, one).any()]


def _concerned(finding: Finding, path: str, table: pa.Table) -> NDArray[np.bool_]:
    """The samples of a finding: the one that it names, those in its bytes, or all of the shard."""
    if finding.key is not None:
        return np.array([key == finding.key for key in to_list(table.column("key"))], bool)
    if finding.path != path or finding.start is None:
        return np.ones(table.num_rows, bool)
    first = to_numpy(one_chunk(table.column("offset")), null=-1)
    end = first + to_numpy(one_chunk(table.column("length")), null=0)
    inside = (first < finding.start + max(1, finding.length or 1)) & (end > finding.start)
    result: NDArray[np.bool_] = inside & (first >= 0)
    return result


def read_findings(path: str, dataset: Dataset) -> Checked:
    """The findings in what ``verify --json`` has printed.

    Raises StoreError, FormatError (``findings-not-understood``), and IntegrityError (``root-differs``) for those of another
    dataset.
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
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
            raise _not_understood(path, f"line {number}") from error
        if kind == "summary" and root not in (None, dataset.root):
            raise IntegrityError(
                "these findings are of another dataset",
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
    return Finding(**known)  # type: ignore[arg-type]  # checked just now


def _not_understood(path: str, got: str) -> FormatError:
    return FormatError(
        "these are no findings of a check",
        code="findings-not-understood",
        where=path,
        expected="the lines that wdstools verify --json prints, up to the last",
        got=got,
        hint="wdstools verify DATASET --json > findings.jsonl",
    )
