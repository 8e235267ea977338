"""A takedown: every person on the list is found or named, and everything that was made of the pictures goes or is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wdstools as wt
from tests.support.added_columns import add_scores
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from wdstools.interop.emitted import EMITTED_PATH
from wdstools.landing.journal import Journal
from wdstools.landing.scratch import Scratch
from wdstools.ops.emit import plan_emit
from wdstools.ops.mirror import mirror
from wdstools.ops.remove import RemovePlan, RemoveResult, plan_remove
from wdstools.ops.verify import verify_path
from wdstools.plan import apply
from wdstools.reader.keys import parse_keys
from wdstools.reader.select import Selection
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.cache import Caching
from wdstools.stores.local import LocalStore
from wdstools.stores.open import remote

if TYPE_CHECKING:
    from collections.abc import Sequence

PERSON = "oslo/0"
PAGE = '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="wdstools">\n'


@pytest.fixture(scope="module", name="whole")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("takedown")
    source = write_city_pairs(work / "source", train=12, val=4)
    wt.pack(str(source), str(work / "whole"), shard_samples=4, name="cities", jobs=1)
    return work / "whole"


@pytest.fixture(name="dataset")
def _dataset(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "dataset"))


def removal(dataset: Path, *keys: str, output: Path | None = None, caches: Sequence[str] = ()) -> RemovePlan:
    selection = Selection(keys=frozenset(keys))
    plan = plan_remove(str(dataset), selection, output=str(output) if output else None, caches=caches)
    assert isinstance(plan, RemovePlan)
    return plan


def made_of(plan: RemovePlan) -> RemoveResult:
    result = apply(plan)
    assert isinstance(result, RemoveResult)
    return result


KEYS = st.lists(st.text("abcXYZ019_-/%~", min_size=1, max_size=12), min_size=1, max_size=5, unique=True)
AROUND = st.text(" \t\u00a0\u200b\ufeff\u3000", max_size=3)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    keys=KEYS,
    around=st.tuples(AROUND, AROUND),
    end=st.sampled_from(["\n", "\r\n", "\r", "\n\n", " \n\t\r\n"]),
    last=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_a_list_names_every_key_however_it_was_saved(
    keys: list[str], around: tuple[str, str], end: str, last: bool, encoding: str
) -> None:
    text = end.join(f"{around[0]}{key}{around[1]}" for key in keys) + (end if last else "")
    assert parse_keys(text.encode(encoding), where="list") == frozenset(keys)


@pytest.mark.parametrize("place", ["--in-place", "-o"])
def test_keys_that_are_not_there_are_listed_and_end_with_3(dataset: Path, tmp_path: Path, place: str) -> None:
    listed = tmp_path / "takedown.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + f"{PERSON}\t\r\n rome/1 \r\noslo/none.jpg\r\n{'x/' * 9}y\r\n".encode())
    where = (place,) if place == "--in-place" else (place, tmp_path / "new")
    for extra in ("-n", "-y"):
        done = run_command("remove", dataset, "--keys", listed, *where, extra)
        assert done.code == 3, done.err
        assert "not in the dataset: oslo/none.jpg" in done.out
        assert f"not in the dataset: {'x/' * 9}y" in done.out
    left = wt.open_dataset(str(dataset if place == "--in-place" else tmp_path / "new"))
    assert {PERSON, "rome/1"}.isdisjoint(key for split in left.splits for key in left[split].keys())  # noqa: SIM118
    again = run_command("remove", left.metadata.url, "--keys", listed, "--in-place", "-y", "--json")
    assert (again.code, again.summary["removed"], len(again.summary["absent"])) == (3, 0, 4)


def test_extract_names_keys_that_are_not_there(dataset: Path, tmp_path: Path) -> None:
    listed = tmp_path / "keys.txt"
    listed.write_text(f"{PERSON}\nnobody\n")
    done = run_command("extract", dataset, tmp_path / "files", "--keys", listed, "--json")
    assert (done.code, done.summary["missing_keys"], done.summary["samples"]) == (3, ["nobody"], 1)


def seed_derived(dataset: Path) -> dict[str, bytes]:
    """Files that are made of samples, as they lie in a dataset; gives them."""
    opened = wt.open_dataset(str(dataset))
    apply(plan_emit(opened, ["all"]))
    shard = next(
        entry for _, entry in opened.manifest.shards if PERSON in opened.index(entry).column("key").to_pylist()
    )
    name = Path(shard.index_path).name
    made = {f".wdstools/hashes/{name}": b"hashes", ".wdstools/signatures/0.sigstore.json": b"{}"}
    for path, data in made.items():
        (dataset / path).parent.mkdir(parents=True, exist_ok=True)
        (dataset / path).write_bytes(data)
    emitted = json.loads((dataset / EMITTED_PATH).read_bytes())["files"]
    assert emitted
    add_scores(dataset)
    (dataset / ".wdstools/columns/scores/mine.txt").write_text("mine")
    return made | {path: (dataset / path).read_bytes() for path in emitted}


def test_what_was_made_of_the_samples_goes_with_them(dataset: Path, tmp_path: Path) -> None:
    made = seed_derived(dataset)
    (dataset / ".wdstools/hashes/val-000000.parquet").write_bytes(b"of another shard")
    (dataset / "review.html").write_text(PAGE)
    (dataset / "mine.html").write_text("<!doctype html>a page of mine")
    mirror(str(dataset), str(tmp_path / "mirror"))
    known = dataset / ".wdstools/remote-digests.json"
    document = json.loads(known.read_text()) if known.exists() else {"format": 1, "md5": {}}
    known.write_text(json.dumps({**document, "etags": {"s3://bucket/cities": {}}}))
    cache = str(tmp_path / "cache")
    opened = wt.open_dataset(str(dataset))
    caching = Caching(remote(opened.shards), cache, opened.root, limit_bytes=1 << 30)
    for _, entry in opened.manifest.shards:
        caching.get(entry.path)
    blocks = {path for path in Path(cache).rglob("*") if path.is_file() and path.name != "lock"}
    plan = removal(dataset, PERSON, caches=[cache])
    assert set(made) < {step.path for step in plan.steps}
    result = made_of(plan)
    assert not [path for path in made if (dataset / path).exists()]
    assert set(made) <= set(result.deleted)
    assert (dataset / ".wdstools/hashes/val-000000.parquet").exists()
    assert (dataset / "mine.html").exists()
    assert "mine.html" not in str(result.elsewhere)
    assert (dataset / ".wdstools/columns/scores/mine.txt").exists()
    assert ".wdstools/columns/scores/mine.txt" in str(result.elsewhere)
    assert "review.html" in str(result.elsewhere)
    assert "s3://bucket/cities" in str(result.elsewhere)
    left = {path for path in blocks if path.exists()}
    assert left < blocks
    assert blocks - left == {Path(path) for path in result.deleted if path.startswith(cache)}
    (dataset / ".wdstools/hashes/val-000000.parquet").unlink()
    assert verify_path(str(dataset)).findings == ()


def test_unfinished_work_of_others_goes_or_is_named(dataset: Path, tmp_path: Path) -> None:
    """Columns that were being computed hold values of these samples, and so do caches of hashes and what killed runs left."""
    place = dataset / ".wdstools/computing/slow"
    with Scratch(str(place), "columns slow", ("journal.jsonl",)) as scratch:
        Journal(scratch.locate("journal.jsonl")).append({"plan": "x"})
        scratch.note([".wdstools/columns/slow/train-000000.parquet"])
        LocalStore(scratch.new).put(".wdstools/columns/slow/train-000000.parquet", b"values")
    (dataset / ".wdstools/computing/theirs").mkdir()
    torn = dataset / f"train/train-000000.tar.00{TEMP_SUFFIX}"
    torn.write_bytes(b"half")
    with Scratch(f"{dataset}.partial", "an unfinished pull", ("journal.jsonl",)):
        pass
    kept = tmp_path / "kept"
    assert run_command("duplicates", dataset, "--cache", kept, "--level", "re-encode").code in (0, 1)
    hashes = set(kept.iterdir())
    left = made_of(removal(dataset, PERSON, output=tmp_path / "new"))
    assert place.is_dir()
    assert ".wdstools/computing/slow" in str(left.elsewhere)
    with Scratch(str(place), "another process", ("journal.jsonl",)), pytest.raises(wt.BusyError):
        made_of(removal(dataset, PERSON))
    (place / "mine.txt").write_text("mine")
    with pytest.raises(wt.StoreError) as caught:
        made_of(removal(dataset, PERSON))
    assert caught.value.code == "scratch-not-ours"
    (place / "mine.txt").unlink()
    result = made_of(removal(dataset, PERSON, caches=[str(kept)]))
    assert not place.exists()
    assert (dataset / ".wdstools/computing/theirs").exists()
    assert ".wdstools/computing/slow" in result.deleted
    assert torn.name in str(result.elsewhere)
    assert f"{dataset}.partial" in str(result.elsewhere)
    assert len(hashes - set(kept.iterdir())) == len([path for path in result.shards if path.endswith(".tar")])


def test_no_empty_folder_is_left_of_what_went(dataset: Path) -> None:
    seed_derived(dataset)
    (dataset / ".wdstools/columns/scores/mine.txt").unlink()
    made_of(removal(dataset, PERSON))
    assert run_command("columns", "rm", dataset, "scores", "-y").code == 0
    assert not [path for path in dataset.rglob("*") if path.is_dir() and not any(path.iterdir())]


def test_an_emitted_file_that_somebody_changed_is_theirs_and_is_named(dataset: Path) -> None:
    path = next(iter(sorted(path for path in seed_derived(dataset) if not path.startswith(".wdstools/"))))
    (dataset / path).write_bytes(b"mine now")
    result = made_of(removal(dataset, PERSON))
    assert (dataset / path).read_bytes() == b"mine now"
    assert path in str(result.elsewhere)


def test_a_new_dataset_has_none_of_it_and_the_old_one_is_named(dataset: Path, tmp_path: Path) -> None:
    made = seed_derived(dataset)
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    result = made_of(removal(dataset, PERSON, output=tmp_path / "new"))
    assert not [path for path in made if (tmp_path / "new" / path).exists()]
    assert {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()} == before
    assert all(path in str(result.elsewhere) for path in made)
    assert verify_path(str(tmp_path / "new")).ok


def test_repair_deletes_only_tars_that_the_plan_names(dataset: Path) -> None:
    apply(plan_emit(wt.open_dataset(str(dataset)), ["energon"]))
    shard = (dataset / "train/train-000000.tar").read_bytes()
    mine = {
        "train/annotations.csv": b"mine",
        "train/eval/scores.json": b"mine",
        "train/eval/nested.tar": shard,
        "train/notes.tar.txt": b"mine",
        "val/README": b"mine",
        "other/backup.tar": shard,
        "loose.tar": shard,
    }
    strays = {"train/train-000099.tar": shard, "val/old.tar.gz": b"mine too"}
    for path, data in (mine | strays).items():
        (dataset / path).parent.mkdir(parents=True, exist_ok=True)
        (dataset / path).write_bytes(data)
    before = {str(path.relative_to(dataset)): path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    plan = run_command("repair", dataset, "--delete", "-n")
    assert all(path in plan.out for path in strays)
    done = run_command("repair", dataset, "--delete", "-y", "-v")
    after = {str(path.relative_to(dataset)): path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    assert set(before) - set(after) == set(strays)
    assert all(after[path] == before[path] for path in after if path != "SHA256SUMS")
    assert "nothing to repair" not in done.out
    assert all(f"deleted: {path}" in done.out for path in strays)
    assert done.code == 1  # what lies among the shards and is no tar is told, and left


LINKED = ["README.md", ".wdstools/provenance.json", ".wdstools/skipped.jsonl"]


@pytest.mark.parametrize("name", [*LINKED, "SHA256SUMS", ".wdstools/manifest.json", ".wdstools/index"])
def test_nothing_is_published_through_a_link_of_a_strangers_dataset(dataset: Path, tmp_path: Path, name: str) -> None:
    """The target has what would pass: the same bytes, but for the card."""
    path = dataset / name
    outside = tmp_path / "outside"
    if not path.exists():
        path.write_text("")
    shutil.move(path, outside)
    if name == "README.md":
        outside.write_text("TOP SECRET\n")
    path.symlink_to(outside)
    if name == ".wdstools/skipped.jsonl":
        sums = dataset / "SHA256SUMS"
        lines = [*sums.read_text().splitlines(), f"{hashlib.sha256(b'').hexdigest()}  {name}"]
        sums.write_text("".join(f"{line}\n" for line in sorted(lines, key=lambda line: line.split("  ")[1])))
    with pytest.raises(wt.StoreError) as caught:
        mirror(str(dataset), str(tmp_path / "mirror"))
    assert caught.value.code == "path-unsafe"
    assert not (tmp_path / "mirror").exists() or not any((tmp_path / "mirror").rglob("*.*"))


@pytest.mark.parametrize("name", LINKED[:2])
@pytest.mark.parametrize("output", [True, False])
def test_nothing_of_ours_is_written_into_a_changed_dataset_of_a_stranger(
    dataset: Path, tmp_path: Path, name: str, output: bool
) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"token": "TOP SECRET"}\n')
    (dataset / name).unlink()
    (dataset / name).symlink_to("../" * name.count("/") + "../secret")
    with pytest.raises(wt.StoreError) as caught:
        apply(removal(dataset, PERSON, output=tmp_path / "new" if output else None))
    assert caught.value.code == "path-unsafe"
    everything = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink() and path != secret]
    assert not [path for path in everything if b"TOP SECRET" in path.read_bytes()]


def test_a_link_inside_the_dataset_is_none_of_that(dataset: Path, tmp_path: Path) -> None:
    (dataset / "docs").mkdir()
    shutil.move(dataset / "README.md", dataset / "docs/card.md")
    (dataset / "README.md").symlink_to("docs/card.md")
    mirror(str(dataset), str(tmp_path / "mirror"))
    assert (tmp_path / "mirror/README.md").read_bytes() == (dataset / "docs/card.md").read_bytes()
