"""wdstools duplicates, and pack with what it finds, as a user meets them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from PIL import ExifTags, Image

import wdstools as wt
from tests.support.alike_pairs import PLANTED, SINGLES, SURPLUS, write_alike_pairs
from tests.support.command import assert_clean_failure, run_command
from tests.support.lookalikes import scene
from wdstools.executors.open import open_executor
from wdstools.formats.manifest import MANIFEST_PATH, Manifest, ShardEntry, dumps, shard_path
from wdstools.ops.duplicates import images
from wdstools.ops.duplicates.question import in_order
from wdstools.reader import hashes, outline

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.options.pack import DuplicateLevel

TOTAL = SINGLES + len(PLANTED)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_alike_pairs(tmp_path_factory.mktemp("alike") / "source")


@pytest.fixture(scope="module")
def packed(source: Path) -> Path:
    dest = source.parent / "packed"
    wt.pack(str(source), str(dest), shard_samples=5)
    return dest


@pytest.fixture
def dataset(packed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(packed, tmp_path / "dataset")


def _groups(found: wt.DuplicateGroups) -> set[frozenset[str]]:
    return {frozenset(member.key.rpartition("/")[2] for member in group.members) for group in found}


EXPECTED = {
    "exact": {frozenset({"900", "901", "902"})},
    "re-encode": {frozenset({"900", "901", "902"}), frozenset({"910", "911"})},
    "edited": {frozenset({"900", "901", "902"}), frozenset({"910", "911"}), frozenset({"920", "921"})},
}


@pytest.mark.parametrize("level", list(EXPECTED))
def test_every_planted_copy_is_found_at_its_level_and_nothing_else(dataset: Path, level: DuplicateLevel) -> None:
    found = wt.find_duplicates(wt.open_dataset(str(dataset)), level=level)
    assert _groups(found) == EXPECTED[level]
    assert {counts.level: TOTAL - counts.unique for counts in found.levels}[level] == SURPLUS[level]
    assert found.unique == TOTAL - SURPLUS[level]


def test_the_answer_names_leaks_labels_captions_and_mirrors(dataset: Path) -> None:
    found = wt.find_duplicates(wt.open_dataset(str(dataset)), level="edited", captions=True)
    assert found.levels[0].leaks == {
        "test": {"train": 1, "val": 1}, "train": {"test": 1, "val": 1}, "val": {"test": 1, "train": 1},
    }  # fmt: skip
    assert found.levels[2].leaks["test"] == {"train": 3, "val": 1}
    assert (found.other_labels, found.other_captions, found.flipped) == (2, 3, 1)
    assert found.low_information == 2
    assert found.captions is not None
    assert (found.captions.repeated, found.captions.empty) == (2, 0)
    assert found.captions.top[0].text == "same caption #a #b #c"
    assert {group.representative for group in found} == {"oslo/900", "oslo/911", "oslo/920"}


@pytest.mark.slow
def test_the_answer_is_the_same_for_any_workers_shards_and_order_of_listing(source: Path, tmp_path: Path) -> None:
    answers = []
    for number, (samples, jobs) in enumerate(((5, 1), (7, 3), (100, 2))):
        again = write_alike_pairs(tmp_path / f"source{number}", shuffled=number)
        opened = wt.pack(str(again), str(tmp_path / f"set{number}"), shard_samples=samples).dataset
        executor = open_executor("processes", jobs)
        try:
            found = wt.find_duplicates(opened, level="edited", executor=executor)
        finally:
            executor.close()
        answers.append((
            [(g.representative, [(m.key, m.split, m.phash16, m.flipped) for m in g.members]) for g in found],
            found.levels,
        ))  # fmt: skip
    assert answers[0] == answers[1] == answers[2]


def test_hashes_are_kept_and_made_anew_only_where_they_do_not_hold(dataset: Path) -> None:
    opened = wt.open_dataset(str(dataset))
    assert wt.find_duplicates(opened).computed == TOTAL
    assert wt.find_duplicates(opened).computed == 0
    kept = sorted((dataset / ".wdstools/hashes").iterdir())
    first = kept[0].read_bytes()
    kept[0].write_bytes(first[: len(first) // 2])
    kept[1].write_bytes(kept[2].read_bytes())  # another shard's
    damaged = bytearray(kept[3].read_bytes())
    damaged[60] ^= 1
    kept[3].write_bytes(damaged)
    rows = [entry.samples for _, entry in opened.manifest.shards]
    found = wt.find_duplicates(opened)
    assert found.computed == sum(
        count
        for (_, entry), count in zip(opened.manifest.shards, rows, strict=True)
        if entry.index_path.rpartition("/")[2] in {kept[0].name, kept[1].name, kept[3].name}
    )
    assert kept[0].read_bytes() == first
    assert _groups(found) == EXPECTED["re-encode"]


def test_hashes_of_other_library_versions_do_not_hold(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = wt.open_dataset(str(dataset))
    wt.find_duplicates(opened)
    monkeypatch.setattr("wdstools.ops.duplicates.find.library_versions", lambda: {"pillow": "0"})
    assert wt.find_duplicates(opened).computed == TOTAL


def test_images_of_one_size_are_counted_and_grouped_alike_among_very_many(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a word has no room for a size: the largest images are told apart beside it."""
    answers = []
    for few, bits in ((1 << 20, 16), (0, 16), (0, 0)):
        monkeypatch.setattr(images, "_FEW", few)
        monkeypatch.setattr(outline, "_SIDE_BITS", bits)
        answers.append(wt.find_duplicates(wt.open_dataset(str(dataset)), method="size"))
    assert answers[0].groups
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].same_size_unique == answers[0].unique


