"""Every operation that can read, against two forgers: with a root digest nothing forged is used, handed out or certified."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from PIL import Image

import wdstools as wt
from tests.hostile.forgers import MESSAGE_BYTES, forge_block, forge_samples, forge_values, refresh_sums, without_values
from tests.support.command import run_command
from tests.support.outcome import contents
from tests.support.streams import in_memory
from wdstools.dataset import STAGED_MARK
from wdstools.errors import FormatError, IntegrityError, UsageError, WdsError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.landing.staging import commit
from wdstools.ops.mirror import mirror
from wdstools.ops.pull import plan_pull
from wdstools.ops.remove import plan_remove
from wdstools.ops.repair import RepairResult, plan_repair
from wdstools.ops.verify import verify_path
from wdstools.plan import apply
from wdstools.reader.select import Selection, parse_where
from wdstools.results import Proved
from wdstools.transfer.download import PullTask, pull_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wdstools import Dataset

SHARD = "train/train-000000.tar"
LONDON = Selection(where=parse_where("label == 'london'"))


def other_labels(labels: list[str]) -> list[str]:
    return ["rome" if label == "london" else "london" for label in labels]


CHANGES: dict[str, dict[str, Callable[[list[Any]], list[Any]]]] = {
    "labels": {"label": other_labels},
    "cls": {"cls": lambda values: [1 - value for value in values]},
    "captions": {"caption": lambda values: [value + "!" for value in values]},
    "a caption lost": {"caption": lambda values: [None, *values[1:]]},
    "sizes": {"width": lambda values: [value + 1 for value in values]},
    "a format": {"format": lambda values: ["png" for _ in values]},
}


@pytest.fixture(scope="module", name="good")
def _good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs of noise, which are large enough to hide in."""
    work = tmp_path_factory.mktemp("good")
    for number in range(12):
        folder = work / "source" / ("london" if number % 2 else "rome")
        folder.mkdir(parents=True, exist_ok=True)
        noise = random.Random(number).randbytes(96 * 96 * 3)
        Image.frombytes("RGB", (96, 96), noise).save(folder / f"{number}.jpg", quality=95)
        (folder / f"{number}.txt").write_text(f"caption {number}")
    wt.pack(str(work / "source"), str(work / "good"), recipe="labels", splits="train", shards=1, jobs=1)
    return work / "good"


def root_of(dataset: Path) -> str:
    return hashlib.sha256((dataset / MANIFEST_PATH).read_bytes()).hexdigest()


@pytest.fixture(name="root")
def _root(good: Path) -> str:
    return root_of(good)


