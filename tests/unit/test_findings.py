"""Findings decide by their cause and field: what their messages say in English steers nothing."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.damaged_dataset import Damage, flipped, make_dataset, shards_of
from tests.support.syntax import PACKAGE, modules
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.sums import SUMS_PATH
from wdstools.ops.verify import verify_path
from wdstools.results import FINDING_CAUSES, FINDING_KINDS, Finding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wdstools.options.check import VerifyLevel


INDEX = ".wdstools/index/train-000000.parquet"
CARD, PROVENANCE, SKIPPED = "README.md", ".wdstools/provenance.json", ".wdstools/skipped.jsonl"


@pytest.fixture(scope="module", name="dataset")
def _dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("findings"))


def _bit(name: str, at: int) -> Callable[[Path], dict[str, bytes]]:
    return lambda dataset: {name: flipped(_of(dataset, name), at % len(_of(dataset, name)), 2)}


def _of(dataset: Path, name: str) -> bytes:
    return (dataset / name).read_bytes()


def _other_digit(dataset: Path, field: bytes) -> dict[str, bytes]:
    """The manifest with another first digit in a digest of its first shard."""
    data = _of(dataset, MANIFEST_PATH)
    at = data.index(b'"' + field + b'":"') + len(field) + 4
    return {MANIFEST_PATH: data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]}


def _shards_swapped(dataset: Path) -> dict[str, bytes]:
    first, second = shards_of(dataset)[:2]
    return {first: _of(dataset, second), second: _of(dataset, first)}


def _lines_swapped(dataset: Path) -> dict[str, bytes]:
    """A list whose lines for two shards have each other's digest: seen from the list, shard by shard."""
    first, second = shards_of(dataset)[:2]
    lines = [line.split(b"  ", 1) for line in _of(dataset, SUMS_PATH).splitlines()]
    digests = {path.decode(): digest for digest, path in lines}
    digests[first], digests[second] = digests[second], digests[first]
    return {SUMS_PATH: b"".join(digests[path.decode()] + b"  " + path + b"\n" for _, path in lines)}


def _lines_lost(dataset: Path) -> dict[str, bytes]:
    return {SUMS_PATH: b"".join(_of(dataset, SUMS_PATH).splitlines(keepends=True)[::3])}


CHANGES: dict[str, Callable[[Path], dict[str, bytes]]] = {
    "a payload": _bit("train/train-000000.tar", 700),
    "a header": _bit("train/train-000000.tar", 20),
    "a trailer": _bit("train/train-000000.tar", -5),
    "a shard cut": lambda dataset: {"train/train-000000.tar": _of(dataset, "train/train-000000.tar")[:2000]},
    "shards swapped": _shards_swapped,
    "an index": _bit(INDEX, 300),
    "an index of another": lambda dataset: {INDEX: _of(dataset, INDEX.replace("000000", "000001"))},
    "sha256 in the manifest": lambda dataset: _other_digit(dataset, b"sha256"),
    "xxh3_128 in the manifest": lambda dataset: _other_digit(dataset, b"xxh3_128"),
    "rows in the manifest": lambda dataset: _other_digit(dataset, b"rows"),
    "a bit of the manifest": _bit(MANIFEST_PATH, 40),
    "a line of the list": _bit(SUMS_PATH, 3),
    "lines of the list swapped": _lines_swapped,
    "lines of the list lost": _lines_lost,
    "provenance": _bit(PROVENANCE, 40),
    "skips": _bit(SKIPPED, 10),
    "the card": lambda dataset: {CARD: _of(dataset, CARD).replace(b"path: ", b"path:  ")},
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("level", ["digest", "samples"])
def test_messages_rewritten_change_no_decision(
    dataset: Path, what: str, level: VerifyLevel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Damage(dataset, CHANGES[what](dataset)):
        plain = verify_path(str(dataset), level=level)
        made = Finding.__init__

        def in_other_words(self: Finding, kind: str, path: str, message: str, *rest: Any, **named: Any) -> None:
            made(self, kind, path, f"qui a dit: {len(message) % 2}", *rest, **named)

        monkeypatch.setattr(Finding, "__init__", in_other_words)
        rewritten = verify_path(str(dataset), level=level)
    monkeypatch.undo()
    assert plain.findings
    assert [replace(f, message="") for f in rewritten.findings] == [replace(f, message="") for f in plain.findings]
    assert rewritten.unproved == plain.unproved


def test_one_wrong_digest_in_the_manifest_is_one_finding(dataset: Path) -> None:
    for field in (b"sha256", b"xxh3_128", b"rows"):
        with Damage(dataset, _other_digit(dataset, field)):
            (finding,) = verify_path(str(dataset)).findings
        assert (finding.kind, finding.path) == ("manifest", MANIFEST_PATH)


def test_a_finding_names_its_cause_and_field(dataset: Path) -> None:
    with Damage(dataset, _lines_lost(dataset)):
        findings = verify_path(str(dataset)).findings
    lost = {finding.field for finding in findings if finding.cause == "line-missing"}
    assert {"train/train-000000.tar", INDEX, MANIFEST_PATH} & lost
    assert len(lost) == len(findings) > 3


def _findings_in_the_package() -> list[tuple[str, ast.Call]]:
    return [
        (path, node)
        for path, _, nodes in modules()
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding"
    ]


def test_every_finding_has_a_kind_and_a_cause_that_are_listed() -> None:
    calls = _findings_in_the_package()
    assert len(calls) > 40
    for where, call in calls:
        causes = [keyword.value for keyword in call.keywords if keyword.arg == "cause"]
        assert causes, f"{where}:{call.lineno} gives no cause"
        parts = [causes[0].body, causes[0].orelse] if isinstance(causes[0], ast.IfExp) else causes
        literals = [part.value for part in parts if isinstance(part, ast.Constant)]
        assert set(literals) <= set(FINDING_CAUSES), f"{where}:{call.lineno}"
        kind = call.args[0]
        assert not isinstance(kind, ast.Constant) or kind.value in FINDING_KINDS, f"{where}:{call.lineno}"


def test_no_code_looks_into_a_message() -> None:
    readers = []
    for path, _, nodes in modules():
        for node in nodes:
            within = node.comparators if isinstance(node, ast.Compare) else []
            within = [*within, *([node.left] if isinstance(node, ast.Compare) else [])]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                within.append(node.func.value)
            readers += [
                f"{path}: {ast.unparse(node)}"
                for part in within
                if isinstance(part, ast.Attribute) and part.attr == "message"
            ]
    assert readers == []


def test_every_listed_cause_is_given_somewhere() -> None:
    """A cause that nothing gives is a typing error in one of the two places."""
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "results.py")
    assert [cause for cause in FINDING_CAUSES if f'"{cause}"' not in text] == []
