"""Added columns, file by file: exactly what is said of each that is not what its set says."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.golden_in_memory import Held, golden, golden_files, opened
from wdstools.checks.columns import ColumnsCheckTask, KnownSets, check_columns, columns_tasks, known_sets
from wdstools.errors import StoreError
from wdstools.formats.columns import dumps, loads, set_path, waiting_path
from wdstools.formats.manifest import COLUMNS_FOLDER, COLUMNS_LIST
from wdstools.formats.sums import parse_sums, render_sums
from wdstools.results import Finding
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from wdstools.formats.columns import ColumnSet
    from wdstools.stores.base import ObjectInfo

_KEPT = Path(__file__).parents[1] / "golden/columns"
FILES = {
    f"{COLUMNS_FOLDER}{path.relative_to(_KEPT).as_posix()}": path.read_bytes()
    for path in sorted(_KEPT.rglob("*"))
    if path.is_file()
}
DOCUMENT = set_path("golden")
SET = loads(FILES[DOCUMENT], where="")
SUMS = {line.path: line.digest for line in parse_sums(FILES[COLUMNS_LIST])}
FILE = f"{COLUMNS_FOLDER}golden/train-000001.parquet"
OTHER_FILE = f"{COLUMNS_FOLDER}golden/train-000000.parquet"
_, ENTRY = golden().manifest.shards[1]
OURS = SET.shard(ENTRY.path)
DENIED = StoreError("not allowed", code="denied")
AGAIN = "repair it from a copy, or remove the set and add it again"


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _store(changed: dict[str, bytes | None] | None = None, fails: dict[str, StoreError] | None = None) -> Held:
    files = {**golden_files(), **FILES, **(changed or {})}
    return Held({path: data for path, data in files.items() if data is not None}, fails)


def _known(changed: dict[str, bytes | None], fails: dict[str, StoreError] | None = None) -> KnownSets:
    return known_sets(opened(_store(changed, fails)))


def _listed(sums: dict[str, str]) -> dict[str, bytes | None]:
    return {COLUMNS_LIST: render_sums(sums)}


def _with_document(columns: ColumnSet) -> dict[str, bytes | None]:
    data = dumps(columns)
    return {DOCUMENT: data, **_listed({**SUMS, DOCUMENT: _sha(data)})}


def test_a_set_that_is_whole_is_known_and_has_a_task_for_each_shard() -> None:
    dataset = opened(_store())
    known = known_sets(dataset)
    assert known == KnownSets(dataset.metadata, (SET,))
    shards = dataset.manifest.shards
    tasks = columns_tasks(dataset, known, "digest", shards[1:])
    assert [task.entry for task in tasks] == [entry for _, entry in shards[1:]]
    assert tasks[0].name == f"{FILE}#{OURS.sha256}"
    assert known_sets(golden()) == KnownSets(golden().metadata)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {DOCUMENT: None},
            Finding(
                "missing",
                DOCUMENT,
                f"the document of added columns is missing; {AGAIN}",
                expected=SUMS[DOCUMENT],
                cause="file-missing",
            ),
        ),
        (
            {DOCUMENT: b"{}"},
            Finding(
                "columns",
                DOCUMENT,
                f"added columns cannot be used: its document differs from the one that was written; {AGAIN}",
                cause="columns-damaged",
            ),
        ),
        (
            _with_document(replace(SET, root="5" * 64)),
            Finding(
                "columns",
                DOCUMENT,
                "these columns were made for another version of the dataset; remove the set, and add it again",
                expected=golden().root,
                got="5" * 64,
                cause="columns-of-another",
            ),
        ),
    ],
)
def test_a_document_that_is_not_that_of_its_set_is_the_only_finding(
    changed: dict[str, bytes | None], said: Finding
) -> None:
    known = _known(changed)
    assert (known.sets, known.findings, known.unproved) == ((), (said,), ())


class _BadDisk(LocalStore):
    """A disk that cannot read."""

    def head(self, key: str) -> ObjectInfo:
        """Fails."""
        del key
        raise DENIED


def test_a_list_that_cannot_be_read_is_damage_on_a_disk_only(tmp_path: Path) -> None:
    known = _known({}, {COLUMNS_LIST: DENIED})
    assert (known.sets, known.findings) == ((), ())
    assert known.unproved == (f"memory:/{COLUMNS_LIST}: not allowed (denied)",)
    where = StoreError("not allowed", code="denied", where="s3://there/x")
    assert _known({}, {COLUMNS_LIST: where}).unproved == ("s3://there/x: not allowed (denied)",)
    disk, said = (
        _BadDisk(str(tmp_path)),
        Finding("unreadable", COLUMNS_LIST, "not allowed", got="denied", cause="denied"),
    )
    here = replace(golden(), metadata=disk, shards=disk)
    assert known_sets(here) == KnownSets(disk, findings=(said,))
    # with the shards elsewhere nobody knows where the sets lie
    apart = known_sets(replace(here, shards=_store()))
    assert (apart.findings, len(apart.unproved)) == ((), 1)
    damaged = _known({COLUMNS_LIST: b"?"})
    said = Finding("columns", COLUMNS_LIST, "not a line of a checksum list", got="b'?'", cause="sums-damaged")
    assert (damaged.findings, damaged.unproved) == ((said,), ())


def test_the_list_and_a_document_agree_about_each_file() -> None:
    less = {path: digest for path, digest in SUMS.items() if path != FILE}
    message = f"the list of columns has no line for {FILE}"
    said = Finding("columns", COLUMNS_LIST, message, expected=OURS.sha256, cause="line-missing", field=FILE)
    known = _known(_listed(less))
    assert (known.sets, known.findings) == ((SET,), (said,))
    message = f"the list of columns has another digest for {FILE} than the document"
    said = replace(said, message=message, got="5" * 64, cause="line-differs")
    assert _known(_listed({**SUMS, FILE: "5" * 64})).findings == (said,)


@pytest.mark.parametrize(
    ("stray", "lines", "first"),
    [
        # nothing that a set has, and what lies below a set that does not name it
        (["README.md"], "1 line", "README.md"),
        ([f"{COLUMNS_FOLDER}golden/none.parquet", "z"], "2 lines", f"{COLUMNS_FOLDER}golden/none.parquet"),
        # a file of a set that has no document
        ([f"{COLUMNS_FOLDER}other/a.parquet"], "1 line", f"{COLUMNS_FOLDER}other/a.parquet"),
    ],
)
def test_lines_that_are_of_no_set_are_counted(stray: list[str], lines: str, first: str) -> None:
    message = f"the list of columns has {lines} of no set; delete what none of its documents names"
    said = Finding("columns", COLUMNS_LIST, message, cause="list-form", field=first)
    assert _known(_listed({**SUMS, **dict.fromkeys(stray, "5" * 64)})).findings == (said,)


def test_files_of_a_set_whose_document_is_damaged_are_no_strays() -> None:
    assert [finding.path for finding in _known({DOCUMENT: b"{}"}).findings] == [DOCUMENT]


def _check(
    changed: dict[str, bytes | None] | None = None,
    columns: ColumnSet = SET,
    level: str = "digest",
    fails: dict[str, StoreError] | None = None,
) -> tuple[Finding, ...]:
    ticks: list[int] = []
    store = _store(changed, fails)
    found = check_columns(ColumnsCheckTask(opened(store), store, columns, ENTRY, level), ticks.append)
    assert ticks == [columns.shard(ENTRY.path).bytes]
    return found


def _told(data: bytes, **changed: Any) -> tuple[dict[str, bytes | None], ColumnSet]:
    """A file, and a set that says that it is this one."""
    shard = replace(OURS, sha256=_sha(data), bytes=len(data))
    shards = tuple(replace(shard, **changed) if one is OURS else one for one in SET.shards)
    return {FILE: data}, replace(SET, shards=shards)


@pytest.mark.parametrize("level", ["size", "digest"])
def test_a_file_is_there_and_can_be_read(level: str) -> None:
    assert _check(level=level) == ()
    message = f"a file of added columns is missing; {AGAIN}"
    said = Finding("missing", FILE, message, expected=OURS.sha256, cause="file-missing")
    assert _check({FILE: None}, level=level) == (said,)
    denied = Finding("unreadable", FILE, "not allowed", got="denied", cause="denied")
    assert _check(fails={FILE: DENIED}, level=level) == (denied,)


def test_a_file_is_what_was_written() -> None:
    data = FILES[OTHER_FILE]
    message = f"the bytes are not those that were written; {AGAIN}"
    said = Finding("columns", FILE, message, expected=OURS.sha256, got=_sha(data), cause="bytes-differ")
    assert _check({FILE: data}) == (said,)
    message = f"a file of added columns does not have the size it was written with; {AGAIN}"
    said = replace(said, message=message, expected="1153 bytes", got="1116 bytes")
    assert _check({FILE: data}, level="size") == (said,)


def test_a_change_that_was_cut_short_is_told_as_that() -> None:
    message = (
        "a change of these columns was interrupted before this file was moved into place; run the same command again"
    )
    said = Finding("columns", FILE, message, expected=OURS.sha256, cause="change-unfinished")
    waits: dict[str, bytes | None] = {waiting_path(FILE, OURS.sha256): FILES[FILE]}
    for there in (None, FILES[OTHER_FILE]):
        assert _check({**waits, FILE: there}) == (said,)
    assert _check(waits) == ()
    other = _check({waiting_path(FILE, OURS.sha256): b"another", FILE: None})
    assert [finding.cause for finding in other] == ["file-missing"]
    denied = _check(waits, fails={FILE: DENIED})
    assert [finding.cause for finding in denied] == ["denied"]


def test_a_file_that_its_document_vouches_for_has_the_rows_of_its_shard() -> None:
    (none,) = _check(*_told(b"no Parquet"))
    assert (none.kind, none.path, none.cause) == ("columns", FILE, "columns-damaged")
    assert none.message.endswith(f"; {AGAIN}")
    table = pq.read_table(pa.BufferReader(FILES[FILE]))
    at = table.schema.get_field_index("key")
    keys = pa.chunked_array([pa.array(table.column("key").to_pylist()[::-1], pa.string())])
    sink = pa.BufferOutputStream()
    pq.write_table(table.set_column(at, table.schema.field(at), keys), sink, store_schema=False)
    other = _told(bytes(sink.getvalue()))
    said = Finding("columns", FILE, f"the keys do not match the index; {AGAIN}", cause="keys-differ")
    assert _check(*other) == (said,)
    # where the index is damaged it has a finding of its own
    assert _check({**other[0], ENTRY.index_path: b"no index"}, other[1]) == ()


@pytest.mark.parametrize(
    ("changed", "given"),
    [
        ({"bytes": 9}, "9 bytes, (0, 0, 2, 2, 1, 3) nulls"),
        ({"nulls": (1,) * 6}, "1153 bytes, (1, 1, 1, 1, 1, 1) nulls"),
    ],
)
def test_a_document_says_length_and_missing_values_as_they_are(changed: dict[str, Any], given: str) -> None:
    message = f"its document states another length or number of missing values; {AGAIN}"
    got = "1153 bytes, (0, 0, 2, 2, 1, 3) nulls"
    said = Finding("columns", DOCUMENT, message, expected=given, got=got, cause="field-wrong")
    assert _check(*_told(FILES[FILE], **changed)) == (said,)
