"""Two sets of images against each other: exact, symmetric, from datasets, folders and hashes alone."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

import wdstools as wt
from tests.support.came import came
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from tests.support.lookalikes import fingerprints, jpeg, scene
from wdstools.dedup import few, hamming
from wdstools.dedup.across import link_across, match
from wdstools.dedup.groups import group
from wdstools.dedup.levels import LEVELS, levels_up_to
from wdstools.ops.duplicates.against import find_shared
from wdstools.planning import prints
from wdstools.reader.hashes import HashPlace, PrintTask, library_versions, print_shard

if TYPE_CHECKING:
    from pathlib import Path


def _write(folder: Path, images: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in images.items():
        (folder / f"{name}.jpg").write_bytes(data)
        (folder / f"{name}.txt").write_text(f"about {name} <b>")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders and a dataset of each: ``train`` of 30 images, ``test`` of 8, of which three are in ``train``."""
    place = tmp_path_factory.mktemp("against")
    pictures = {number: scene(900 + number, 120, 120) for number in range(30)}
    train = {f"t{number}": jpeg(picture) for number, picture in pictures.items()}
    test = {f"other{number}": jpeg(scene(2000 + number, 120, 120)) for number in range(5)}
    flipped = pictures[20].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    test |= {"copy": train["t3"], "again": jpeg(pictures[10], 60), "mirrored": jpeg(flipped)}
    for name, images in (("train", train), ("test", test)):
        wt.pack(str(_write(place / f"{name}-images", images)), str(place / name))
    return place


def pairs(found: Any) -> dict[str, tuple[str, str]]:
    return {image.other_key: (image.key, image.level) for image in found}


WANTED = {"copy": ("t3", "exact"), "again": ("t10", "re-encode"), "mirrored": ("t20", "edited")}


@pytest.mark.parametrize("mine", ["train", "train-images"])
@pytest.mark.parametrize("theirs", ["test", "test-images"])
def test_what_is_shared_is_found_in_datasets_and_folders(mine: str, theirs: str, place: Path) -> None:
    found = find_shared(place / mine, [place / theirs], level="edited")
    assert pairs(found) == WANTED
    assert (found.samples, list(found.others.values()), list(found.held.values())) == (30, [8], [3])
    assert found.keys == ("t10", "t20", "t3")


@pytest.mark.parametrize(("level", "count"), [("exact", 1), ("re-encode", 2), ("edited", 3)])
def test_each_level_finds_its_own_and_either_way_round(level: Any, count: int, place: Path) -> None:
    there = find_shared(place / "train", [place / "test"], level=level)
    back = find_shared(place / "test", [place / "train"], level=level)
    assert len(there) == count
    assert {(i.key, i.other_key, i.level) for i in there} == {(i.other_key, i.key, i.level) for i in back}


def test_hashes_alone_do_as_well_as_the_pictures(place: Path, tmp_path: Path) -> None:
    ran = run_command("duplicates", place / "test", "--hashes-to", tmp_path / "test.parquet")
    assert ran.code == 0
    found = find_shared(place / "train", [tmp_path / "test.parquet"], level="edited")
    assert pairs(found) == WANTED
    back = find_shared(tmp_path / "test.parquet", [place / "train"], level="edited")
    assert {image.key for image in back} == set(WANTED)


def test_hashes_of_a_folder_are_handed_out_and_are_those_of_its_dataset(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prints, "_HANDED_AT_ONCE", 3)
    folder = shutil.copytree(place / "test-images", tmp_path / "test-images")
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    turned = scene(930, 120, 120).transpose(Image.Transpose.ROTATE_90)
    turned.save(folder / "turned.jpg", exif=_turned_by(6))
    for source, target in ((place / "test", "dataset.parquet"), (folder, "folder.parquet")):
        ran = run_command("duplicates", source, "--hashes-to", tmp_path / target)
        assert ran.code == 0
    assert "bad.jpg" in ran.out
    ours, theirs = (pq.read_table(tmp_path / name) for name in ("folder.parquet", "dataset.parquet"))
    assert f"hashes of {ours.num_rows - 1} images" in ran.out
    known = ours.filter(pc.is_in(ours.column("key"), theirs.column("key").combine_chunks()))
    assert known.drop_columns("split").equals(theirs.drop_columns("split"))
    found = find_shared(place / "train", [tmp_path / "folder.parquet"], level="edited")
    assert pairs(found) == WANTED
    both = find_shared(folder, [tmp_path / "folder.parquet"], level="edited")
    assert {image.key for image in both if image.key == image.other_key} >= {*WANTED, "bad", "turned"}


