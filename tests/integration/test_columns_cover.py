"""What keeps a dataset whole covers its added columns: verify, repair, mirror and pull."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wdstools as wt
from tests.support.added_columns import add_scores, keys_of, pack_cities, score_of, values_of
from tests.support.bad_store import BadStore
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from tests.support.outcome import contents
from wdstools.errors import StoreError
from wdstools.formats.digest import sha256_hex
from wdstools.landing import staging
from wdstools.ops.repair import columns as columns_of_repair
from wdstools.ops.repair.copies import StoreCopy, read_or_none

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.options.check import VerifyLevel
    from wdstools.stores.base import ObjectInfo, Store

FOLDER = ".wdstools/columns"
FILE = f"{FOLDER}/scores/train-000001.parquet"


@pytest.fixture(scope="module", name="scored")
def _scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scored = pack_cities(tmp_path_factory.mktemp("columns"), train=12, val=4)
    add_scores(scored)
    return scored


@pytest.fixture(name="dataset")
def _dataset(scored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scored, tmp_path / "dataset"))


def add_more(dataset: Path, first: int = 0) -> None:
    """One set more, of numbers from ``first`` on."""
    keys = keys_of(dataset)
    wt.add_columns(dataset, pa.table({"key": keys, "rank": list(range(first, first + len(keys)))}), name="more")


def relisted(dataset: Path, path: str, data: bytes) -> None:
    """Put other bytes in a file, and their digest in the list: only what lies in them can tell."""
    old = sha256_hex((dataset / path).read_bytes())
    (dataset / path).write_bytes(data)
    for name in (f"{FOLDER}/scores.json", f"{FOLDER}/SHA256SUMS"):
        text = (dataset / name).read_text().replace(old, sha256_hex(data))
        if name.endswith(".json"):
            before = sha256_hex((dataset / name).read_bytes())
            (dataset / name).write_text(text)
            sums = dataset / f"{FOLDER}/SHA256SUMS"
            sums.write_text(sums.read_text().replace(before, sha256_hex(text.encode())))
        else:
            (dataset / name).write_text(text)


def flip(dataset: Path) -> None:
    data = bytearray((dataset / FILE).read_bytes())
    data[99] ^= 4
    (dataset / FILE).write_bytes(data)


def other_keys(dataset: Path) -> None:
    other = (dataset / FILE.replace("1.parquet", "0.parquet")).read_bytes()
    mine = pq.read_table(pa.BufferReader((dataset / FILE).read_bytes()))
    rows = pq.read_table(pa.BufferReader(other)).slice(0, mine.num_rows)
    assert rows.num_rows == mine.num_rows
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, store_schema=False)
    relisted(dataset, FILE, bytes(sink.getvalue()))
    document = dataset / f"{FOLDER}/scores.json"
    sizes = document.read_text().splitlines()
    assert len(sizes) > 3


def truncate(dataset: Path) -> None:
    relisted(dataset, FILE, (dataset / FILE).read_bytes()[:-9])


DAMAGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a flipped bit": (flip, FILE, "bytes-differ"),
    "a missing file": (lambda d: (d / FILE).unlink(), FILE, "file-missing"),
    "a missing document": (lambda d: (d / f"{FOLDER}/scores.json").unlink(), f"{FOLDER}/scores.json", "file-missing"),
    "a changed document": (
        lambda d: (d / f"{FOLDER}/scores.json").write_text("{}"),
        f"{FOLDER}/scores.json",
        "columns-damaged",
    ),
    "a list that is none": (
        lambda d: (d / f"{FOLDER}/SHA256SUMS").write_text("?"),
        f"{FOLDER}/SHA256SUMS",
        "sums-damaged",
    ),
    "other keys": (other_keys, FILE, "keys-differ"),
    "no Parquet": (truncate, FILE, "columns-damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_names_what_is_wrong_and_repair_takes_it_from_a_copy(scored: Path, dataset: Path, damage: str) -> None:
    assert wt.verify(dataset).checked["column_files"] == len(wt.open_dataset(dataset).manifest.shards)
    before = contents(dataset)
    act, path, cause = DAMAGES[damage]
    act(dataset)
    ran = run_command("verify", dataset, "--json")
    findings = [line for line in ran.lines if line["type"] == "finding"]
    assert ran.code == 1
    assert (path, cause) in [(one["path"], one["cause"]) for one in findings]
    assert {one["kind"] for one in findings} <= {"columns", "missing"}
    if damage in ("other keys", "no Parquet"):
        return  # its own list vouches for it
    alone = run_command("repair", dataset, "-y", "--json")
    assert alone.code == 1
    repaired = run_command("repair", dataset, "--from", scored, "-y", "--json")
    assert (repaired.code, repaired.summary["unsolved"]) == (0, [])
    assert contents(dataset) == before


def test_a_root_digest_does_not_cover_columns_and_answers_say_so(dataset: Path, tmp_path: Path) -> None:
    root = wt.open_dataset(dataset).root
    card, provenance = "README.md", ".wdstools/provenance.json"
    apart = ["index column source", card, provenance, "added columns scores"]
    for command in (("verify", dataset), ("repair", dataset, "-y")):
        ran = run_command(*command, "--root", root, "--json")
        assert (ran.code, ran.summary["proved"]) == (0, "forger")
        assert ran.summary["not_covered"] == (apart if command[0] == "verify" else apart[-1:])
        assert "not covered by the root digest: " in run_command(*command, "--root", root).out
        assert not run_command(*command, "--json").summary.get("not_covered")
    pulled = run_command("pull", dataset, tmp_path / "pulled", "--root", root, "--json")
    assert "added columns scores" in pulled.summary["not_covered"]
    assert wt.verify(dataset).not_covered == ()


def test_a_set_of_another_version_is_a_finding(dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    wt.remove(dataset, wt.Selection(keys=frozenset(keys_of(dataset)[:1])), output=other)
    shutil.rmtree(other / FOLDER, ignore_errors=True)
    shutil.copytree(dataset / FOLDER, other / FOLDER)
    (finding,) = wt.verify(other).findings
    assert (finding.kind, finding.cause, finding.path) == ("columns", "columns-of-another", f"{FOLDER}/scores.json")


def test_a_mirror_holds_the_columns_too(dataset: Path, tmp_path: Path) -> None:
    wt.remove_columns(dataset, "scores")
    wt.mirror(dataset, str(tmp_path / "mirror"))
    add_scores(dataset)
    there = run_command("mirror", dataset, tmp_path / "mirror", "-y", "--json")
    assert there.code == 0
    mine, theirs = contents(dataset), contents(tmp_path / "mirror")
    assert {path: theirs.get(path) for path in mine if path.startswith(FOLDER)} == {
        path: data for path, data in mine.items() if path.startswith(FOLDER)
    }
    assert wt.verify(tmp_path / "mirror").ok
    subprocess.run(["sha256sum", "--strict", "-c", f"{FOLDER}/SHA256SUMS"], cwd=tmp_path / "mirror", check=True)
    again = run_command("mirror", dataset, tmp_path / "mirror", "-n", "--json")
    assert again.summary["steps"] == 0


def test_a_pull_brings_the_columns_as_they_are(dataset: Path, tmp_path: Path) -> None:
    pulled = wt.pull(dataset, tmp_path / "here")
    assert pulled.root == wt.open_dataset(dataset).root
    mine, here = contents(dataset / FOLDER), contents(tmp_path / "here" / FOLDER)
    assert mine == here
    assert wt.verify(tmp_path / "here").ok


def test_a_pull_onto_the_same_dataset_brings_columns_added_since(dataset: Path, tmp_path: Path) -> None:
    here, root = tmp_path / "here", wt.open_dataset(dataset).root
    wt.pull(dataset, here)
    add_more(dataset)
    before = contents(here)
    ran = run_command("pull", dataset, here, "--root", root, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.summary["columns"] == ["more"]
    assert ran.summary["not_covered"] == ["added columns more"]
    assert contents(dataset / FOLDER) == contents(here / FOLDER)
    left = contents(here)
    assert {path: left[path] for path in before if not path.endswith(f"{FOLDER}/SHA256SUMS")} == {
        path: data for path, data in before.items() if not path.endswith(f"{FOLDER}/SHA256SUMS")
    }
    assert wt.verify(here).ok
    again = run_command("pull", dataset, here, "--json")
    assert (again.code, again.summary["columns"], again.summary["fetched"]) == (0, [], 0)
    assert "added columns: more, scores" in run_command("pull", dataset, tmp_path / "new").out


def test_a_pull_keeps_columns_of_ones_own(dataset: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    wt.pull(dataset, here)
    add_more(here)
    mine = contents(here)
    assert run_command("pull", dataset, here).code == 0
    assert contents(here) == mine
    add_more(dataset, 1)
    refused = run_command("pull", dataset, here, "--json")
    assert (refused.code, refused.error["code"]) == (2, "columns-taken")
    assert contents(here) == mine
    wt.remove_columns(here, "more")
    assert run_command("pull", dataset, here).code == 0
    assert contents(dataset / FOLDER) == contents(here / FOLDER)


def test_columns_that_arrive_damaged_do_not_come(dataset: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    wt.pull(dataset, here)
    add_more(dataset)
    before = contents(here)
    file = dataset / FOLDER / "more/train-000001.parquet"
    file.write_bytes(file.read_bytes()[:-9] + b"x" + file.read_bytes()[-8:])
    ran = run_command("pull", dataset, here, "--json")
    assert ran.code == 1
    assert contents(here) == before


def test_a_pull_finishes_columns_whose_landing_was_cut_short(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    wt.pull(dataset, here)
    add_more(dataset)

    def cut(root: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(staging, "finish", cut)
        with pytest.raises(KeyboardInterrupt):
            wt.pull(dataset, here)
    assert wt.pull(dataset, here).columns == ()
    assert contents(dataset / FOLDER) == contents(here / FOLDER)
    assert wt.verify(here).ok


@pytest.mark.parametrize("choice", [["--where", "score >= 0.5"], ["--split", "val"]])
def test_a_part_brings_its_rows_of_the_columns(dataset: Path, tmp_path: Path, choice: list[str]) -> None:
    root = wt.open_dataset(dataset).root
    ran = run_command("pull", dataset, tmp_path / "part", "--root", root, *choice, "--json")
    assert ran.code == 0, ran.err
    assert ran.summary["proved"] == ("accident" if "--where" in choice else "forger")
    keys = keys_of(tmp_path / "part")
    val = set(wt.open_dataset(dataset).split("val").keys())
    wanted = [key for key in keys_of(dataset) if (score_of(key) >= 0.5 if "--where" in choice else key in val)]
    assert sorted(keys) == sorted(wanted)
    found = values_of(tmp_path / "part", "scores")
    assert {key: row["score"] for key, row in found.items()} == {key: score_of(key) for key in keys}
    assert wt.verify(tmp_path / "part").ok
    assert [one.state for one in wt.list_columns(tmp_path / "part")] == ["ok"]


def scores_in(dataset: Path) -> dict[str, float | None]:
    """The score of each sample, as it is stored."""
    return {key: row["score"] for key, row in values_of(dataset, "scores").items()}


@pytest.mark.parametrize("place", ["in place", "new"])
def test_a_removal_takes_the_values_of_those_samples_and_binds_the_rest(
    dataset: Path, tmp_path: Path, place: str
) -> None:
    gone = keys_of(dataset)[3:5]
    (dataset / f"{FOLDER}/theirs.txt").write_text("not ours")
    output = tmp_path / "new" if place == "new" else None
    plan = wt.plan_remove(dataset, wt.Selection(keys=frozenset(gone)), output=output)
    named = {step.path for step in plan.steps}
    before = contents(dataset)
    result = wt.apply(plan)
    assert isinstance(result, wt.RemoveResult)
    made = output or dataset
    left = keys_of(made)
    assert not set(gone) & set(left)
    assert scores_in(made) == {key: score_of(key) for key in left}
    assert [one.state for one in wt.list_columns(made)] == ["ok"]
    assert wt.verify(made).ok
    assert (made / f"{FOLDER}/theirs.txt").exists() == (place == "in place")
    if place == "in place":
        assert "theirs.txt" in str(result.elsewhere)
        changed = {path for path, data in contents(made).items() if before.get(path) != data and FOLDER in path}
        assert changed <= named | {f"{FOLDER}/SHA256SUMS"}
        assert changed <= {*result.rewritten, f"{FOLDER}/SHA256SUMS"}
        for key in gone:
            assert all(key.encode() not in data for path, data in contents(made).items() if FOLDER in path)
    else:
        assert contents(dataset) == before
        assert "columns, in the old dataset" in str(result.elsewhere)


@pytest.mark.parametrize("shards", [None, 2])
def test_an_append_leaves_old_values_with_their_samples(dataset: Path, tmp_path: Path, shards: int | None) -> None:
    old = keys_of(dataset)
    more = write_city_pairs(tmp_path / "more", train=20, val=5)
    wt.append(dataset, more, shards=shards)
    keys = keys_of(dataset)
    assert len(keys) > len(old)
    assert scores_in(dataset) == {key: score_of(key) if key in set(old) else None for key in keys}
    assert wt.verify(dataset).ok
    (info,) = wt.list_columns(dataset)
    assert (info.state, info.values["score"]) == ("ok", len(old))


def test_a_set_of_another_version_goes_with_a_change(dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    wt.remove(dataset, wt.Selection(keys=frozenset(keys_of(dataset)[:1])), output=other)
    shutil.rmtree(other / FOLDER)
    shutil.copytree(dataset / FOLDER, other / FOLDER)
    result = wt.remove(other, wt.Selection(keys=frozenset(keys_of(other)[:1])))
    assert isinstance(result, wt.RemoveResult)
    assert f"{FOLDER}/scores.json" in result.deleted
    assert not (other / FOLDER).exists() or contents(other / FOLDER) == {}
    assert wt.verify(other).ok


def test_damaged_columns_stop_a_change_before_it_begins(dataset: Path) -> None:
    flip(dataset)
    before = contents(dataset)
    shard = wt.open_dataset(dataset).manifest.splits["train"][1]
    key = wt.open_dataset(dataset).index(shard).column("key").to_pylist()[0]
    ran = run_command("remove", dataset, "--in-place", "--where", f"key == '{key}'", "-y")
    assert (ran.code, "columns-damaged" in ran.err) == (5, True)
    assert contents(dataset) == before


class Closed(BadStore):
    """Answers for one file that it may not be read."""

    def __init__(self, folder: Path, path: str) -> None:
        super().__init__(folder)
        self.path = path

    def head(self, key: str) -> ObjectInfo:
        if key == self.path:
            raise StoreError("access is denied", code="denied", where=f"memory:{key}")
        return super().head(key)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.head(key)
        return super().get(key, start, length)


@pytest.mark.parametrize("path", [f"{FOLDER}/SHA256SUMS", ".wdstools/emitted.json"])
@pytest.mark.parametrize("level", ["size", "digest"])
def test_a_list_elsewhere_that_cannot_be_read_is_unproved(scored: Path, path: str, level: VerifyLevel) -> None:
    assert wt.verify(Closed(scored, "").dataset, level=level).ok
    report = wt.verify(Closed(scored, path).dataset, level=level)
    assert (report.findings, report.unproved) == ((), (f"memory:{path}: access is denied (denied)",))
    assert report.proved == wt.Proved.NOTHING


@pytest.mark.parametrize("level", ["size", "remote"])
def test_levels_that_read_no_shard_look_at_added_columns_too(scored: Path, level: VerifyLevel) -> None:
    store = BadStore(scored)
    assert wt.verify(store.dataset, level=level).checked["column_files"] == 4
    data = store.objects[FILE]
    store.objects[FILE] = data[:-1]
    found = [(one.kind, one.path, one.cause) for one in wt.verify(store.dataset, level=level).findings]
    assert ("columns", FILE, "bytes-differ") in found
    del store.objects[FILE]
    found = [(one.kind, one.path, one.cause) for one in wt.verify(store.dataset, level=level).findings]
    assert ("missing", FILE, "file-missing") in found


def test_repair_takes_files_of_columns_block_by_block_however_large_they_are(
    scored: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asks for one whole, neither here nor of the copy."""
    file, asked = StoreCopy.file, []

    def read_noted(store: Store, path: str) -> bytes | None:
        asked.append(path)
        return read_or_none(store, path)

    def file_noted(copy: StoreCopy, path: str) -> bytes | None:
        asked.append(path)
        return file(copy, path)

    monkeypatch.setattr(columns_of_repair, "read_or_none", read_noted)
    monkeypatch.setattr(StoreCopy, "file", file_noted)
    damaged, missing, *_ = sorted(path.relative_to(scored) for path in scored.glob(f"{FOLDER}/scores/*.parquet"))
    (dataset / damaged).write_bytes(b"x" + (scored / damaged).read_bytes()[1:])
    (dataset / missing).unlink()
    plan = wt.plan_repair(dataset, spares=[scored])
    assert asked
    assert not [path for path in asked if path.endswith(".parquet")]
    assert {step.path: step.bytes for step in plan.steps if FOLDER in step.path} == {
        str(path): (scored / path).stat().st_size for path in (damaged, missing)
    }
    other = Path(shutil.copytree(scored, dataset.parent / "other"))
    late = wt.plan_repair(dataset, spares=[other])
    (other / damaged).write_bytes((scored / damaged).read_bytes()[::-1])
    with pytest.raises(StoreError) as caught:  # the copy has changed since
        wt.apply(late)
    assert str(damaged) in caught.value.where
    assert not wt.verify(dataset).ok
    wt.apply(plan)
    assert contents(dataset) == contents(scored)
