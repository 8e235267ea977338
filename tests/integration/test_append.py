"""append: what comes is what a pack of everything would hold, what was there stays, and everything else is named."""

from __future__ import annotations

import io
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import wdstools as wt
from tests.support.came import came
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import run_command
from wdstools.errors import IntegrityError, UsageError
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH
from wdstools.landing.staging import commit
from wdstools.ops.append import AppendPlan, AppendResult

if TYPE_CHECKING:
    from collections.abc import Mapping

GOLDEN = Path(__file__).parents[1] / "golden"


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    """Files below a folder."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def pairs(*names: str, first: int = 0, captions: bool = True) -> dict[str, bytes]:
    """An image and a caption for each ``split/label/id``; each name and number gives another image."""
    files = {}
    for number, name in enumerate(names):
        files[f"img/{name}.jpg"] = tiny_jpeg(first + number)
        if captions:
            files[f"captions/{name}.txt"] = f"caption of {name}".encode()
    return files


def append(dataset: Path, source: Path, **choices: Any) -> AppendResult:
    """Append in this process."""
    result = wt.append(dataset, source, **choices)
    assert isinstance(result, AppendResult)
    return result


def pack(source: Path, dest: Path, **choices: Any) -> wt.PackResult | None:
    """Pack, or nothing where a shard would be empty."""
    try:
        return wt.pack(source, dest, **choices)
    except UsageError as error:
        if error.code != "shards-too-many":
            raise
        return None


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def whole(folder: Path) -> None:
    """Nothing is wrong with a dataset, however closely it is looked at."""
    assert wt.verify(str(folder), level="decode").findings == ()


@pytest.fixture(scope="module", name="base")
def _base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 30 and 10 pairs in three shards a split, and its source; neither is to be touched."""
    folder = tmp_path_factory.mktemp("append")
    write_city_pairs(folder / "source", train=30, val=10)
    wt.pack(folder / "source", folder / "whole", shards=3, name="cities")
    return folder


@pytest.fixture(name="copy")
def _copy(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base / "whole", tmp_path / "copy"))


@st.composite
def unions(draw: st.DrawFn) -> tuple[dict[str, bytes], dict[str, bytes], int]:
    """Samples of a dataset, others that come to it, and a number of shards; a new label sorts behind the old ones."""
    names = st.tuples(
        st.sampled_from(["train", "val"]), st.sampled_from(["oslo", "rome", "zagreb"]), st.integers(0, 40)
    )
    chosen = draw(st.lists(names, min_size=4, max_size=14, unique_by=lambda name: name[1:]))
    new = draw(st.lists(st.booleans(), min_size=len(chosen), max_size=len(chosen)))
    given = [("train", "oslo", "x"), ("train", "rome", "y"), ("val", "oslo", "z"), ("train", "rome", "w")]
    old = [name for name, later in zip(chosen, new, strict=True) if not later and name[1] != "zagreb"]
    more = [name for name in chosen if name not in old] or [("train", "zagreb", 1)]
    more.append(("val", "oslo", 99))  # or the source would have no splits
    more.append(("train", "oslo", 98))
    plain = ["/".join(map(str, name)) for name in (*given, *old)]
    return pairs(*plain), pairs(*("/".join(map(str, name)) for name in more), first=1000), draw(st.integers(1, 2))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_files=unions(), keys=st.booleans())