@pytest.fixture(name="forged")
def _forged(good: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    copy = Path(shutil.copytree(good, tmp_path / "forged"))
    before = (copy / SHARD).read_bytes()
    keys = forge_samples(copy)
    after = (copy / SHARD).read_bytes()
    assert keys
    assert after != before
    assert xxhash.xxh3_128_digest(after) == xxhash.xxh3_128_digest(before)
    return copy, keys


def bytes_of(dataset: Path) -> dict[str, bytes]:
    return {str(path.relative_to(dataset)): path.read_bytes() for path in sorted(dataset.rglob("*")) if path.is_file()}


def test_a_forged_block_keeps_both_xxh3_and_is_another() -> None:
    data = bytearray(random.Random(1).randbytes(8192))
    for at in (0, 1024, 5120):
        forged = bytearray(data)
        forged[at : at + 1024] = forge_block(bytes(data[at : at + 1024]), bytes(range(256)) * 3)
        assert forged[at + 1024 - MESSAGE_BYTES : at + 1024] == (bytes(range(256)) * 3)[:MESSAGE_BYTES]
        assert forged != data
        for digest in (xxhash.xxh3_64_digest, xxhash.xxh3_128_digest):
            assert digest(bytes(forged)) == digest(bytes(data))


# --- the forger of XXH3 ------------------------------------------------------------------------------------------


def test_verify_with_a_root_names_each_forged_sample(forged: tuple[Path, list[str]], root: str) -> None:
    copy, keys = forged
    report = verify_path(str(copy), root=root)
    assert {finding.key for finding in report.findings} == set(keys)
    assert {finding.cause for finding in report.findings} == {"forged"}
    assert report.proved is Proved.NOTHING
    # without one the fast digest is all that is compared, and the answer says so
    assert verify_path(str(copy)).proved is Proved.ACCIDENT


def test_verify_says_against_whom(good: Path, root: str, tmp_path: Path) -> None:
    assert verify_path(str(good)).proved is Proved.ACCIDENT
    assert verify_path(str(good), digest="sha256").proved is Proved.ACCIDENT
    assert verify_path(str(good), root=root).proved is Proved.FORGER
    assert verify_path(str(good), root=root, level="decode").proved is Proved.FORGER
    assert verify_path(str(good), root=root, digest="xxh3_128").proved is Proved.ACCIDENT
    assert verify_path(str(good), level="size").proved is Proved.NOTHING
    alone = shutil.copy(good / MANIFEST_PATH, tmp_path / "alone.json")
    assert verify_path(str(alone), at=str(good)).proved is Proved.FORGER
    with pytest.raises(IntegrityError) as caught:
        verify_path(str(good), root="0" * 64)
    assert caught.value.code == "root-differs"


@pytest.mark.parametrize("selection", [Selection(), LONDON], ids=["all", "some"])
def test_pull_from_a_forger_brings_nothing(
    forged: tuple[Path, list[str]], root: str, tmp_path: Path, selection: Selection
) -> None:
    chosen = selection if not selection.is_everything else Selection(splits=("train",))
    with pytest.raises(IntegrityError) as caught:
        apply(plan_pull(str(forged[0]), str(tmp_path / "new"), root=root, selection=chosen))
    assert caught.value.code == "remote-damaged"
    assert not (tmp_path / "new").exists()


def test_a_copy_that_is_there_already_is_not_believed(forged: tuple[Path, list[str]], good: Path, root: str) -> None:
    with pytest.raises(IntegrityError):
        apply(plan_pull(str(good), str(forged[0]), root=root))
    assert apply(plan_pull(str(good), str(forged[0]))).proved is Proved.ACCIDENT


@pytest.mark.parametrize("authenticated", [True, False])
def test_forged_seeds_and_parts_are_fetched_anew(good: Path, tmp_path: Path, authenticated: bool) -> None:
    if not authenticated:
        source = good.parent / "source"
        options: dict[str, Any] = {"recipe": "labels", "splits": "train", "shards": 1, "jobs": 1}
        wt.pack(str(source), str(tmp_path / "plain"), authenticated_ranges=False, **options)
        good = tmp_path / "plain"
    bad = Path(shutil.copytree(good, tmp_path / "bad"))
    assert forge_samples(bad)
    made = tmp_path / "made"
    result = apply(plan_pull(str(good), str(made), root=root_of(good), seeds=(str(bad),)))
    assert result.proved is Proved.FORGER
    assert (made / SHARD).read_bytes() == (good / SHARD).read_bytes()
    # what an interrupted run has left
    dataset = wt.open_dataset(str(good), root=root_of(good))
    ((split, entry),) = dataset.manifest.shards
    part = tmp_path / "part"
    (part / "train").mkdir(parents=True)
    shutil.copy(bad / SHARD, part / SHARD)
    pull_shard(PullTask(dataset, split, entry, str(part), 0), lambda _: None)
    assert (part / SHARD).read_bytes() == (good / SHARD).read_bytes()


@pytest.mark.parametrize("authenticated", [True, False])
def test_repair_with_a_root_mends_forged_samples(good: Path, tmp_path: Path, authenticated: bool) -> None:
    if not authenticated:
        options: dict[str, Any] = {"recipe": "labels", "splits": "train", "shards": 1, "jobs": 1}
        wt.pack(str(good.parent / "source"), str(tmp_path / "plain"), authenticated_ranges=False, **options)
        good = tmp_path / "plain"
    root = root_of(good)
    bad = Path(shutil.copytree(good, tmp_path / "bad"))
    assert forge_samples(bad)
    alone = plan_repair(str(bad), root=root)
    assert alone.unsolved
    mended = apply(plan_repair(str(bad), root=root, spares=(str(good),)))
    assert isinstance(mended, RepairResult)
    assert mended.proved is Proved.FORGER
    assert bytes_of(bad) == bytes_of(good)


def test_remove_does_not_certify_forged_samples_anew(forged: tuple[Path, list[str]], tmp_path: Path) -> None:
    copy, keys = forged
    before = bytes_of(copy)
    other = next(key for key in wt.open_dataset(str(copy))["train"].keys() if key not in keys)  # noqa: SIM118
    for output in (str(tmp_path / "next"), None):
        with pytest.raises(IntegrityError):
            apply(plan_remove(str(copy), Selection(keys=frozenset({other})), output=output))
    assert not (tmp_path / "next").exists()
    assert bytes_of(copy) == before


def test_remove_does_not_copy_a_forged_shard_into_a_new_dataset(good: Path, tmp_path: Path) -> None:
    """The shard that nothing is taken out of is certified too, by the dataset that it becomes a part of."""
    options: dict[str, Any] = {"recipe": "labels", "splits": "train", "shards": 2, "jobs": 1}
    for authenticated in (True, False):
        made = tmp_path / f"two-{authenticated}"
        wt.pack(str(good.parent / "source"), str(made), authenticated_ranges=authenticated, **options)
        dataset = wt.open_dataset(str(made))
        second = dataset.index(dataset.manifest.splits["train"][1]).column("key").to_pylist()
        assert forge_samples(made)
        untouched = Selection(keys=frozenset(second[:1]))
        with pytest.raises(IntegrityError):
            apply(plan_remove(str(made), untouched, output=str(tmp_path / "next")))
        assert not (tmp_path / "next").exists()


def test_mirror_with_a_root_does_not_send_a_forged_shard(
    forged: tuple[Path, list[str]], root: str, tmp_path: Path
) -> None:
    dataset = wt.open_dataset(str(forged[0]), root=root)
    with pytest.raises(IntegrityError) as caught:
        mirror(dataset, str(tmp_path / "mirror"))
    assert caught.value.code == "source-damaged"
    assert not (tmp_path / "mirror" / MANIFEST_PATH).exists()
    assert not (tmp_path / "mirror" / SHARD).exists()


def readings(dataset: Dataset) -> dict[str, Callable[[], dict[str, bytes]]]:
    """Every way to the images of a split, by key."""
    split = dataset["train"]
    return {
        "by number": lambda: {split[n].key: split[n]["jpg"] for n in range(len(split))},
        "by key": lambda: {key: dataset[key]["jpg"] for key in list(split.keys())},
        "in order": lambda: {sample.key: sample["jpg"] for sample in split},
        "stream": lambda: {sample.key: sample["jpg"] for sample in wt.stream(dataset, "train", shuffle="full")},
        "loader": lambda: {
            key: bytes(image)
            for batch in wt.loader(dataset, batch_size=5, decode="bytes", threads=2)
            for key, image in zip(batch.keys, batch.images, strict=True)
        },
    }


@pytest.mark.parametrize("place", ["folder", "objects"])
@pytest.mark.parametrize("way", ["by number", "by key", "in order", "stream", "loader"])
def test_no_way_of_reading_hands_out_a_forged_sample(
    forged: tuple[Path, list[str]], good: Path, root: str, way: str, place: str
) -> None:
    copy, keys = forged
    dataset = wt.open_dataset(str(copy), root=root)
    if place == "objects":
        dataset = in_memory(dataset)
    with pytest.raises(IntegrityError) as caught:
        readings(dataset)[way]()
    assert caught.value.code == "sample-damaged"
    # a mirror that has them whole is asked
    mended = replace(dataset, mirrors=(wt.open_dataset(str(good)).shards,), readers={})
    whole = {sample.key: sample["jpg"] for sample in wt.open_dataset(str(good))["train"]}
    assert readings(mended)[way]() == whole
    # without a root the fast digest is what samples are proved by
    trusting = replace(dataset, anchored=False, readers={})
    assert {key for key, image in readings(trusting)[way]().items() if image != whole[key]} == set(keys)


def test_readers_say_against_whom_they_have_proved_something(forged: tuple[Path, list[str]], good: Path) -> None:
    for anchor, proved in ((root_of(good), Proved.FORGER), (None, Proved.ACCIDENT)):
        loader = wt.loader(wt.open_dataset(str(good), root=anchor), batch_size=4)
        list(loader)
        assert loader.report().proved is proved
    skipping = wt.loader(wt.open_dataset(str(forged[0]), root=root_of(good)), batch_size=4, on_damage="skip")
    assert sum(len(batch.damaged) for batch in skipping) == len(forged[1])


def test_commands_take_a_root_and_say_what_is_proved(forged: tuple[Path, list[str]], good: Path, root: str) -> None:
    work = good.parent
    assert run_command("verify", good, "--root", root, "--json").summary["proved"] == "forger"
    plain = run_command("verify", good, "--json").summary
    assert (plain["proved"], plain["authenticated"]) == ("accident", False)
    assert run_command("verify", forged[0], "--root", root).code == 1
    differs = run_command("verify", good, "--root", "0" * 64, "--json")
    assert (differs.code, differs.error["code"]) == (1, "root-differs")
    key = forged[1][0]
    assert run_command("cat", forged[0], f"{key}.jpg", "--root", root).code == 1
    assert run_command("extract", forged[0], work / "files", "--root", root).code == 1
    assert not (work / "files").exists()
    done = run_command("extract", good, work / "files", "--root", root, "--json")
    assert done.summary["proved"] == "accident"  # the bytes are proved, what their files were called is not


# --- the forger of index values ----------------------------------------------------------------------------------


@pytest.fixture(name="relabelled", params=CHANGES)
def _relabelled(request: pytest.FixtureRequest, good: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(good, tmp_path / "relabelled"))
    forge_values(copy, CHANGES[request.param])
    return copy


@pytest.mark.parametrize("options", [{}, {"digest": "sha256"}, {"level": "samples"}])
def test_verify_names_an_index_with_other_values(relabelled: Path, options: dict[str, Any]) -> None:
    report = verify_path(str(relabelled), **options)
    assert "values-differ" in {finding.cause for finding in report.findings}


def test_repair_makes_forged_values_again_from_the_shard(relabelled: Path, good: Path) -> None:
    apply(plan_repair(str(relabelled)))
    table = wt.open_dataset(str(relabelled)).index
    ((_, entry),) = wt.open_dataset(str(good)).manifest.shards
    assert (
        table(entry).drop_columns(["source"]).equals(wt.open_dataset(str(good)).index(entry).drop_columns(["source"]))
    )
    assert verify_path(str(relabelled), root=root_of(good)).ok


def test_no_operation_uses_forged_values(relabelled: Path, root: str, tmp_path: Path) -> None:
    path, opened = str(relabelled), wt.open_dataset(str(relabelled), root=root)
    uses: list[Callable[[], object]] = [
        lambda: apply(plan_pull(path, str(tmp_path / "a"), root=root, selection=LONDON)),
        lambda: apply(plan_pull(path, str(tmp_path / "a"), root=root)),
        lambda: apply(plan_pull(path, str(tmp_path / "a"), selection=LONDON)),
        lambda: apply(plan_remove(path, LONDON)),
        lambda: wt.loader(opened, batch_size=4, where="label == 'london'"),
        lambda: wt.extract(opened, str(tmp_path / "a"), selection=LONDON),
        lambda: opened.index(opened.manifest.shards[0][1]),
    ]
    for use in uses:
        with pytest.raises(WdsError) as caught:
            use()
        assert caught.value.code in ("remote-damaged", "index-damaged")
    assert not (tmp_path / "a").exists()


def test_a_forged_split_column_chooses_nothing(good: Path, tmp_path: Path) -> None:
    """Nothing proves this column, and nothing needs it: the manifest says which split a shard is of."""
    copy = Path(shutil.copytree(good, tmp_path / "copy"))
    forge_values(copy, {"split": lambda values: ["val" for _ in values]})
    dataset = wt.open_dataset(str(copy), root=root_of(good))
    assert sum(len(batch) for batch in wt.loader(dataset, batch_size=4, where="split == 'train'")) == 12


#: Columns that follow from where an index lies, and that no digest covers.
PLACED: dict[str, dict[str, Callable[[list[Any]], list[Any]]]] = {
    "split": {"split": lambda values: ["val" for _ in values]},
    "row": {"row": lambda values: [-5 for _ in values]},
    "rows turned": {"row": lambda values: values[::-1]},
}


@pytest.mark.parametrize(
    "kind", [kind if kind == "row" else pytest.param(kind, marks=pytest.mark.slow) for kind in PLACED]
)
def test_what_the_place_of_an_index_gives_is_no_others_to_say(kind: str, good: Path, root: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(good, tmp_path / "copy"))
    forge_values(copy, PLACED[kind])
    report = verify_path(str(copy), root=root)
    (name,) = PLACED[kind]
    assert [(finding.cause, finding.field) for finding in report.findings] == [("column-differs", name)]
    with pytest.raises(WdsError):
        apply(plan_pull(str(copy), str(tmp_path / "pulled"), root=root))
    assert not (tmp_path / "pulled").exists()
    apply(plan_repair(str(copy), root=root))
    assert verify_path(str(copy), level="decode", root=root).ok
    assert bytes_of(copy).keys() == bytes_of(good).keys()


@pytest.mark.parametrize("kind", [pytest.param("absent", marks=pytest.mark.slow), "twice", "of another type"])
def test_an_index_that_nothing_reads_is_no_whole_one(kind: str, good: Path, root: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(good, tmp_path / "copy"))
    (path,) = (copy / ".wdstools/index").glob("*.parquet")
    table = pq.ParquetFile(path).read()
    changed = {
        "absent": lambda: table.drop_columns(["row", "split"]),
        "twice": lambda: table.append_column("split", table.column("split")),
        "of another type": lambda: table.set_column(14, "source", pa.array([[1]] * table.num_rows)),
    }[kind]()
    path.chmod(0o644)
    pq.write_table(changed, path)
    refresh_sums(copy)
    report = verify_path(str(copy), root=root)
    assert [finding.cause for finding in report.findings] == ["index-damaged"]
    apply(plan_repair(str(copy), root=root))
    assert verify_path(str(copy), level="decode", root=root).ok


# --- and without ``values`` in the manifest, as older writers made it ---------------------------------------------


@pytest.fixture(name="older")
def _older(good: Path, tmp_path: Path) -> tuple[Path, str]:
    copy = Path(shutil.copytree(good, tmp_path / "older"))
    root = without_values(copy)
    forge_values(copy, CHANGES["labels"])
    return copy, root


def labels_in(dataset: Path) -> set[str]:
    return {sample.key.split("/")[0] for sample in wt.open_dataset(str(dataset))["train"]}


def test_without_values_a_choice_with_a_root_reads_the_members(older: tuple[Path, str], tmp_path: Path) -> None:
    path, root = older
    misled, right = tmp_path / "misled", tmp_path / "right"
    assert apply(plan_pull(str(path), str(misled), selection=LONDON)).proved is Proved.ACCIDENT
    assert labels_in(misled) == {"rome"}
    result = apply(plan_pull(str(path), str(right), selection=LONDON, root=root))
    assert result.proved is Proved.FORGER
    assert labels_in(right) == {"london"}
    made = wt.open_dataset(str(right))
    assert set(made.index(made.manifest.shards[0][1]).column("label").to_pylist()) == {"london"}


def test_without_values_a_whole_pull_with_a_root_brings_the_values_of_the_samples(
    older: tuple[Path, str], tmp_path: Path
) -> None:
    path, root = older
    apply(plan_pull(str(path), str(tmp_path / "whole"), root=root))
    made = wt.open_dataset(str(tmp_path / "whole"), root=root)
    rows = made.index(made.manifest.shards[0][1]).select(["key", "label"]).to_pylist()
    assert all(row["key"].split("/")[0] == row["label"] for row in rows)
    assert verify_path(str(tmp_path / "whole"), root=root).proved is Proved.FORGER


def test_without_values_a_removal_with_a_root_takes_the_right_samples(older: tuple[Path, str]) -> None:
    path, root = older
    apply(plan_remove(str(path), LONDON, root=root))
    assert labels_in(path) == {"rome"}


def test_without_values_verify_and_repair_with_a_root_look_into_the_samples(older: tuple[Path, str]) -> None:
    path, root = older
    assert verify_path(str(path)).ok
    assert [finding.field for finding in verify_path(str(path), root=root).findings] == ["label"]
    repaired = apply(plan_repair(str(path), root=root))
    assert isinstance(repaired, RepairResult)
    assert repaired.indexes == 1
    assert verify_path(str(path), root=root).proved is Proved.FORGER


def test_without_values_readers_refuse_to_choose_by_them(older: tuple[Path, str], tmp_path: Path) -> None:
    path, root = older
    dataset = wt.open_dataset(str(path), root=root)
    with pytest.raises(UsageError) as caught:
        wt.loader(dataset, batch_size=4, where="label == 'london'")
    assert caught.value.code == "values-unproved"
    with pytest.raises(UsageError) as caught:
        next(iter(wt.stream(dataset, where="label == 'london'")))
    assert caught.value.code == "values-unproved"
    # a choice by what the rows prove is none of theirs
    wt.loader(dataset, batch_size=4, where="length > 0")


def test_without_values_and_without_a_root_readers_choose_as_ever(good: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(good, tmp_path / "older"))
    without_values(copy)
    dataset, where = wt.open_dataset(str(copy)), "label == 'london'"
    assert {sample.key.split("/")[0] for sample in wt.stream(dataset, where=where)} == {"london"}
    assert sum(len(batch["keys"]) for batch in wt.loader(dataset, batch_size=4, where=where)) == 6
    assert len(run_command("ls", copy, "--where", where, "--json").out.splitlines()) >= 6
    assert apply(plan_pull(str(copy), str(tmp_path / "some"), selection=LONDON)).proved is Proved.ACCIDENT


def test_without_values_extract_chooses_by_what_it_finds_in_the_samples(
    older: tuple[Path, str], good: Path, tmp_path: Path
) -> None:
    path, root = older
    wt.extract(wt.open_dataset(str(good)), str(tmp_path / "wanted"), selection=LONDON)
    dataset = wt.open_dataset(str(path), root=root)
    done = wt.extract(dataset, str(tmp_path / "found"), selection=LONDON)
    pictures = {digest for name, digest in _digests(tmp_path / "found").items() if name.endswith(".jpg")}
    assert pictures == {digest for name, digest in _digests(tmp_path / "wanted").items() if name.endswith(".jpg")}
    assert done.samples == len(pictures) > 0


def _digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents(folder).items()}


