"""pull: a dataset, or some of its samples, from anywhere; never anything that is not whole under its name."""

from __future__ import annotations

import filecmp
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.bad_store import BadStore
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from tests.support.damaged_dataset import make_dataset
from tests.support.outcome import assert_complete
from wdstools.dataset import open_dataset
from wdstools.errors import BusyError, IntegrityError, NotFoundError, StoreError, UsageError
from wdstools.executors.local import Serial
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.ops.pack import run_pack
from wdstools.ops.pull import PullResult, plan_pull, pull
from wdstools.ops.verify import verify
from wdstools.planning.options import make_options
from wdstools.progress import Silent
from wdstools.reader.select import Selection, Where
from wdstools.sources.folder import FolderSource
from wdstools.stores.partial_file import PART_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OSLO = Selection(where=Where("label == 'oslo'"))
SHARD = "train/train-000001.tar"


@pytest.fixture(scope="module", name="origin")
def _origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of five shards with every file that a dataset can have."""
    return make_dataset(tmp_path_factory.mktemp("origin"), train=30, val=6, shard_samples=8)


@pytest.fixture(name="store")
def _store(origin: Path) -> BadStore:
    return BadStore(origin)


def fetch(store: BadStore, dest: Path, selection: Selection | None = None, **options: object) -> PullResult:
    plan = plan_pull(store.dataset, str(dest), selection=selection, **options)  # type: ignore[arg-type]
    return plan.carry_out(Serial(), Silent())


def assert_same_files(left: Path, right: Path, *, ignored: Sequence[str] = ("remote-digests.json",)) -> None:
    compared = filecmp.dircmp(left, right, ignore=list(ignored), hide=[])
    pending = [compared]
    while pending:
        one = pending.pop()
        assert (one.left_only, one.right_only, one.diff_files, one.funny_files) == ([], [], [], [])
        pending += one.subdirs.values()


def test_a_whole_dataset_arrives_byte_for_byte(origin: Path, store: BadStore, tmp_path: Path) -> None:
    result = fetch(store, tmp_path / "copy")
    assert_same_files(origin, tmp_path / "copy")
    assert_complete(tmp_path / "copy")
    assert result.root == result.source_root == open_dataset(str(origin)).root
    assert result.proved == "accident"
    assert result.fetched <= result.bytes


def test_pulling_again_fetches_nothing_and_says_that_all_is_whole(store: BadStore, tmp_path: Path) -> None:
    fetch(store, tmp_path / "copy")
    store.reads.clear()
    assert fetch(store, tmp_path / "copy").fetched == 0
    assert store.read_bytes() == 0


def test_a_copy_that_is_there_but_damaged_is_named_and_left_alone(store: BadStore, tmp_path: Path) -> None:
    fetch(store, tmp_path / "copy")
    path = tmp_path / "copy" / SHARD
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError) as caught:
        fetch(store, tmp_path / "copy")
    assert "wdstools repair" in caught.value.hint


def test_a_split_is_whole_shards_and_authenticated(origin: Path, store: BadStore, tmp_path: Path) -> None:
    result = fetch(store, tmp_path / "val", Selection(splits=("val",)), root=store.dataset.root)
    assert_complete(tmp_path / "val")
    assert result.authenticated
    made = open_dataset(str(tmp_path / "val"))
    assert made.splits == ["val"]
    whole = open_dataset(str(origin)).manifest
    assert made.manifest.splits["val"] == whole.splits["val"]
    assert not any("train" in key for key, _, _ in store.reads)


def test_chosen_samples_make_a_dataset_of_their_own(origin: Path, store: BadStore, tmp_path: Path) -> None:
    result = fetch(store, tmp_path / "oslo", OSLO)
    assert_complete(tmp_path / "oslo")
    made, whole = open_dataset(str(tmp_path / "oslo")), open_dataset(str(origin))
    for split in whole.splits:
        wanted = {key: dict(whole[key]) for key in whole[split].keys() if key.startswith("oslo/")}  # noqa: SIM118
        assert {key: dict(made[key]) for key in made[split].keys()} == wanted  # noqa: SIM118
    assert not result.authenticated
    assert result.samples == 18
    assert made.manifest.labels == whole.manifest.labels
    provenance = json.loads((tmp_path / "oslo/.wdstools/provenance.json").read_bytes())
    assert provenance["pulled"]["root"] == whole.root
    assert provenance["pulled"]["selection"]["where"] == "label == 'oslo'"


def test_the_same_choice_gives_the_same_bytes_whatever_was_there_before(store: BadStore, tmp_path: Path) -> None:
    fetch(store, tmp_path / "a", OSLO)
    fetch(store, tmp_path / "b", OSLO, gap=0)
    fetch(store, tmp_path / "c", OSLO, seeds=[str(tmp_path / "b")])
    assert_same_files(tmp_path / "a", tmp_path / "b")
    assert_same_files(tmp_path / "a", tmp_path / "c")


def test_the_plan_says_what_will_move_and_no_more_moves(store: BadStore, tmp_path: Path) -> None:
    for gap in (0, 2_000, 1 << 20):
        plan = plan_pull(store.dataset, str(tmp_path / f"{gap}"), selection=OSLO, gap=gap)
        store.reads.clear()
        result = plan.carry_out(Serial(), Silent())
        assert store.read_bytes() == result.fetched == plan.bytes
        assert result.requests == plan.requests
    assert plan.bytes <= plan.total_bytes


def test_chosen_samples_of_a_dataset_with_authenticated_ranges_are_authenticated(tmp_path: Path) -> None:
    source = write_city_pairs(tmp_path / "source", train=12, val=2)
    options = make_options(shard_samples=5, name="pairs", authenticated_ranges=True)
    run_pack(FolderSource(str(source)), str(tmp_path / "dataset"), options, executor=Serial())
    store = BadStore(tmp_path / "dataset")
    root = store.dataset.root
    assert fetch(store, tmp_path / "oslo", OSLO, root=root).authenticated
    assert not fetch(store, tmp_path / "again", OSLO).authenticated


def test_chosen_samples_without_a_sha256_each_are_not_proved_against_forgers(tmp_path: Path) -> None:
    write_city_pairs(tmp_path / "source", train=12, val=4)
    options = make_options(shard_samples=5, name="pairs", authenticated_ranges=False)
    run_pack(FolderSource(str(tmp_path / "source")), str(tmp_path / "dataset"), options, executor=Serial())
    store = BadStore(tmp_path / "dataset")
    result = fetch(store, tmp_path / "oslo", OSLO, root=store.dataset.root)
    assert result.proved == "accident"
    assert_complete(tmp_path / "oslo")


def test_keys_that_are_not_there_are_told(store: BadStore, tmp_path: Path) -> None:
    known = sorted(store.dataset["val"].keys())[:2]
    result = fetch(store, tmp_path / "some", Selection(keys=frozenset({*known, "nobody/1"})))
    assert result.missing_keys == ("nobody/1",)
    assert sorted(open_dataset(str(tmp_path / "some"))["val"].keys()) == known


def test_nothing_chosen_is_an_error_and_makes_nothing(store: BadStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        fetch(store, tmp_path / "none", Selection(where=Where("label == 'atlantis'")))
    assert caught.value.code == "nothing-chosen"
    assert list(tmp_path.iterdir()) == []


def test_another_dataset_than_the_one_that_was_named_is_refused(store: BadStore, tmp_path: Path) -> None:
    root = store.dataset.root
    with pytest.raises(IntegrityError) as caught:
        fetch(store, tmp_path / "copy", root="0" * 64)
    assert (caught.value.code, caught.value.got) == ("root-differs", root)
    with pytest.raises(UsageError, match="not a root digest"):
        fetch(store, tmp_path / "copy", root="")
    assert fetch(store, tmp_path / "copy", root=root.upper()).root == root


def test_bytes_that_arrive_damaged_are_asked_for_again(store: BadStore, tmp_path: Path) -> None:
    store.wrong = {SHARD: 1, ".wdstools/index/train-000000.parquet": 2, ".wdstools/provenance.json": 1}
    result = fetch(store, tmp_path / "copy")
    assert result.again == 1
    assert_complete(tmp_path / "copy")


@pytest.mark.parametrize("at", [700, 100, 0.5], ids=["payload", "header", "middle"])
def test_a_sample_that_is_damaged_there_is_named_and_nothing_is_left_under_a_final_name(
    store: BadStore, tmp_path: Path, at: float
) -> None:
    entry = next(entry for _, entry in store.dataset.manifest.shards if entry.path == SHARD)
    store.flip(SHARD, int(at if at > 1 else entry.bytes * at))
    with pytest.raises(IntegrityError) as caught:
        fetch(store, tmp_path / "copy")
    assert caught.value.code == "remote-damaged"
    assert SHARD in caught.value.where
    assert "sample" in caught.value.where
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "copy.partial/new" / SHARD).exists()


def test_after_the_source_is_mended_only_what_was_missing_is_fetched(
    origin: Path, store: BadStore, tmp_path: Path
) -> None:
    whole = len(store.objects[SHARD])
    store.flip(SHARD, whole - 12_000)
    with pytest.raises(IntegrityError):
        fetch(store, tmp_path / "copy")
    store.fill(origin)
    store.reads.clear()
    result = fetch(store, tmp_path / "copy")
    assert result.kept > 0
    assert store.read_bytes() < result.bytes - result.kept + 1
    assert_same_files(origin, tmp_path / "copy")


def test_what_lies_in_a_part_is_believed_only_if_it_is_right(store: BadStore, tmp_path: Path) -> None:
    store.flip("val/val-000000.tar", 5_000)
    with pytest.raises(IntegrityError):
        fetch(store, tmp_path / "copy")
    part = tmp_path / "copy.partial/new" / "val" / f"val-000000.tar{PART_SUFFIX}"
    part.write_bytes(b"rubbish" * 9_000)
    store.flip("val/val-000000.tar", 5_000)
    fetch(store, tmp_path / "copy")
    assert_complete(tmp_path / "copy")


def test_a_finished_shard_that_changed_meanwhile_is_fetched_again(store: BadStore, tmp_path: Path) -> None:
    store.flip("val/val-000000.tar", 5_000)
    with pytest.raises(IntegrityError):
        fetch(store, tmp_path / "copy")
    finished = tmp_path / "copy.partial/new" / SHARD
    data = finished.read_bytes()
    finished.write_bytes(data[:2_000] + b"?" + data[2_001:])
    store.flip("val/val-000000.tar", 5_000)
    fetch(store, tmp_path / "copy")
    assert_complete(tmp_path / "copy")


def test_old_shards_give_what_they_have(origin: Path, tmp_path: Path) -> None:
    source = write_city_pairs(tmp_path / "source", train=30, val=6, damaged=True)
    caption = source / "captions/train/oslo/4.txt"
    caption.write_text(caption.read_text() + " and one more word")
    options = make_options(shard_samples=8, name="damaged pairs")
    run_pack(FolderSource(str(source)), str(tmp_path / "new"), options, executor=Serial())
    store = BadStore(tmp_path / "new")
    result = fetch(store, tmp_path / "copy", seeds=[str(origin)])
    assert_same_files(tmp_path / "new", tmp_path / "copy")
    group = next(
        row
        for _, e in store.dataset.manifest.shards
        for row in store.dataset.index(e).to_pylist()
        if row["key"] == "oslo/4"
    )
    assert result.fetched == group["length"]
    assert result.seeded == sum(
        row["length"] for _, e in store.dataset.manifest.shards for row in store.dataset.index(e).to_pylist()
    ) - group["length"]  # fmt: skip


def test_a_damaged_seed_costs_a_fetch_and_nothing_else(origin: Path, store: BadStore, tmp_path: Path) -> None:
    fetch(store, tmp_path / "seed")
    path = tmp_path / "seed" / SHARD
    data = path.read_bytes()
    path.write_bytes(data[:3_000] + b"?" + data[3_001:])
    result = fetch(store, tmp_path / "copy", seeds=[str(tmp_path / "seed")])
    assert 0 < result.fetched < 10_000
    assert_same_files(origin, tmp_path / "copy")


def test_a_dataset_replaced_while_it_is_pulled_is_refused(
    origin: Path, store: BadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = BadStore(make_dataset(tmp_path / "other", train=25, val=6, shard_samples=8))

    def replace(key: str) -> None:
        if key == SHARD:
            store.before = lambda _: None
            store.objects.clear()
            store.objects.update(other.objects)

    store.before = replace
    dataset = store.dataset
    monkeypatch.setattr("wdstools.ops.pull.open_dataset", lambda _: store.dataset)
    with pytest.raises(StoreError) as caught:
        plan_pull(dataset, str(tmp_path / "copy")).carry_out(Serial(), Silent())
    assert caught.value.code == "dataset-replaced"
    assert not (tmp_path / "copy").exists()


def test_a_checksum_list_of_another_dataset_is_refused(store: BadStore, tmp_path: Path) -> None:
    store.objects["SHA256SUMS"] = store.objects["SHA256SUMS"].replace(b"0", b"1")
    with pytest.raises(IntegrityError) as caught:
        fetch(store, tmp_path / "copy")
    assert caught.value.code == "remote-damaged"


def test_a_missing_shard_is_told_and_nothing_appears(store: BadStore, tmp_path: Path) -> None:
    del store.objects[SHARD]
    with pytest.raises(NotFoundError):
        fetch(store, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_shard_that_ends_early_is_told(store: BadStore, tmp_path: Path) -> None:
    store.objects[SHARD] = store.objects[SHARD][:4_000]
    with pytest.raises(StoreError):
        fetch(store, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_unfinished_work_on_something_else_is_not_mixed_in(store: BadStore, tmp_path: Path) -> None:
    store.flip("val/val-000000.tar", 5_000)
    with pytest.raises(IntegrityError):
        fetch(store, tmp_path / "copy")
    with pytest.raises(BusyError):
        fetch(store, tmp_path / "copy", Selection(splits=("train",)))
    fetch(store, tmp_path / "copy", Selection(splits=("train",)), restart=True)
    assert_complete(tmp_path / "copy")
    assert not (tmp_path / "copy/val").exists()


def test_a_destination_that_holds_something_is_left_alone(store: BadStore, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/thesis.txt").write_text("the only copy")
    with pytest.raises(StoreError) as caught:
        fetch(store, tmp_path / "copy")
    assert caught.value.code == "destination-not-empty"
    assert (tmp_path / "copy/thesis.txt").read_text() == "the only copy"


def test_workers_make_no_difference(origin: Path, tmp_path: Path) -> None:
    for jobs in (1, 4):
        pull(str(origin), str(tmp_path / f"{jobs}"), jobs=jobs, selection=OSLO)
    assert_same_files(tmp_path / "1", tmp_path / "4")
    verify(open_dataset(str(tmp_path / "4")), level="decode").raise_for_findings()


def test_the_command_plans_pulls_and_counts(origin: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("oslo/0\nrome/1\nnobody/7\n")
    planned = run_command("pull", origin, tmp_path / "out", "--keys", keys, "-n", "--json")
    assert planned.code == 0, planned.err
    assert planned.lines[0]["samples"] == 2
    assert not (tmp_path / "out").exists()
    done = run_command("pull", origin, tmp_path / "out", "--keys", keys, "--split", "train", "--gap", "1KiB", "--json")
    assert done.code == 3, done.err
    assert done.summary["missing_keys"] == ["nobody/7"]
    assert done.summary["authenticated"] is False
    said = run_command("pull", origin, tmp_path / "again", "--where", "label == 'rome'")
    assert said.code == 0
    assert "not against forgers" in said.out
    assert run_command("pull", origin, tmp_path / "x", "--root", "ab" * 32).code == 1
    assert run_command("pull", origin, tmp_path / "x", "--gap", "wide").code == 2
    assert run_command("pull", tmp_path / "keys.txt", tmp_path / "x").code == 5
    assert run_command("pull", tmp_path / "nowhere", tmp_path / "x").code == 4
    assert not (tmp_path / "x").exists()


def test_the_manifest_appears_last(store: BadStore, tmp_path: Path) -> None:
    looked = []

    def look(key: str) -> None:
        if key.endswith(".tar"):
            looked.append(key)
            assert not (tmp_path / "copy").exists()
            assert not (tmp_path / "copy.partial/new" / MANIFEST_PATH).exists()

    store.before = look
    fetch(store, tmp_path / "copy")
    assert looked
