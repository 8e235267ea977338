"""mirror: another place holds the dataset, moves only what differs, and has no dataset in it while it is not whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_pull import assert_same_files
from tests.support.bad_store import BadStore
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from tests.support.damaged_dataset import make_dataset, shards_of
from tests.support.outcome import assert_complete
from wdstools.dataset import CLAIM_PATH, open_dataset
from wdstools.errors import BusyError, IntegrityError, NotFoundError, StoreError, UsageError
from wdstools.executors.local import Serial
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.ops.mirror import mirror, plan_mirror
from wdstools.ops.pack import run_pack
from wdstools.planning.options import make_options
from wdstools.progress import Silent
from wdstools.sources.folder import FolderSource
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dataset import Dataset
    from wdstools.ops.mirror import MirrorResult


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("mirrored"), train=20, val=5, shard_samples=6)


@pytest.fixture(name="dataset")
def _dataset(folder: Path) -> Dataset:
    return open_dataset(str(folder))


@pytest.fixture(name="target")
def _target() -> BadStore:
    return BadStore()


def make_version(folder: Path, *, version: int, word: str = "") -> Dataset:
    """The same pairs, one caption changed, as a version of its own."""
    source = write_city_pairs(folder / "source", train=20, val=5, damaged=True)
    (source / "captions/train/oslo/4.txt").write_text(word or "another caption")
    options = make_options(shard_samples=6, name="damaged pairs", version=version)
    run_pack(FolderSource(str(source)), str(folder / "dataset"), options, executor=Serial())
    return open_dataset(str(folder / "dataset"))


def go(dataset: Dataset, target: BadStore, **options: Any) -> MirrorResult:
    return plan_mirror(dataset, target, **options).carry_out(Serial(), Silent())


def files_of(folder: Path) -> dict[str, bytes]:
    store = LocalStore(folder)
    return {i.key: store.get(i.key) for i in store.list() if not i.key.endswith("remote-digests.json")}


def assert_mirrors(target: Mapping[str, bytes], folder: Path) -> None:
    assert dict(target) == files_of(folder)


def test_a_mirror_holds_every_file_and_doing_it_again_moves_nothing(
    folder: Path, dataset: Dataset, target: BadStore
) -> None:
    assert plan_mirror(dataset, target).counts == {"missing": len(files_of(folder)), "extra": 0}
    result = go(dataset, target)
    assert_mirrors(target.objects, folder)
    assert (result.uploaded, result.unproved) == (len(files_of(folder)), ())
    target.puts.clear()
    again = plan_mirror(dataset, target)
    assert again.steps == ()
    assert again.carry_out(Serial(), Silent()).bytes == 0
    assert target.puts == []


def test_shards_go_first_and_the_manifest_last(dataset: Dataset, target: BadStore) -> None:
    go(dataset, target)
    puts = [key for key in target.puts if key != CLAIM_PATH]
    shards = len(dataset.manifest.shards)
    assert all(key.endswith(".tar") for key in puts[:shards])
    assert all(key.endswith(".parquet") for key in puts[shards : 2 * shards])
    assert puts[2 * shards :] == [
        ".wdstools/provenance.json",
        ".wdstools/skipped.jsonl",
        "SHA256SUMS",
        "README.md",
        MANIFEST_PATH,
    ]
    assert target.puts[0] == CLAIM_PATH
    assert target.deletes[-1] == CLAIM_PATH


@pytest.mark.parametrize("size", ["same", "shorter"])
def test_damage_in_a_mirror_is_named_by_the_plan_and_mended_by_it(
    folder: Path, dataset: Dataset, target: BadStore, size: str
) -> None:
    go(dataset, target)
    shard, index = dataset.manifest.shards[2][1].path, dataset.manifest.shards[0][1].index_path
    if size == "same":
        target.flip(shard, 3_000)
    else:
        target.objects[shard] = target.objects[shard][:-1]
    del target.objects[index]
    target.puts.clear()
    plan = plan_mirror(dataset, target)
    assert [(step.action, step.path) for step in plan.steps] == [("upload", shard), ("upload", index)]
    assert plan.counts["different"] == plan.counts["missing"] == 1
    plan.carry_out(Serial(), Silent())
    assert_mirrors(target.objects, folder)
    assert MANIFEST_PATH not in target.puts


def test_a_changed_dataset_moves_only_its_changed_shards(dataset: Dataset, target: BadStore, tmp_path: Path) -> None:
    go(dataset, target)
    newer = make_version(tmp_path, version=2)
    target.puts.clear()
    result = go(newer, target, replace=True)
    assert len([key for key in target.puts if key.endswith(".tar")]) == 1
    assert result.same > 0
    assert target.dataset.root == newer.root


def test_another_dataset_is_not_replaced_unasked(
    folder: Path, dataset: Dataset, target: BadStore, tmp_path: Path
) -> None:
    go(dataset, target)
    target.puts.clear()
    with pytest.raises(StoreError) as caught:
        go(make_version(tmp_path, version=2), target)
    assert caught.value.code == "another-dataset"
    assert "replace=True" in caught.value.hint
    assert target.puts == target.deletes[:-1] == []
    assert_mirrors(target.objects, folder)


def test_while_a_dataset_is_replaced_there_is_none(dataset: Dataset, target: BadStore, tmp_path: Path) -> None:
    go(dataset, target)
    seen = []

    def look(what: str) -> None:
        if what.startswith("put ") and what != f"put {CLAIM_PATH}":
            seen.append(what)
            assert MANIFEST_PATH not in target.objects

    target.before = look
    go(make_version(tmp_path, version=2), target, replace=True)
    assert seen


def test_going_back_to_an_older_version_has_to_be_asked_for(dataset: Dataset, target: BadStore, tmp_path: Path) -> None:
    go(make_version(tmp_path, version=7), target)
    with pytest.raises(StoreError) as caught:
        go(dataset, target, replace=True)
    assert caught.value.code == "newer-version"
    go(dataset, target, replace=True, allow_older=True)
    assert target.dataset.root == dataset.root


def test_extra_files_are_told_and_only_removed_when_asked(folder: Path, dataset: Dataset, target: BadStore) -> None:
    go(dataset, target)
    mine = {"notes/holiday.txt", "todo.txt", "train/annotations.csv", "train/eval/scores.json", "train/eval/nested.tar"}
    for key in ("train/train-000099.tar", ".wdstools/index/train-000099.parquet", *mine):
        target.objects[key] = b"x"
    assert plan_mirror(dataset, target).counts["extra"] == 2
    go(dataset, target)
    assert "train/train-000099.tar" in target.objects
    result = go(dataset, target, delete=True)
    assert result.deleted == 2
    assert set(target.objects) - set(files_of(folder)) == mine


def test_a_damaged_shard_is_not_sent(folder: Path, tmp_path: Path, target: BadStore) -> None:
    copy = tmp_path / "copy"
    mirror(str(folder), str(copy))
    path = copy / shards_of(copy)[1]
    data = path.read_bytes()
    path.write_bytes(data[:2_000] + b"?" + data[2_001:])
    with pytest.raises(IntegrityError) as caught:
        go(open_dataset(str(copy)), target)
    assert caught.value.code == "source-damaged"
    assert path.name in caught.value.where
    assert MANIFEST_PATH not in target.objects
    assert shards_of(copy)[1] not in target.objects


@pytest.mark.parametrize("key", ["SHA256SUMS", ".wdstools/provenance.json"])
def test_damaged_lists_are_not_sent(folder: Path, tmp_path: Path, target: BadStore, key: str) -> None:
    copy = tmp_path / "copy"
    mirror(str(folder), str(copy))
    path = copy / key
    path.write_bytes(path.read_bytes().replace(b"0", b"1"))
    with pytest.raises(IntegrityError) as caught:
        go(open_dataset(str(copy)), target)
    assert caught.value.code == "source-damaged"
    assert MANIFEST_PATH not in target.objects


def test_an_interrupted_mirror_is_finished_by_the_same_command_and_sends_nothing_twice(
    folder: Path, dataset: Dataset, target: BadStore
) -> None:
    for cut in range(1, len(files_of(folder)) + 1, 3):
        fresh = BadStore()
        left = [cut]

        def count(what: str, left: list[int] = left) -> None:
            if what.startswith("put "):
                left[0] -= 1
                if left[0] < 0:
                    raise StoreError("the line is cut")

        fresh.before = count
        with pytest.raises(StoreError):
            go(dataset, fresh)
        assert MANIFEST_PATH not in fresh.objects
        fresh.before = lambda _: None
        go(dataset, fresh)
        assert_mirrors(fresh.objects, folder)
        shards = [key for key in fresh.puts if key.endswith(".tar")]
        assert len(shards) == len(set(shards))


class Cut(Silent):
    """Ends the work when the first file is there."""

    def advance(self, count: int) -> None:
        raise StoreError(f"the line is cut after {count} bytes")


def test_a_place_that_is_being_mirrored_to_holds_no_dataset_yet_and_says_why(dataset: Dataset, tmp_path: Path) -> None:
    url = str(tmp_path / "there")
    with pytest.raises(StoreError):
        plan_mirror(dataset, url).carry_out(Serial(), Cut())
    with pytest.raises(NotFoundError) as caught:
        open_dataset(url)
    assert caught.value.code == "mirror-unfinished"
    mirror(dataset, url)
    assert open_dataset(url).root == dataset.root


def test_two_datasets_are_never_mixed_at_one_place(dataset: Dataset, target: BadStore, tmp_path: Path) -> None:
    other = make_version(tmp_path, version=2)
    for claim in (b"[" * 100_000, json.dumps({"root": other.root}).encode()):
        target.put(CLAIM_PATH, claim)
        with pytest.raises(BusyError):
            go(dataset, target)
    assert set(target.objects) == {CLAIM_PATH}
    go(dataset, target, replace=True)
    assert target.dataset.root == dataset.root
    assert CLAIM_PATH not in target.objects


def test_a_writer_that_was_overtaken_does_not_publish(dataset: Dataset, target: BadStore, tmp_path: Path) -> None:
    other = make_version(tmp_path, version=2)
    claim = json.dumps({"root": other.root}).encode()

    def overtake(what: str) -> None:
        if what == "put README.md":
            target.objects[CLAIM_PATH] = claim

    target.before = overtake
    with pytest.raises(BusyError):
        go(dataset, target)
    assert MANIFEST_PATH not in target.objects


def test_a_writer_that_finds_another_manifest_at_the_end_leaves_it(
    dataset: Dataset, target: BadStore, tmp_path: Path
) -> None:
    other = (Path(make_version(tmp_path, version=2).metadata.url) / MANIFEST_PATH).read_bytes()

    def publish(what: str) -> None:
        if what == "put README.md":
            target.objects[MANIFEST_PATH] = other

    target.before = publish
    with pytest.raises(BusyError):
        go(dataset, target)
    assert target.objects[MANIFEST_PATH] == other


def test_a_mirror_of_a_mirror_is_the_dataset(folder: Path, dataset: Dataset, target: BadStore, tmp_path: Path) -> None:
    go(dataset, target)
    second = BadStore()
    go(target.dataset, second)
    assert_mirrors(second.objects, folder)
    mirror(target.dataset, str(tmp_path / "third"))
    assert_same_files(folder, tmp_path / "third")
    assert_complete(tmp_path / "third")


def test_a_manifest_alone_cannot_be_mirrored(dataset: Dataset, target: BadStore) -> None:
    with pytest.raises(UsageError):
        plan_mirror(replace(dataset, manifest_key="elsewhere.json"), target)


def test_the_command_asks_plans_and_counts(folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert run_command("mirror", folder, there, "--json").code == 2  # nobody to ask
    planned = run_command("mirror", folder, there, "-n", "--json")
    assert planned.code == 0, planned.err
    assert planned.lines[0]["states"]["missing"]["files"] == len(files_of(folder))
    assert planned.summary["applied"] is False
    assert not there.exists()
    done = run_command("mirror", folder, there, "-y", "--json")
    assert (done.code, done.summary["uploaded"]) == (0, len(files_of(folder)))
    again = run_command("mirror", folder, there, "-y")
    assert "nothing to do" in again.out
    assert_complete(there)
    assert run_command("mirror", there, folder, "-y").code == 0
    assert run_command("mirror", tmp_path, there, "-y").code == 4