def test_an_append_equals_a_pack_of_everything(
    given_files: tuple[dict[str, bytes], dict[str, bytes], int], keys: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    old, more, shards = given_files
    work = tmp_path_factory.mktemp("union")
    image: dict[str, Any] = (
        {"image": "img/{split}/{label}/{id}.jpg", "caption": "captions/{split}/{label}/{id}.txt"} if keys else {}
    )
    if pack(write(work / "old", old), work / "d", shards=shards, **image) is None:
        shards = 1
        wt.pack(work / "old", work / "d", shards=shards, **image)
    everything = pack(write(work / "all", {**old, **more}), work / "all-packed", shards=shards, **image)
    assert everything is not None
    before = contents(work / "d")
    result = append(work / "d", write(work / "more", more), output=work / "new")
    assert contents(work / "d") == before
    assert sum(result.appended.values()) == len(more) // 2
    packed, grown = contents(work / "all-packed"), contents(work / "new")
    apart = {MANIFEST_PATH, PROVENANCE_PATH, "SHA256SUMS", "README.md"}
    assert {path: data for path, data in grown.items() if path not in apart} == {
        path: data for path, data in packed.items() if path not in apart
    }
    one, other = wt.open_dataset(everything.path).manifest, wt.open_dataset(work / "new").manifest
    assert (one.splits, one.labels, one.format) == (other.splits, other.labels, other.format)
    whole(work / "new")
    in_place = append(work / "d", work / "more")
    assert contents(work / "d") == grown
    assert in_place.root == result.root


def test_only_the_shards_that_get_samples_are_written(copy: Path, tmp_path: Path) -> None:
    before = {path: (copy / path).stat() for path in contents(copy)}
    result = append(copy, write(tmp_path / "more", pairs("train/oslo/x", "val/rome/y", first=500)))
    assert len(result.shards) == 2
    assert {path.partition("/")[0] for path in result.shards} == {"train", "val"}
    for path, status in before.items():
        if path.endswith(".tar") and path not in result.shards:
            assert (copy / path).stat().st_ino == status.st_ino
    assert result.version == 2
    whole(copy)
    history = json.loads((copy / PROVENANCE_PATH).read_bytes())["history"]
    previous = wt.open_dataset(str(copy)).manifest.version - 1
    assert [(h["action"], h["samples"], h["previous_version"]) for h in history] == [("append", 2, previous)]


def test_labels_keep_their_numbers_and_new_ones_come_behind(copy: Path, tmp_path: Path) -> None:
    before = {sample.key: sample["cls"] for sample in wt.open_dataset(str(copy))["train"]}
    more = write(tmp_path / "more", pairs("train/athens/1", "train/berlin/2", "val/oslo/3", first=500))
    plan = wt.plan_append(copy, more)
    assert isinstance(plan, AppendPlan)
    assert plan.labels == ("athens", "berlin")
    result = append(copy, more)
    assert result.labels == ("athens", "berlin")
    dataset = wt.open_dataset(str(copy))
    assert dataset.manifest.labels == ("oslo", "rome", "athens", "berlin")
    now = {sample.key: sample["cls"] for sample in dataset["train"]}
    assert now == {**before, "athens/1": b"2", "berlin/2": b"3"}
    whole(copy)


def test_the_same_again_and_the_dataset_itself_change_nothing(copy: Path, tmp_path: Path) -> None:
    more = write(tmp_path / "more", pairs("train/oslo/x", "val/rome/y", first=500))
    append(copy, more)
    before = contents(copy)
    for source in (more, copy):
        again = append(copy, source)
        assert (again.appended, again.shards, again.skipped) == ({}, (), {})
        assert again.there == (2 if source == more else 42)
    assert contents(copy) == before
    ran = run_command("append", copy, more, "--in-place", "-y", "--json")
    assert (ran.code, ran.summary["there"]) == (0, 2)
    first = append(
        copy, write(tmp_path / "other", pairs("train/oslo/z", "val/rome/z2", first=700)), output=tmp_path / "new"
    )
    made = contents(tmp_path / "new")
    second = append(copy, tmp_path / "other", output=tmp_path / "new")
    assert (second.path, second.root, second.shards) == (first.path, first.root, ())
    assert contents(tmp_path / "new") == made


def test_other_bytes_under_a_key_and_another_split_are_named(copy: Path, base: Path, tmp_path: Path) -> None:
    more = pairs("train/oslo/new", "train/oslo/0", first=500)
    more |= {
        path.replace("/train/", "/val/"): (base / "source" / path).read_bytes()
        for path in ("img/train/oslo/2.jpg", "captions/train/oslo/2.txt")
    }
    source = write(tmp_path / "more", more)
    ran = run_command("append", copy, source, "-n", "--json")
    assert ran.code == 3
    ran = run_command("append", copy, source, "--in-place", "-y", "--json")
    assert ran.code == 3
    assert ran.summary["skipped"] == {"key-exists": 2}
    assert ran.summary["appended"] == {"train": 1}
    lines = [json.loads(line) for line in (copy / SKIPPED_PATH).read_bytes().splitlines()]
    assert {(line["key"], line["reason"]) for line in lines} == {("oslo/0", "key-exists"), ("oslo/2", "key-exists")}
    whole(copy)


def test_what_was_removed_comes_back_only_where_that_is_said(copy: Path, base: Path, tmp_path: Path) -> None:
    """Whoever asked for a removal must not find the picture again, because the source still has it."""
    wt.remove(copy, wt.Selection(keys=frozenset({"oslo/0", "oslo/2"})))
    append(copy, write(tmp_path / "more", pairs("train/oslo/new", first=500)))
    before = wt.open_dataset(copy).root
    ran = run_command("append", copy, base / "source", "--in-place", "-y", "--json")
    assert (ran.code, ran.summary["skipped"], ran.summary["appended"]) == (3, {"removed-before": 2}, {})
    assert wt.open_dataset(copy).root == before
    told = run_command("append", copy, base / "source", "-n")
    assert "removed-before" in told.out
    assert "--removed take" in told.err + told.out
    ran = run_command("append", copy, base / "source", "--in-place", "-y", "--json", "--removed", "take")
    assert (ran.code, ran.summary["skipped"], ran.summary["appended"]) == (0, {}, {"train": 2})
    whole(copy)
    assert append(copy, base / "source").there == 40


def test_images_that_are_there_are_left_out_where_that_is_asked_for(copy: Path, base: Path, tmp_path: Path) -> None:
    twin = (base / "source/img/train/oslo/4.jpg").read_bytes()
    more = pairs("train/oslo/new", "train/rome/twin", "val/rome/y", first=500) | {"img/train/rome/twin.jpg": twin}
    source = write(tmp_path / "more", more)
    told = append(copy, source, output=tmp_path / "kept")
    assert (told.duplicates, told.leaked) == (1, ())
    plan = wt.plan_append(copy, source, duplicates="drop")
    assert isinstance(plan, AppendPlan)
    assert [(skip.reason, skip.key) for skip in plan.skips] == [("image-duplicate", "rome/twin")]
    assert "oslo/4" in (plan.skips[0].detail or "")
    assert "left out 1 image that the dataset already has, level exact" in plan.notes
    result = append(copy, source, duplicates="drop")
    assert (result.skipped, result.duplicates) == ({"image-duplicate": 1}, 0)
    with pytest.raises(UsageError, match="has no effect without"):
        wt.plan_append(copy, source, level="edited")


def test_new_images_that_lie_in_another_split_are_named(copy: Path, base: Path, tmp_path: Path) -> None:
    old = min((base / "source/img/val/oslo").iterdir())
    more = pairs("train/oslo/new", "train/rome/twin", "val/rome/y", first=500)
    more |= {"img/train/rome/twin.jpg": old.read_bytes(), "img/val/rome/y.jpg": more["img/train/oslo/new.jpg"]}
    source = write(tmp_path / "more", more)
    result = append(copy, source, output=tmp_path / "new")
    assert result.leaked == (
        ("oslo/new", "train", "rome/y", "val"),
        ("rome/twin", "train", f"oslo/{old.stem}", "val"),
        ("rome/y", "val", "oslo/new", "train"),
    )
    ran = run_command("append", copy, source, "--in-place", "-y")
    assert f"rome/twin in train is the same image as oslo/{old.stem} in val" in ran.out


def test_keys_that_begin_with_their_split_begin_with_the_one_that_is_said(tmp_path: Path) -> None:
    both = {
        f"{split}/1.{end}": data
        for split in ("train", "val")
        for end, data in (("jpg", tiny_jpeg(len(split))), ("txt", b"x"))
    }
    wt.pack(write(tmp_path / "source", both), tmp_path / "d")
    flat = write(tmp_path / "more", {"7.jpg": tiny_jpeg(7), "7.txt": b"x"})
    append(tmp_path / "d", flat, splits=["val"])
    assert {sample.key for sample in wt.open_dataset(str(tmp_path / "d")).split("val")} == {"val/1", "val/7"}


def test_a_folder_that_is_a_class_by_its_own_name(copy: Path, tmp_path: Path) -> None:
    pictures = {f"{n}.{e}": data for n in (701, 702) for e, data in (("jpg", tiny_jpeg(n)), ("txt", b"words"))}
    known = append(copy, write(tmp_path / "oslo", pictures), output=tmp_path / "known", splits=["train"])
    assert (known.labels, known.appended, known.losses) == ((), {"train": 2}, 0)
    assert any("classes: oslo" in note for note in known.notes)
    sample = wt.open_dataset(str(tmp_path / "known")).sample("oslo/701")
    assert (sample["cls"], sample["txt"]) == (b"0", b"words")
    with pytest.raises(UsageError) as caught:  # any folder has a name
        append(copy, write(tmp_path / "holiday", pictures), splits=["train"])
    assert caught.value.code == "members-missing"
    assert "recipe" in str(caught.value.hint)
    told = append(copy, tmp_path / "holiday", output=tmp_path / "new", splits=["train"], recipe="labels")
    assert (told.labels, told.appended) == (("holiday",), {"train": 2})
    whole(tmp_path / "new")


def test_members_that_the_dataset_has_not_are_left_out_and_missing_ones_refused(copy: Path, tmp_path: Path) -> None:
    more = pairs("train/oslo/n1", "val/rome/n2", first=500)
    more |= {f"img/{name}.npy": b"an array" for name in ("train/oslo/n1", "val/rome/n2")}
    result = append(copy, write(tmp_path / "more", more), output=tmp_path / "new")
    assert result.members_left_out == ("npy",)
    assert result.skipped == {"member-left-out": 1}
    whole(tmp_path / "new")
    plain = write(tmp_path / "plain", pairs("train/oslo/n1", "val/rome/n2", first=500, captions=False))
    with pytest.raises(UsageError) as caught:
        wt.plan_append(copy, plain)
    assert caught.value.code == "members-missing"
    assert "captions" in str(caught.value.hint)
    append(copy, plain, captions="optional")
    assert wt.open_dataset(str(copy)).sample("oslo/n1")["txt"] == b""
    whole(copy)


def test_shards_bring_labels_by_name_and_numbers_only_as_far_as_they_go(copy: Path, tmp_path: Path) -> None:
    other = pairs("train/athens/1", "train/rome/700", "val/rome/701", first=500)
    wt.pack(write(tmp_path / "other", other), tmp_path / "shards")
    append(copy, tmp_path / "shards")
    dataset = wt.open_dataset(str(copy))
    assert dataset.manifest.labels == ("oslo", "rome", "athens")
    assert (dataset.sample("rome/700")["cls"], dataset.sample("athens/1")["cls"]) == (b"1", b"2")
    shutil.rmtree(tmp_path / "shards/.wdstools")
    plan = wt.plan_append(tmp_path / "copy", tmp_path / "shards")
    assert isinstance(plan, AppendPlan)  # class 0 is oslo here, and athens there: other bytes
    assert "key-exists" in {skip.reason for skip in plan.skips}
    assert any("only a class number" in note for note in plan.notes)
    whole(copy)


def test_keys_that_begin_with_their_split_go_on_doing_so(tmp_path: Path) -> None:
    old = {
        f"{split}/{name}.jpg": tiny_jpeg(n)
        for n, (split, name) in enumerate([("train", "1"), ("val", "1"), ("val", "2")])
    }
    wt.pack(write(tmp_path / "old", old), tmp_path / "d")
    more = {"train/2.jpg": tiny_jpeg(10), "val/3.jpg": tiny_jpeg(11)}
    assert append(tmp_path / "d", write(tmp_path / "more", more)).appended == {"train": 1, "val": 1}
    dataset = wt.open_dataset(tmp_path / "d")
    assert set(dataset["val"].keys()) == {"val/1", "val/2", "val/3"}
    shutil.copytree(tmp_path / "d", tmp_path / "same")
    again = append(tmp_path / "d", tmp_path / "same")
    assert (again.there, again.skipped) == (5, {})
    whole(tmp_path / "d")


def test_captions_beyond_the_first_are_named_where_the_dataset_has_no_json(copy: Path, tmp_path: Path) -> None:
    rows = "file_name,label,split,caption\n" + "".join(f"x.jpg,oslo,train,caption {n}\n" for n in range(3))
    result = append(copy, write(tmp_path / "more", {"x.jpg": tiny_jpeg(900), "t.csv": rows.encode()}) / "t.csv")
    assert (result.members_left_out, result.skipped) == (("json",), {"member-left-out": 1})
    whole(copy)


@pytest.mark.parametrize("container", ["folder", "zip", "tar", "gztar"])
def test_one_new_class_in_a_folder_is_read_as_the_dataset_was(container: str, copy: Path, tmp_path: Path) -> None:
    city = write(tmp_path / "city", pairs("athens/1", "athens/2", first=500))
    if container != "folder":
        city = Path(shutil.make_archive(str(tmp_path / "packed"), container, city))
    result = append(copy, city)
    assert result.appended == {"train": 2}
    dataset = wt.open_dataset(str(copy))
    assert dataset.manifest.labels[-1] == "athens"
    assert dataset.sample("athens/1")["txt"] == b"caption of athens/1"
    rows = [row for entry in dataset.manifest.splits["train"] for row in dataset.index(entry).to_pylist()]
    assert {row["source"] for row in rows if row["label"] == "athens"} == {"img/athens/1.jpg", "img/athens/2.jpg"}
    whole(copy)


def test_images_are_resized_as_the_datasets_were(tmp_path: Path) -> None:
    old, more = pairs("train/oslo/1", "val/rome/2"), pairs("train/oslo/3", "val/rome/4", first=500)
    choices: dict[str, Any] = {"resize": 16, "quality": 60}
    wt.pack(write(tmp_path / "old", old), tmp_path / "d", **choices)
    wt.pack(write(tmp_path / "all", {**old, **more}), tmp_path / "everything", **choices)
    append(tmp_path / "d", write(tmp_path / "more", more))
    one, other = (wt.open_dataset(tmp_path / name).manifest for name in ("d", "everything"))
    assert one.splits == other.splits
    png = tmp_path / "png/img/train/oslo"
    png.mkdir(parents=True)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(png / "5.png")
    append(
        tmp_path / "d", write(tmp_path / "png", pairs("val/rome/6", first=900) | {"captions/train/oslo/5.txt": b"png"})
    )
    sample = wt.open_dataset(tmp_path / "d").sample("oslo/5")
    assert Image.open(io.BytesIO(sample["jpg"])).size == (16, 16)


def test_old_samples_stay_in_their_splits_where_these_were_made_by_ratio(tmp_path: Path) -> None:
    names = [f"{label}/{number}" for label in ("oslo", "rome") for number in range(12)]
    files = {path.removeprefix("img/").removeprefix("captions/"): data for path, data in pairs(*names).items()}
    layout: dict[str, Any] = {"image": "{label}/{id}.jpg", "caption": "{label}/{id}.txt"}
    wt.pack(write(tmp_path / "old", files), tmp_path / "d", splits="train=50,val=50", **layout)
    before = {name: set(wt.open_dataset(tmp_path / "d").split(name).keys()) for name in ("train", "val")}
    more = {path.replace("/", "/n"): data[::1] for path, data in files.items() if path.endswith(".txt")}
    more |= {path.replace(".txt", ".jpg"): tiny_jpeg(900 + number) for number, path in enumerate(list(more))}
    result = append(tmp_path / "d", write(tmp_path / "more", more))
    assert result.appended == {"train": 12, "val": 12}
    assert any("ratio" in note for note in result.notes)
    dataset = wt.open_dataset(tmp_path / "d")
    assert all(before[name] < set(dataset.split(name).keys()) for name in before)
    again = append(tmp_path / "d", tmp_path / "more")
    assert (again.there, again.skipped) == (24, {})


@pytest.mark.parametrize("count", [1, 2, 5])
def test_another_number_of_shards_moves_samples_and_equals_a_pack(
    count: int, copy: Path, base: Path, tmp_path: Path
) -> None:
    more = pairs("train/oslo/x", "val/rome/y", first=500)
    shutil.copytree(base / "source", tmp_path / "all")
    everything = pack(write(tmp_path / "all", more), tmp_path / "packed", shards=count, name="cities")
    if everything is None:
        with pytest.raises(UsageError, match="would be empty"):
            wt.plan_append(copy, write(tmp_path / "more", more), shards=count)
        return
    plan = wt.plan_append(copy, write(tmp_path / "more", more), shards=count)
    assert isinstance(plan, AppendPlan)
    assert plan.moved > 0
    append(copy, tmp_path / "more", shards=count, output=tmp_path / "new")
    append(copy, tmp_path / "more", shards=count)
    for place in (copy, tmp_path / "new"):
        assert wt.open_dataset(place).manifest.splits == wt.open_dataset(everything.path).manifest.splits
        assert sorted(str(p.relative_to(place)) for p in place.glob("*/*.tar")) == sorted(
            entry.path for _, entry in wt.open_dataset(place).manifest.shards
        )
        whole(place)


@pytest.mark.parametrize("wrong", ["flipped", "cut", "missing"])
def test_a_damaged_shard_that_would_be_written_again_stops_it(wrong: str, copy: Path, tmp_path: Path) -> None:
    more = write(tmp_path / "more", pairs("train/oslo/x", "val/rome/y", first=500))
    plan = wt.plan_append(copy, more)
    victim = copy / next(step.path for step in plan.steps if step.action == "rewrite")
    data = bytearray(victim.read_bytes())
    data[700] ^= 1
    if wrong == "missing":
        victim.unlink()
    else:
        victim.write_bytes(data if wrong == "flipped" else data[:2000])
    before = contents(copy)
    ran = run_command("append", copy, more, "--in-place", "-y", "--json")
    assert (ran.code, ran.error["code"]) == (1, "shard-damaged" if wrong == "missing" else "sample-damaged")
    assert "wdstools repair" in ran.error["hint"]
    assert contents(copy) == before
    with pytest.raises(IntegrityError):
        append(copy, more, output=tmp_path / "new")
    assert not list(tmp_path.glob("new*"))


def test_the_first_golden_dataset_takes_more_and_says_what_is_proved(tmp_path: Path) -> None:
    place = Path(shutil.copytree(GOLDEN / "v1/dataset", tmp_path / "v1"))
    root = wt.open_dataset(place).root
    files = {
        "oslo/new1.jpg": tiny_jpeg(1),
        "oslo/new1.txt": b"one",
        "paris/new2.jpg": tiny_jpeg(2),
        "paris/new2.txt": b"two",
    }
    with pytest.raises(IntegrityError):
        append(place, write(tmp_path / "more", files), root="0" * 64)
    result = append(place, tmp_path / "more", root=root)
    assert sum(result.appended.values()) == 2
    assert result.proved is wt.Proved.FORGER
    manifest = wt.open_dataset(place).manifest
    assert (manifest.format, manifest.labels) == (1, ("new york", "oslo", "paris"))
    assert not manifest.has_values
    whole(place)


def test_old_samples_without_a_sha256_are_proved_by_their_shards(tmp_path: Path) -> None:
    wt.pack(write(tmp_path / "old", pairs("train/oslo/1", "val/oslo/2")), tmp_path / "d", authenticated_ranges=False)
    more = write(tmp_path / "more", pairs("train/oslo/3", "val/oslo/4", first=500))
    forged = Path(shutil.copytree(tmp_path / "d", tmp_path / "forged"))
    root = wt.open_dataset(forged).root
    with (forged / "train/train-000000.tar").open("ab") as file:
        file.write(b"behind the end")
    with pytest.raises(IntegrityError) as caught:
        append(forged, more, root=root)
    assert caught.value.code == "shard-damaged"
    append(tmp_path / "d", more, root=root)
    assert not wt.open_dataset(tmp_path / "d").manifest.authenticated_ranges
    whole(tmp_path / "d")


def test_what_was_made_of_the_samples_is_deleted_or_named_as_by_remove(copy: Path, tmp_path: Path) -> None:
    wt.emit(copy, ["timm"])
    more = write(tmp_path / "more", pairs("train/oslo/x", "val/rome/y", first=500))
    rewritten = [step.path for step in wt.plan_append(copy, more).steps if step.action == "rewrite"]
    hashes = [f".wdstools/hashes/{Path(path).stem}.parquet" for path in rewritten]
    other = ".wdstools/hashes/other.parquet"
    made = [*hashes, ".wdstools/signatures/0.sigstore.json"]
    write(copy, dict.fromkeys([*made, other], b"made"))
    result = append(copy, more)
    assert set(made) < set(result.deleted)
    assert not any((copy / path).exists() for path in result.deleted)
    assert (copy / other).exists()
    (copy / other).unlink()
    whole(copy)


def test_bytes_behind_an_image_raise_the_format_and_that_is_told(copy: Path, tmp_path: Path) -> None:
    more = pairs("train/oslo/x", "val/rome/y", first=500)
    more["img/train/oslo/x.jpg"] += b"a second picture"
    result = append(copy, write(tmp_path / "more", more))
    assert wt.open_dataset(copy).manifest.format == 2
    assert any("format 2" in note for note in result.notes)
    assert json.loads((copy / PROVENANCE_PATH).read_bytes())["remarks"] == {"image-trailing-bytes": 1}
    whole(copy)


def test_a_source_of_which_nothing_can_be_packed_leaves_the_dataset_as_it_is(copy: Path, tmp_path: Path) -> None:
    more = pairs("train/oslo/x", "val/rome/y", first=500)
    more = {path: data[:150] if path.endswith(".jpg") else data for path, data in more.items()}
    before = contents(copy)
    result = append(copy, write(tmp_path / "more", more))
    assert (result.appended, result.shards, sum(result.skipped.values())) == ({}, (), 2)
    assert contents(copy) == before
    append(copy, tmp_path / "more", output=tmp_path / "new")
    assert not list(tmp_path.glob("new*"))


def test_a_damaged_provenance_is_an_error_and_no_traceback(copy: Path, tmp_path: Path) -> None:
    more = write(tmp_path / "more", pairs("train/oslo/x", "val/rome/y", first=500))
    document = json.loads((copy / PROVENANCE_PATH).read_bytes())
    encodings: list[Any] = [{"side": "large"}, {"oops": 1}, [], {"image_type": "gif"}, {"image_type": "png"}]
    for encoding in encodings:
        document["options"]["encoding"] = encoding
        (copy / PROVENANCE_PATH).write_text(json.dumps(document))
        ran = run_command("append", copy, more, "-n", "--json")
        assert ran.error["code"] == "provenance-damaged", encoding
    others: list[Any] = [None, [], {"splits": {"ratios": {"a": "x"}}, "layout": 3, "check": 5, "max_pixels": "9"}]
    for options in others:
        document |= {"options": options, "history": 5, "template": 7, "recipe": []}
        (copy / PROVENANCE_PATH).write_text(json.dumps(document))
        assert run_command("append", copy, more, "-n").code == 0
    assert append(copy, more).version == 2


def test_it_is_to_be_said_where_the_result_goes(copy: Path, tmp_path: Path) -> None:
    more = write(tmp_path / "more", pairs("train/oslo/x", "val/rome/y", first=500))
    before = contents(copy)
    assert run_command("append", copy, more, "-y").code == 2
    assert run_command("append", copy, more, "--in-place", "-o", tmp_path / "new", "-y").code == 2
    shown = run_command("append", copy, more, "-n")
    assert shown.code == 0
    assert "rewrite train/train-" in shown.out
    assert run_command("append", copy, tmp_path / "nothing", "--in-place", "-y").code == 4
    assert run_command("append", copy, tmp_path, "--in-place", "-y").code == 2  # the dataset lies in it
    assert contents(copy) == before


def test_verify_with_the_old_manifest_tells_how_many_came(copy: Path, tmp_path: Path) -> None:
    shutil.copyfile(copy / MANIFEST_PATH, tmp_path / "old.json")
    append(copy, write(tmp_path / "more", pairs("train/oslo/x", "val/rome/y", first=500)))
    (finding,) = wt.verify(str(tmp_path / "old.json"), at=str(copy)).findings
    assert finding.cause == "replaced"
    assert "2 added" in finding.message


def test_keys_lie_in_the_order_of_the_format(copy: Path, tmp_path: Path) -> None:
    from wdstools.formats.sample import order_hash, shard_of

    append(copy, write(tmp_path / "more", pairs(*(f"train/oslo/x{n}" for n in range(9)), "val/rome/y", first=500)))
    dataset = wt.open_dataset(copy)
    places = [
        (number, len(entries), entry)
        for entries in dataset.manifest.splits.values()
        for number, entry in enumerate(entries)
    ]
    for number, count, entry in came(places):
        keys = [key.encode() for key in dataset.index(entry).column("key").to_pylist()]
        ranks = [(order_hash(key, 0), key) for key in keys]
        assert all(one < two for one, two in pairwise(ranks))
        assert {shard_of(rank, count) for rank, _ in ranks} == {number}


def test_the_same_command_finishes_what_was_cut_short(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = write(tmp_path / "more", pairs("train/oslo/x", "val/rome/y", first=500))
    append(copy, more, output=tmp_path / "new")

    def die(path: str) -> None:
        raise KeyboardInterrupt(path)

    def stop_half_way(root: str, moved: list[str], deleted: list[str]) -> None:
        with monkeypatch.context() as inside:
            inside.setattr("wdstools.landing.staging.sync_folder", die)
            commit(root, moved, deleted)

    monkeypatch.setattr("wdstools.ops.next_version.land.commit", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        append(copy, more)
    ran = run_command("append", copy, more, "--in-place", "-y", "--json")
    assert (ran.code, ran.summary["there"], ran.summary["shards"]) == (0, 2, [])
    assert contents(copy) == contents(tmp_path / "new")


@pytest.mark.parametrize("link", [False, True])
def test_a_file_with_the_name_of_a_new_shard_is_never_replaced(link: bool, copy: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "more", pairs("x/1", "x/2", first=50))
    own = copy / "extra/extra-000000.tar"
    own.parent.mkdir()
    if link:
        (tmp_path / "target").write_text("mine")
        own.symlink_to(tmp_path / "target")
    else:
        own.write_text("mine")
    ran = run_command("append", copy, source, "--split", "extra", "--in-place", "-y", "--json")
    assert (ran.code, ran.error["code"]) == (4, "file-in-the-way")
    assert own.read_text() == "mine"
    assert own.is_symlink() == link
    assert run_command("verify", copy).code == 0


CAPTIONS = {"metadata.csv": b"file_name,text\na.jpg,one\na.jpg,two\nb.jpg,three\n"}
MORE = {
    "a table beside": {"c.jpg": tiny_jpeg(3), "metadata.csv": b"file_name,text\nc.jpg,four\n"},
    "a table by name": {"c.jpg": tiny_jpeg(3), "metadata.csv": b"file_name,text\nc.jpg,four\n"},
    "a text beside": {"c.jpg": tiny_jpeg(3), "c.txt": b"four"},
}


@pytest.mark.parametrize("form", MORE)
def test_captions_are_listed_where_those_of_the_dataset_are(form: str, tmp_path: Path) -> None:
    old = write(tmp_path / "old", {"a.jpg": tiny_jpeg(1), "b.jpg": tiny_jpeg(2), **CAPTIONS})
    wt.pack(old, tmp_path / "data")
    new = write(tmp_path / "new", MORE[form])
    result = append(tmp_path / "data", new / "metadata.csv" if "by name" in form else new)
    assert dict(result.skipped) == {}
    whole(tmp_path / "data")
    table = CAPTIONS["metadata.csv"] + (b"c.jpg,four\n" if "table" in form else b"")
    write(tmp_path / "all", {"a.jpg": tiny_jpeg(1), "b.jpg": tiny_jpeg(2), **MORE[form], "metadata.csv": table})
    wt.pack(tmp_path / "all", tmp_path / "packed")
    assert contents(tmp_path / "data/train") == contents(tmp_path / "packed/train")
    assert json.loads(wt.open_dataset(tmp_path / "data")["c"]["json"]) == {"captions": ["four"]}


def test_a_table_is_appended_to_a_dataset_of_further_members_where_they_may_be_empty(tmp_path: Path) -> None:
    wt.pack(write(tmp_path / "old", {"a.jpg": tiny_jpeg(1), "a.txt": b"one", "a.npy": b"array"}), tmp_path / "data")
    new = write(tmp_path / "new", {"b.jpg": tiny_jpeg(2), "t.csv": b"file_name,text\nb.jpg,two\n"})
    with pytest.raises(UsageError) as caught:
        append(tmp_path / "data", new / "t.csv")
    assert caught.value.code == "members-missing"
    append(tmp_path / "data", new / "t.csv", members_missing="empty")
    assert wt.open_dataset(tmp_path / "data")["b"] == {"jpg": tiny_jpeg(2), "txt": b"two", "npy": b""}
    whole(tmp_path / "data")
