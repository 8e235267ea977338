"""What lies with a dataset and is of another version: told as one finding, and only where it is known to be so."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.golden_in_memory import Held, golden, golden_files, held, opened
from wdstools.checks.change import explain_change
from wdstools.checks.emitted import check_emitted, known_emitted
from wdstools.errors import StoreError
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, dumps
from wdstools.formats.sums import SUMS_PATH
from wdstools.interop.croissant import CROISSANT_PATH
from wdstools.interop.emitted import EMITTED_PATH, Emitted
from wdstools.results import Finding, Report
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.formats.manifest import Manifest
    from wdstools.stores.base import ObjectInfo

OURS = golden().manifest
ROOT = golden().root
FIRST, SECOND = OURS.splits["train"]
DENIED = StoreError("not allowed", code="denied")


def _later(samples: int = 3, **changed: Any) -> Manifest:
    """The manifest with another first shard, of so many samples."""
    other = replace(FIRST, sha256="1" * 64, samples=samples)
    return replace(OURS, splits={**OURS.splits, "train": (other, SECOND)}, **{"version": 4, **changed})


def _place(there: Manifest | bytes, history: Any = (), *, listed: bool = True) -> Held:
    """A store with another manifest, its provenance, and a list that knows it or not."""
    data = there if isinstance(there, bytes) else dumps(there)
    sums = golden_files()[SUMS_PATH]
    if listed:
        sums = sums.replace(ROOT.encode(), hashlib.sha256(data).hexdigest().encode())
    provenance = history if isinstance(history, bytes) else json.dumps({"history": list(history)}).encode()
    return held({MANIFEST_PATH: data, PROVENANCE_PATH: provenance, SUMS_PATH: sums})


def _of(*paths: str, kind: str = "payload") -> tuple[Finding, ...]:
    return tuple(Finding(kind, path, "damaged", cause="payload-differs") for path in paths)


IN_FIRST = _of(FIRST.path, FIRST.index_path)
ELSEWHERE = _of(SECOND.path, "README.md")


def _explained(store: Held, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    report = Report("digest", {"shards": 4}, findings)
    said = explain_change(opened(store), report)
    assert replace(said, findings=findings) == report
    return said.findings


def _change(root: str = ROOT, **more: Any) -> dict[str, Any]:
    return {"previous_root": root, **more}


@pytest.mark.parametrize(
    ("samples", "since", "told"),
    [
        (1, [_change(action="remove", samples=3)], "3 samples removed (3 fewer in all)"),
        (5, [_change(action="append", samples=1)], "0 samples removed and 1 added (1 more in all)"),
        (4, [_change(action="columns")], "0 samples removed (0 fewer in all)"),
        (4, [_change(action="remove"), _change(action="append")], "0 samples removed (0 fewer in all)"),
        (
            1004,
            [
                _change("5" * 64, action="remove", samples=70),  # before this version
                _change(action="remove", samples=1500),
                _change("6" * 64, action="append", samples=3000),
                _change("7" * 64, action="remove", samples=500),
            ],
            "2,000 samples removed and 3,000 added (1,000 more in all)",
        ),
    ],
)
def test_a_later_version_is_one_finding_that_counts_what_came_and_went(
    samples: int, since: list[dict[str, Any]], told: str
) -> None:
    later = _later(samples)
    said = Finding(
        "manifest",
        MANIFEST_PATH,
        f"this is version 3; version 4 is here, with {told}",
        expected=ROOT,
        got=later.root,
        cause="replaced",
    )
    assert _explained(_place(later, since, listed=False), (*IN_FIRST, *ELSEWHERE)) == (said, *ELSEWHERE)


@pytest.mark.parametrize(("name", "told"), [("birds", "birds, version 4, "), ("", "")])
def test_another_dataset_is_one_finding_with_its_name(name: str, told: str) -> None:
    there = _later(name=name)
    said = Finding(
        "manifest",
        "memory:",
        f"another dataset is here ({told}root {there.root})",
        expected=ROOT,
        got=there.root,
        cause="another-dataset",
    )
    extra = _of(SECOND.path, kind="extra")  # it is a shard of theirs
    stranger = _of("train/train-000099.tar", kind="extra")
    assert _explained(_place(there), (*IN_FIRST, *extra, *stranger, *ELSEWHERE)) == (said, *stranger, *ELSEWHERE)


def test_what_does_not_explain_what_was_found_leaves_it_as_it_is() -> None:
    there, both = _later(), (*IN_FIRST, *ELSEWHERE)
    assert _explained(_place(there, [_change()]), ()) == ()
    assert _explained(_place(there, listed=False), both) == both  # its own list does not know that manifest
    assert _explained(_place(there), ELSEWHERE) == ELSEWHERE  # nothing was found in the shards that differ
    # this very version, whatever its history says
    assert _explained(_place(OURS, [_change(action="remove", samples=1)]), both) == both


@pytest.mark.parametrize(
    "history",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"history": 5}',
        b'{"history": [5]}',
        b'{"history": [{}]}',
        b'{"history": {"a": 1}}',
        b"[" * 100_000,
    ],
)
def test_a_history_that_nobody_can_read_explains_nothing(history: bytes) -> None:
    assert _explained(_place(_later(), history), IN_FIRST) == IN_FIRST


@pytest.mark.parametrize("samples", [b'"x"', b"{}", b"1e999", b"-1", b"9007199254740992", b"9" * 4300])
def test_the_root_alone_says_which_version_it_is_where_counts_are_none(samples: bytes) -> None:
    change = b'{"previous_root": "%s", "action": "remove", "samples": %s}' % (ROOT.encode(), samples)
    later = b'{"previous_root": "%s", "action": "remove", "samples": 1}' % (b"6" * 64)
    found = _explained(_place(_later(), b'{"history": [%s, %s, %s]}' % (change, change, later)), IN_FIRST)
    assert [(one.cause, "with 1 sample removed" in one.message) for one in found] == [("replaced", True)]


def test_a_manifest_or_history_that_is_not_there_explains_nothing() -> None:
    assert _explained(_place(b"{}"), IN_FIRST) == IN_FIRST
    for path in (MANIFEST_PATH, PROVENANCE_PATH):
        store = _place(_later())
        store.delete(path)
        assert _explained(store, IN_FIRST) == IN_FIRST


DATA = b"{}\n"
DIGEST = hashlib.sha256(DATA).hexdigest()


def _emitted(root: str = ROOT, files: dict[str, tuple[str, str]] | None = None) -> bytes:
    return Emitted(root, {CROISSANT_PATH: ("croissant", DIGEST)} if files is None else files).dumps()


def test_what_was_emitted_is_known_by_its_list_and_is_of_this_version() -> None:
    listed = Emitted(ROOT, {CROISSANT_PATH: ("croissant", DIGEST)})
    assert known_emitted(opened(held())) == (Emitted(), [], ())
    assert known_emitted(opened(held({EMITTED_PATH: _emitted()}))) == (listed, [], ())
    emitted, found, unread = known_emitted(opened(held({EMITTED_PATH: _emitted("5" * 64)})))
    message = "other readers' files were emitted for another version: wdstools emit DATASET --for all"
    assert (emitted, unread) == (replace(listed, root="5" * 64), ())
    assert found == [Finding("emitted", EMITTED_PATH, message, expected=ROOT, got="5" * 64, cause="emitted-of-another")]
    # a list of no files is of any version
    assert known_emitted(opened(held({EMITTED_PATH: _emitted("5" * 64, {})})))[1:] == ([], ())


class _BadDisk(LocalStore):
    """A disk that cannot read."""

    def head(self, key: str) -> ObjectInfo:
        """Fails."""
        del key
        raise DENIED


def test_a_list_of_emitted_files_that_cannot_be_read_is_damage_on_a_disk_only(tmp_path: Path) -> None:
    said = f"memory:/{EMITTED_PATH}: not allowed (denied)"
    assert known_emitted(opened(held(fails={EMITTED_PATH: DENIED}))) == (Emitted(), [], (said,))
    here = replace(golden(), metadata=_BadDisk(str(tmp_path)))
    found = Finding("unreadable", EMITTED_PATH, "not allowed", got="denied", cause="denied")
    assert known_emitted(here) == (Emitted(), [found], ())
    emitted, (damaged,), unread = known_emitted(opened(held({EMITTED_PATH: b"?"})))
    assert (emitted, unread) == (Emitted(), ())
    assert (damaged.kind, damaged.path, damaged.cause) == ("emitted", EMITTED_PATH, "emitted-damaged")


def test_each_emitted_file_is_there_and_as_it_was_written() -> None:
    files = dict.fromkeys(("whole", "gone", "other", "denied"), ("croissant", DIGEST))
    store = held({"whole": DATA, "other": b"other", "denied": DATA}, {"denied": DENIED})
    gone, differs = "an emitted file is missing; emit writes it again", "an emitted file differs from what was written"
    assert list(check_emitted(opened(store), Emitted(ROOT, files))) == [
        Finding("missing", "gone", gone, expected=DIGEST, cause="emitted-missing"),
        Finding(
            "emitted",
            "other",
            differs,
            expected=DIGEST,
            got=hashlib.sha256(b"other").hexdigest(),
            cause="emitted-differs",
        ),
        Finding("unreadable", "denied", "not allowed", got="denied", cause="denied"),
    ]


class _Long(Held):
    """A store whose files are said to be as long as this."""

    bytes = 1 << 40

    def head(self, key: str) -> ObjectInfo:
        """Says it."""
        return replace(super().head(key), bytes=self.bytes)


def test_a_file_that_is_too_large_to_be_emitted_is_not_read() -> None:
    store, listed = _Long({"whole": DATA}), Emitted(ROOT, {"whole": ("croissant", DIGEST)})
    dataset = replace(golden(), metadata=store)
    assert list(check_emitted(dataset, listed)) == []
    store.bytes += 1
    (said,) = check_emitted(dataset, listed)
    assert (said.kind, said.path, said.cause, said.got) == ("unreadable", "whole", "file-too-large", "file-too-large")