def _turned_by(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize(("mine", "theirs"), [("train", "test-images"), ("train-images", "hashes")])
def test_the_page_has_pictures_of_what_is_no_dataset(mine: str, theirs: str, place: Path, tmp_path: Path) -> None:
    other = place / theirs
    if theirs == "hashes":
        other = tmp_path / "test.parquet"
        assert run_command("duplicates", place / "test-images", "--hashes-to", other).code == 0
    page = tmp_path / "shared.html"
    ran = run_command("duplicates", place / mine, "--against", other, "--level", "edited", "--html", page)
    assert ran.code == 1
    assert page.read_text().count("data:image/jpeg") == 6


@pytest.mark.parametrize(
    "arguments",
    [
        ("test-images", "--hashes-to", "x.parquet", "--level", "edited"),
        ("test-images", "--hashes-to", "x.parquet", "--html", "x.html"),
        ("test-images", "--hashes-to", "x.parquet", "--across-splits"),
        ("train", "--against", "test", "--hashes-to", "x.parquet"),
        ("train", "--against", "test", "--across-splits"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(arguments: tuple[str, ...], place: Path, tmp_path: Path) -> None:
    words = [place / word if word in ("train", "test", "test-images") else word for word in arguments]
    ran = run_command("duplicates", *words, cwd=tmp_path)
    assert (ran.code, "--" in ran.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_the_command_exits_1_lists_keys_and_shows_the_pairs(place: Path, tmp_path: Path) -> None:
    keys, page = tmp_path / "shared.txt", tmp_path / "shared.html"
    arguments = ("--level", "edited", "--keys-to", keys, "--html", page)
    ran = run_command("duplicates", place / "train", "--against", place / "test", *arguments)
    assert ran.code == 1
    assert "3 of 30 images" in ran.out
    assert "none" not in ran.out
    assert keys.read_text() == "t10\nt20\nt3\n"
    text = page.read_text()
    assert text.count('class="pair"') == 3
    assert text.count("data:image/jpeg") == 6
    assert "about copy &lt;b&gt;" in text
    removed = run_command("remove", place / "train", "--keys", keys, "-o", tmp_path / "clean", "--yes")
    assert removed.code == 0
    clean = run_command("duplicates", tmp_path / "clean", "--against", place / "test", "--level", "edited", "--json")
    assert clean.code == 0
    assert (clean.summary["samples"], clean.summary["shared"]) == (27, 0)


def test_json_names_every_pair(place: Path) -> None:
    ran = run_command(
        "duplicates", place / "train", "--against", place / "test", "--against", place / "test-images", "--json"
    )
    assert ran.code == 1
    lines = [
        line
        for line in ran.lines
        if line.get("type", line.get("record")) == "shared" or "other_key" in json.dumps(line)
    ]
    assert len(lines) == 4
    assert len(ran.summary["others"]) == 2


def test_a_pack_leaves_out_what_another_set_holds(place: Path, tmp_path: Path) -> None:
    ran = run_command(
        "pack", place / "train-images", tmp_path / "out", "--exclude-duplicates-of", place / "test", "--level", "edited"
    )
    assert ran.code == 3
    skipped = [json.loads(line) for line in (tmp_path / "out/.wdstools/skipped.jsonl").read_text().splitlines()]
    assert {line["key"]: line["reason"] for line in skipped} == dict.fromkeys(("t3", "t10", "t20"), "image-excluded")
    assert all("test" in line["detail"] for line in skipped)
    assert len(find_shared(tmp_path / "out", [place / "test"], level="edited")) == 0


@pytest.fixture(scope="module")
def untidy(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of images of ``train`` at the top, among splits, without captions; one that is cut, one that is nothing."""
    pictures = place / "train-images"
    folder = tmp_path_factory.mktemp("untidy") / "set"
    names = ("top", "train/stray", "train/cat/alone", "train/cat/told", "val/cat/v")
    for number, name in came(enumerate(names)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures / f"t{number}.jpg", folder / f"{name}.jpg")
    for name in ("train/cat/told", "val/cat/v", "train/cat/cut"):
        (folder / f"{name}.txt").write_text("told")
    (folder / "train/cat/cut.jpg").write_bytes((pictures / "t9.jpg").read_bytes()[:900])
    (folder / "nothing.png").write_bytes(b"no picture at all")
    shutil.make_archive(str(folder.parent / "zipped"), "zip", folder)
    shutil.make_archive(str(folder.parent / "tarred"), "gztar", folder.parent, "set")
    return folder.parent


@pytest.mark.parametrize("name", ["set", "zipped.zip", "tarred.tar.gz"])
@pytest.mark.parametrize("level", ["exact", "re-encode"])
def test_every_image_of_a_folder_counts_whatever_the_layout(name: str, level: Any, place: Path, untidy: Path) -> None:
    found = find_shared(place / "train", [untidy / name], level=level)
    assert {image.key for image in found} == {f"t{number}" for number in range(5)}
    assert (list(found.others.values()), list(found.held.values())) == ([7], [5])
    assert len(found.unreadable) == 2
    assert any("nothing.png" in key for key, _ in found.unreadable)
    assert any("cut" in key for key, _ in found.unreadable)
    back = find_shared(untidy / name, [place / "train"], level=level)
    assert {image.other_key for image in back} == {image.key for image in found}


def test_a_folder_of_images_alone_and_one_of_damage_alone(place: Path, tmp_path: Path) -> None:
    for name, data in (("bare", (place / "train-images/t4.jpg").read_bytes()), ("bad", b"x")):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep/a.jpg").write_bytes(data)
    assert find_shared(place / "train", [tmp_path / "bare"]).keys == ("t4",)
    ran = run_command("duplicates", place / "train", "--against", tmp_path / "bad")
    assert ran.code == 0
    assert "1 image cannot be decoded" in ran.out
    assert "deep/a" in ran.out
    same = find_shared(tmp_path / "bad", [tmp_path / "bad"])
    assert (len(same), len(same.unreadable)) == (1, 2)  # byte for byte it is still the same


def test_images_that_cannot_be_had_are_like_no_other() -> None:
    mine, theirs = (fingerprints([scene(seed)], exact=[0]) for seed in (1, 2))
    assert [part.other.tolist() for part in match(mine, theirs, ())] == [[-1], [-1]]


def test_a_pack_leaves_out_what_an_untidy_folder_holds(place: Path, untidy: Path, tmp_path: Path) -> None:
    ran = run_command("pack", place / "train-images", tmp_path / "out", "--exclude-duplicates-of", untidy / "set")
    assert ran.code == 3
    skipped = [json.loads(line) for line in (tmp_path / "out/.wdstools/skipped.jsonl").read_text().splitlines()]
    assert {line["key"] for line in skipped} == {f"t{number}" for number in range(5)}
    assert "2 images of" in ran.out + ran.err
    assert "nothing.png" in ran.out + ran.err


@pytest.mark.parametrize("options", [("--captions",), ("--method", "size")])
def test_options_that_do_not_go_together_are_refused(options: tuple[str, ...], place: Path) -> None:
    ran = run_command("duplicates", place / "train", "--against", place / "test", *options)
    assert ran.code == 2
    assert "--against" in ran.err


def test_what_is_no_set_of_images_is_refused_by_name(place: Path, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no table")
    shutil.copy(place / "test/.wdstools/index/train-000000.parquet", tmp_path / "index.parquet")
    for other in (tmp_path / "absent", tmp_path / "x.parquet"):
        ran = run_command("duplicates", place / "train", "--against", other)
        assert ran.code in (2, 4, 5)
        assert other.name in ran.err
        assert "Traceback" not in ran.err


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_the_search_finds_what_comparing_each_pair_finds(seed: int) -> None:
    draw = np.random.default_rng(seed)
    pool = [scene(number) for number in range(4)]
    pool += [p.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for p in pool] + [Image.new("RGB", (64, 64), (9, 9, 9))]
    images = [pool[at] for at in draw.integers(0, len(pool), 24)]
    mine = fingerprints(images[:12], exact=list(range(12)))
    theirs = fingerprints(images[12:], exact=list(range(100, 112)))
    for number, level in came(enumerate(LEVELS, 1)):
        there, back = match(mine, theirs, levels_up_to(level.name))
        for side, found, other in ((0, there, 12), (1, back, 0)):
            for row in range(12):
                same = [at for at in range(12) if _same(images[12 * side + row], images[other + at], number)]
                assert found.other[row] == (
                    _strictest(images[12 * side + row], images[other : other + 12], number) if same else -1
                )


@pytest.mark.parametrize("flips", [False, True])
def test_the_search_finds_the_same_by_any_number_of_threads(flips: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(5)
    codes = [draw.integers(0, 2**64, (count, 5), np.uint64) for count in (400, 400, 90, 90)]
    codes[2][:30] = codes[0][:30]
    codes[2][:30, 0] ^= np.uint64(1) << draw.integers(0, 64, 30).astype(np.uint64)
    codes[3][40:60] = codes[0][200:220]
    mine, theirs = (codes[0], codes[1], np.arange(400)), (codes[2], codes[3], np.arange(90))
    found = [link_across(mine, theirs, (10, 60), flips=flips)]
    monkeypatch.setattr(few, "FEW_CODES", 0)
    for pairs, threads in ((hamming._FEW_PAIRS, 1), (0, 2), (0, 3)):
        monkeypatch.setattr(hamming, "_FEW_PAIRS", pairs)
        monkeypatch.setattr(hamming, "_THREADS", threads)
        found.append(link_across(mine, theirs, (10, 60), flips=flips))
    assert len(np.intersect1d(*found[0])) == (50 if flips else 30)
    assert all(np.array_equal(a, b) for one in found[1:] for a, b in zip(found[0], one, strict=True))


@pytest.mark.parametrize("flips", [False, True])
def test_a_picture_that_is_there_very_often_is_looked_from_once(flips: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(5)
    mine, theirs = draw.integers(0, 2**64, (5, 5), np.uint64), draw.integers(0, 2**64, (300, 5), np.uint64)
    theirs[20:280] = mine[1]
    theirs[280:] = mine[2:3, ::-1]
    ours, others = ((codes, np.ascontiguousarray(codes[:, ::-1]), np.arange(len(codes))) for codes in (mine, theirs))
    looked: list[int] = []
    take = few._Left.take

    def counted(*given: Any) -> Any:
        looked.append(1)
        return take(*given)

    monkeypatch.setattr(few._Left, "take", counted)
    found = link_across(ours, others, (10, 60), flips=flips)
    assert 5 <= len(looked) <= 10
    assert np.flatnonzero(np.isin(found[1], found[0])).tolist() == list(range(20, 300 if flips else 280))
    monkeypatch.setattr(few, "FEW_CODES", 0)
    assert all(
        np.array_equal(a, b) for a, b in zip(found, link_across(ours, others, (10, 60), flips=flips), strict=True)
    )


def _same(a: Image.Image, b: Image.Image, number: int) -> bool:
    return any(int(found.leader[1]) == 0 for found in group(fingerprints([a, b]), LEVELS)[1 : number + 1])


def _strictest(image: Image.Image, others: list[Image.Image], number: int) -> int:
    """The first that is the same at the strictest level that any is."""
    return next(at for level in range(1, number + 1) for at, other in enumerate(others) if _same(image, other, level))


def test_hashes_are_kept_of_a_dataset_that_has_a_root_and_no_sha256_of_samples(tmp_path: Path) -> None:
    source = write_city_pairs(tmp_path / "source", train=3, val=1)
    made = wt.pack(source, tmp_path / "set", authenticated_ranges=False, check="header")
    dataset = wt.open_dataset(tmp_path / "set", root=made.root)
    task = PrintTask(dataset, dataset.manifest.shards[0][1], HashPlace.of(dataset, None), library_versions())
    assert [print_shard(task, lambda _: None).computed for _ in range(2)] == [3, 0]