def test_an_image_that_exif_turns_is_found_among_very_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(4):
        scene(number).save(source / f"{number}.jpg", quality=92)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    scene(0).transpose(Image.Transpose.ROTATE_90).save(source / "turned.jpg", quality=92, exif=exif)
    place = wt.pack(source, tmp_path / "dataset", splits="train", shards=2).path
    answers = []
    for few in (1 << 20, 0):
        monkeypatch.setattr(images, "_FEW", few)
        answers.append(wt.find_duplicates(place, level="edited").groups)
    assert answers[0] == answers[1]
    assert [{member.key for member in group.members} for group in answers[0]] == [{"0", "turned"}]


@pytest.mark.parametrize("few", [1 << 20, 0])
def test_images_are_hashed_once_where_nothing_can_be_noted(
    dataset: Path, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    made = hashes.hash_images

    def counted(*given: Any) -> Any:
        hashed.append(given[1])
        return made(*given)

    monkeypatch.setattr(hashes, "hash_images", counted)
    monkeypatch.setattr(images, "_FEW", few)
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/none")
    assert wt.find_duplicates(str(dataset)).groups
    assert sum(hashed) == TOTAL


def test_keys_of_all_shards_may_be_more_than_offsets_of_32_bits_reach() -> None:
    keys, order = in_order([pa.array(["b", "d"]), pa.array(["c", "a"])])
    assert (keys.to_pylist(), order.tolist()) == (["a", "b", "c", "d"], [3, 0, 2, 1])
    assert keys.type == pa.large_string()


def test_hashes_beside_a_dataset_are_no_damage(dataset: Path) -> None:
    wt.find_duplicates(wt.open_dataset(str(dataset)))
    assert run_command("verify", dataset, "--level", "samples").code == 0


def test_a_dataset_that_cannot_be_written_takes_a_cache(dataset: Path, tmp_path: Path) -> None:
    opened = wt.open_dataset(str(dataset))
    cache = str(tmp_path / "cache")
    assert wt.find_duplicates(opened, cache=cache).computed == TOTAL
    assert not (dataset / ".wdstools/hashes").exists()
    assert wt.find_duplicates(opened, cache=cache).computed == 0


def test_damaged_images_are_named_by_the_checksum_not_hashed(dataset: Path) -> None:
    opened = wt.open_dataset(str(dataset))
    entry = opened.manifest.shards[0][1]
    shard = bytearray((dataset / entry.path).read_bytes())
    shard[700] ^= 1
    (dataset / entry.path).write_bytes(shard)
    ran = run_command("duplicates", dataset)
    assert_clean_failure(ran, 1)
    assert "sample-damaged" in ran.err
    assert not (dataset / entry.index_path.replace("/index/", "/hashes/")).exists()


def test_the_command_says_it_in_text_and_json_and_by_its_exit_code(dataset: Path) -> None:
    ran = run_command("duplicates", dataset)
    assert ran.code == 1
    assert "re-encode" in ran.out
    assert "oslo/900" in ran.out
    as_json = run_command("duplicates", dataset, "--json", "--level", "edited", "--captions")
    assert as_json.code == 1
    assert [line["type"] for line in as_json.lines] == ["group"] * 3 + ["summary"]
    assert as_json.summary["levels"][2]["leaks"]["test"]["train"] == 3
    assert as_json.summary["unique"] == TOTAL - SURPLUS["edited"]
    assert run_command("duplicates", dataset, "--across-splits", "--method", "size").code == 1


def test_leaks_are_shown_for_every_level_side_by_side(dataset: Path) -> None:
    lines = run_command("duplicates", dataset, "--level", "edited").out.splitlines()
    titles = next(number for number, line in enumerate(lines) if line.split() == ["exact", "re-encode", "edited"])
    assert lines[titles + 2].split() == ["test", ".", "1", "1", ".", "2", "1", ".", "3", "1"]


def test_wrong_options_are_refused(dataset: Path) -> None:
    refused = run_command("duplicates", dataset, "--method", "size", "--level", "exact")
    assert_clean_failure(refused, 2)
    assert "there are no levels" in refused.err
    assert_clean_failure(run_command("duplicates", dataset, "--level", "soft"), 2)
    with pytest.raises(wt.UsageError, match="method"):
        wt.find_duplicates(wt.open_dataset(str(dataset)), method="guess")  # type: ignore[arg-type]  # a type checker says the same


def test_a_dataset_without_copies_is_clean(source: Path, tmp_path: Path) -> None:
    for name in PLANTED:
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    clean = shutil.copytree(source, tmp_path / "clean")
    for name in PLANTED:
        (clean / f"img/{name}.jpg").unlink()
        (clean / f"captions/{name}.txt").unlink()
    wt.pack(str(clean), str(tmp_path / "set"))
    page = tmp_path / "page.html"
    ran = run_command("duplicates", tmp_path / "set", "--level", "edited", "--html", page)
    assert ran.code == 0, ran.out
    assert "No two images are the same" in page.read_text()


@pytest.mark.parametrize("level", list(EXPECTED))
@pytest.mark.parametrize("options", [{"splits": "train=70,val=10,test=20"}, {"resplit": True}], ids=["ratio", "given"])
def test_grouped_packs_leak_nothing(
    source: Path, tmp_path: Path, level: DuplicateLevel, options: dict[str, Any]
) -> None:
    packed = wt.pack(str(source), str(tmp_path / "set"), duplicates="group", level=level, **options).dataset
    found = wt.find_duplicates(packed, level=level)
    assert found.samples == TOTAL
    assert _groups(found) == EXPECTED[level]
    assert found.across_splits == ()
    assert found.levels[-1].leaking == 0


def test_grouping_is_refused_where_the_source_gives_the_splits(source: Path, tmp_path: Path) -> None:
    ran = run_command("pack", source, tmp_path / "set", "--duplicates", "group")
    assert_clean_failure(ran, 2)
    assert "--resplit" in ran.err
    assert not (tmp_path / "set").exists()
    with pytest.raises(wt.UsageError, match="resplit"):
        wt.pack(str(source), str(tmp_path / "set"), resplit=True)
    with pytest.raises(wt.UsageError, match="no such choice"):
        wt.pack(str(source), str(tmp_path / "set"), duplicates="some")  # type: ignore[arg-type]  # a type checker says the same


@pytest.mark.parametrize("level", list(EXPECTED))
def test_dropping_keeps_one_of_each_and_prefers_test_to_val_to_train(
    source: Path, tmp_path: Path, level: DuplicateLevel
) -> None:
    dest = tmp_path / "set"
    wt.pack(str(source), str(dest), duplicates="drop", level=level)
    skipped = [json.loads(line) for line in (dest / ".wdstools/skipped.jsonl").read_text().splitlines()]
    left_out = {"exact": {"900", "902"}, "re-encode": {"900", "902", "910"}, "edited": {"900", "902", "910", "920"}}
    assert {entry["key"].rpartition("/")[2] for entry in skipped} == left_out[level]
    assert {entry["reason"] for entry in skipped} == {"image-duplicate"}
    assert "rome/901" in {entry["detail"].rpartition(" ")[2] for entry in skipped}
    assert _groups(wt.find_duplicates(wt.open_dataset(str(dest)), level=level)) == set()


def test_dropping_gives_the_same_bytes_for_any_workers_and_order(source: Path, tmp_path: Path) -> None:
    again = write_alike_pairs(tmp_path / "again", shuffled=5)
    options: dict[str, Any] = {"duplicates": "drop", "level": "edited", "splits": "train=80,test=20"}
    one = wt.pack(str(source), str(tmp_path / "a"), jobs=1, **options).dataset
    two = wt.pack(str(again), str(tmp_path / "b"), jobs=2, **options).dataset
    assert one.root == two.root


def test_a_leak_at_a_level_fails_a_pack_that_asks_for_it(source: Path, tmp_path: Path) -> None:
    ran = run_command("pack", source, tmp_path / "set", "--level", "re-encode", "--fail-on-leak", "--json")
    assert ran.code == 1
    assert ran.summary["leaks"] == {"test/train": 2, "test/val": 1, "train/val": 1}


def test_images_are_compared_as_they_will_be_packed(source: Path, tmp_path: Path) -> None:
    """Resizing makes other images alike than were: what counts is what comes out."""
    kept = wt.find_duplicates(wt.pack(str(source), str(tmp_path / "kept"), resize=16).dataset, level="re-encode")
    assert _groups(kept) != EXPECTED["re-encode"]
    dropped = wt.pack(str(source), str(tmp_path / "dropped"), resize=16, duplicates="drop", level="re-encode").dataset
    assert dropped.manifest.totals["samples"] == kept.unique
    assert _groups(wt.find_duplicates(dropped, level="re-encode")) == set()


def test_a_broken_copy_never_displaces_a_whole_image(source: Path, tmp_path: Path) -> None:
    """What cannot be packed is like no other image: dropping must not keep it and leave the good one out."""
    broken = shutil.copytree(source, tmp_path / "broken")
    whole = (broken / "img/train/oslo/900.jpg").read_bytes()
    for name in ("test/oslo/000", "test/oslo/001"):
        (broken / f"img/{name}.jpg").write_bytes(whole[:-2])
        (broken / f"captions/{name}.txt").write_text("x")
    wt.pack(str(broken), str(tmp_path / "set"), duplicates="drop", level="re-encode")
    reasons = {
        entry["key"]: entry["reason"]
        for entry in map(json.loads, (tmp_path / "set/.wdstools/skipped.jsonl").read_text().splitlines())
    }
    assert reasons["oslo/000"] == reasons["oslo/001"] == "image-truncated"
    assert wt.open_dataset(str(tmp_path / "set"))["rome/901"]["jpg"] == whole


@pytest.mark.parametrize(
    ("samples", "level", "told"),
    [(100_000_000, "edited", True), (1_000_000, "edited", False), (100_000_000, "re-encode", False)],
)
def test_what_a_long_search_takes_is_told_before_it_begins(
    tmp_path: Path, samples: int, level: str, *, told: bool
) -> None:
    entry = ShardEntry(shard_path("train", 0), 1 << 40, samples, "0" * 64, "0" * 32, "0" * 8, "0" * 16, "0" * 64)
    manifest = Manifest("large", 1, (), ("jpg",), 0, {"train": (entry,)})
    (tmp_path / ".wdstools").mkdir()
    (tmp_path / MANIFEST_PATH).write_bytes(dumps(manifest))
    ran = run_command("duplicates", tmp_path, "--level", level)
    assert ran.code == 4, ran.err  # there is no index: the search ends where it would begin
    lines = ran.err.splitlines()
    assert (f"searching {samples:,} images at level {level} takes about" in lines[0]) == told
    assert lines[0].startswith("error: ") != told
    assert "Traceback" not in ran.err