def test_every_answer_says_against_whom_it_is_proved(good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "copy")
    answers = {
        "diff": run_command("diff", good, tmp_path / "copy", "--json"),
        "duplicates": run_command("duplicates", good, "--level", "exact", "--json"),
        "against": run_command("duplicates", good, "--level", "exact", "--against", tmp_path / "copy", "--json"),
        "emit": run_command("emit", tmp_path / "copy", "--for", "timm", "-y", "--json"),
    }
    assert {name: ran.summary["proved"] for name, ran in answers.items()} == dict.fromkeys(answers, "accident")
    root = root_of(good)
    both = wt.diff(wt.open_dataset(str(good), root=root), wt.open_dataset(str(tmp_path / "copy"), root=root))
    assert both.proved is Proved.FORGER
    emitted = apply(wt.plan_emit(wt.open_dataset(str(tmp_path / "copy"), root=root), ["open_clip"]))
    assert emitted.proved is Proved.FORGER


def test_a_source_is_proved_by_nothing(good: Path, root: str, tmp_path: Path) -> None:
    chosen = Selection(where=parse_where("source is not None"))
    assert apply(plan_pull(str(good), str(tmp_path / "new"), root=root, selection=chosen)).proved is Proved.ACCIDENT


def test_an_index_of_other_rows_is_refused_with_a_root(good: Path, root: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(good, tmp_path / "copy"))
    forge_values(copy, {"key": lambda keys: [*keys[1:], keys[0]]})
    with pytest.raises(FormatError):
        wt.open_dataset(str(copy), root=root).index(wt.open_dataset(str(copy)).manifest.shards[0][1])


def test_pull_names_what_no_root_digest_covers(good: Path, root: str, tmp_path: Path) -> None:
    forged = Path(shutil.copytree(good, tmp_path / "forged"))
    (forged / "README.md").write_text((forged / "README.md").read_text() + "\nBuy at evil.example.\n")
    (forged / ".wdstools/provenance.json").write_text('{"source": "lies"}')
    refresh_sums(forged)
    ran = run_command("pull", forged, tmp_path / "whole", "--root", root, "--json")
    assert ran.summary["proved"] == "forger"
    assert set(ran.summary["not_covered"]) == {"README.md", ".wdstools/provenance.json", "index column source"}
    ran = run_command("pull", forged, tmp_path / "part", "--root", root, "--where", "label == 'rome'")
    assert "not covered by the root digest" in ran.out
    assert ".wdstools/provenance.json" in ran.out
    assert "README.md" not in ran.out
    ran = run_command("pull", good, tmp_path / "good", "--root", root, "--json")
    assert "README.md" not in ran.summary["not_covered"]
    assert "not_covered" not in run_command("pull", good, tmp_path / "free").out


@pytest.mark.parametrize("name", ["README.md", ".wdstools/provenance.json"])
@pytest.mark.parametrize("part", [False, True])
def test_pull_brings_nothing_by_a_link_that_leads_outside(name: str, part: bool, good: Path, tmp_path: Path) -> None:
    forged = Path(shutil.copytree(good, tmp_path / "forged"))
    secret = (forged / name).rename(tmp_path / "secret")
    (forged / name).symlink_to(secret)
    ran = run_command("pull", forged, tmp_path / "new", *(["--where", "label == 'rome'"] if part else []), "--json")
    if part and name == "README.md":
        assert ran.code == 0
    else:
        assert (ran.code, ran.error["code"]) == (4, "path-unsafe")
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["no json", "[" * 100_000])
def test_a_part_is_pulled_whatever_the_provenance_is(text: str, good: Path, tmp_path: Path) -> None:
    forged = Path(shutil.copytree(good, tmp_path / "forged"))
    (forged / ".wdstools/provenance.json").write_text(text)
    refresh_sums(forged)
    assert run_command("pull", forged, tmp_path / "new", "--where", "label == 'rome'").code == 0


def _staged(dataset: Path) -> None:
    """A removal of one sample, stopped when all of it was staged."""
    key = next(iter(wt.open_dataset(str(dataset))["train"].keys()))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr("wdstools.ops.next_version.land.commit", _commit_only)
        apply(plan_remove(str(dataset), Selection(keys=frozenset([key]))))


def _commit_only(root: str, moved: Sequence[str], deleted: Sequence[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wdstools.landing.staging.finish", _stop)
        commit(root, moved, deleted)


def _stop(_: str) -> None:
    raise KeyboardInterrupt


def test_a_change_that_a_stranger_has_staged_is_not_finished_by_whoever_gives_a_root(
    good: Path, root: str, tmp_path: Path
) -> None:
    forged = Path(shutil.copytree(good, tmp_path / "forged"))
    _staged(forged)
    before = contents(forged)
    for verb, *rest in (["remove", "--where", "label == 'rome'", "--in-place"], ["repair"]):
        ran = run_command(verb, forged, *rest, "-y", "--root", root, "--json")
        assert (ran.code, ran.error["code"]) == (1, "root-differs")
        assert "repair" in ran.error["hint"]
        assert contents(forged) == before


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("anchored", [True, False])
def test_a_staged_change_that_came_with_a_dataset_moves_and_deletes_nothing(
    marked: bool, anchored: bool, good: Path, root: str, tmp_path: Path
) -> None:
    dataset = Path(shutil.copytree(good, tmp_path / "set"))
    if marked:  # a real change of ours, on another disk: every file is a copy
        _staged(dataset)
        dataset = Path(shutil.copytree(dataset, tmp_path / "copy"))
    else:
        shutil.copytree(good, dataset / ".wdstools/staged")
    (dataset / "mine").mkdir()
    (dataset / "mine/thesis.txt").write_text("years of work")
    stage = dataset / ".wdstools/staged"
    moved = {str(path.relative_to(stage / "new")): [1, 1, 1] for path in (stage / "new").rglob("*") if path.is_file()}
    document = {"moved": moved, "deleted": {"mine/thesis.txt": [13, 1, 1]}}
    for text in (json.dumps(document), json.dumps({"moved": [*moved], "deleted": ["mine/thesis.txt"]})):
        (stage / "commit.json").write_text(text)
        before = contents(dataset)
        for verb, *rest in (
            ["remove", "--where", "label == 'rome'", "--in-place"],
            ["repair"],
            ["append", str(good), "--in-place"],
        ):
            given = ["--root", root] if anchored else []
            ran = run_command(verb, dataset, *rest, "-y", *given, "--json")
            assert ran.code in (1, 5), ran.out
            assert ran.error["code"] in ("stage-not-ours", "stage-damaged", "root-differs")
            assert contents(dataset) == before


def test_what_came_after_a_change_that_was_made_is_not_deleted_by_it(good: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(good, tmp_path / "set"))
    signature = dataset / ".wdstools/signatures/later.sigstore.json"
    signature.parent.mkdir()
    signature.write_text("of the old version")
    key = next(iter(wt.open_dataset(str(dataset))["train"].keys()))
    unlink, mark = os.unlink, str(dataset / STAGED_MARK)

    def stop_at_the_mark(path: str, **options: Any) -> None:
        if path == mark:
            raise KeyboardInterrupt
        unlink(path, **options)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(os, "unlink", stop_at_the_mark)
        apply(plan_remove(str(dataset), Selection(keys=frozenset([key]))))
    assert not signature.exists()
    signature.write_text("of the new version")
    assert run_command("repair", dataset, "-y").code == 0
    assert signature.read_text() == "of the new version"
    assert not (dataset / STAGED_MARK).exists()


def test_what_was_asked_for_is_done_after_what_was_interrupted(good: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(good, tmp_path / "set"))
    keys = list(wt.open_dataset(str(dataset))["train"].keys())
    _staged(dataset)
    ran = run_command("remove", dataset, "--where", "label == 'rome'", "--in-place", "-y", "--json")
    assert ran.code == 0
    assert ran.summary["removed"] > 0
    assert ran.summary["version"] == 3
    assert "rome" not in labels_in(dataset)
    (tmp_path / "keys").write_text(f"{keys[0]}\nnobody\n")
    ran = run_command("remove", dataset, "--keys", tmp_path / "keys", "--in-place", "-y", "--json")
    assert (ran.code, ran.summary["absent"], ran.summary["earlier"]) == (3, sorted([keys[0], "nobody"]), [keys[0]])


def test_the_same_removal_again_after_an_interruption_is_done(good: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(good, tmp_path / "set"))
    (tmp_path / "keys").write_text(next(iter(wt.open_dataset(str(dataset))["train"].keys())))
    _staged(dataset)
    ran = run_command("remove", dataset, "--keys", tmp_path / "keys", "--in-place", "-y", "--json")
    assert (ran.code, ran.summary["version"], len(ran.summary["earlier"])) == (0, 2, 1)


def test_a_check_of_some_shards_or_none_proves_nothing_of_the_dataset(good: Path, root: str, tmp_path: Path) -> None:
    state = ("--state", tmp_path / "state", "--json")
    none = run_command("verify", good, "--root", root, "--time-limit", "0s", *state)
    assert (none.summary["checked"]["shards"], none.summary["proved"]) == (0, "nothing")
    whole = run_command("verify", good, "--root", root, "--max-age", "1d", *state)
    assert (whole.code, whole.summary["proved"]) == (0, "forger")
    again = run_command("verify", good, "--root", root, "--max-age", "1d", *state)
    assert again.summary["checked"]["passed_over"] > 0
    assert again.summary["proved"] == "nothing"


@pytest.mark.parametrize("same", ["{}", "{}/", "{}/train/..", "link"])
def test_the_same_place_given_twice_is_no_anchor(same: str, good: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(good)
    at = same.format(good) if "{" in same else tmp_path / "link"
    ran = run_command("verify", good, "--at", at, "--json")
    assert (ran.code, ran.summary["proved"]) == (0, "accident")
    shutil.copytree(good, tmp_path / "copy")
    elsewhere = run_command("verify", good, "--at", tmp_path / "copy", "--json")
    assert (elsewhere.code, elsewhere.summary["proved"]) == (0, "forger")


def test_duplicates_with_a_root_refuse_forged_images_also_where_hashes_of_them_are_kept(
    good: Path, forged: tuple[Path, list[str]], root: str, tmp_path: Path
) -> None:
    copy, cache = forged[0], str(tmp_path / "cache")
    for place in (None, cache):
        assert wt.find_duplicates(str(copy), cache=place).computed == 12  # as accidents go, all is well
        with pytest.raises(IntegrityError) as caught:
            wt.find_duplicates(str(copy), root=root, cache=place)
        assert caught.value.code == "sample-damaged"
    ran = run_command("duplicates", copy, "--root", root)
    against = run_command("duplicates", good, "--against", copy, "--against-root", root)
    assert ("sample-damaged" in ran.err, "sample-damaged" in against.err) == (True, True)
    assert ran.code == against.code != 0
