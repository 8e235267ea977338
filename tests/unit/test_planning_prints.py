"""The images of a set, wherever they are: samples with keys, other files by their paths, and those that cannot be had."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.properties.test_placement_laws import listing_of
from tests.support.accounting import write_files
from tests.support.lookalikes import jpeg, scene
from tests.unit.test_planning_images import Files, Told
from wdstools import open_dataset, pack
from wdstools.errors import StoreError, UsageError
from wdstools.executors.local import Serial
from wdstools.formats.manifest import HASHES_FOLDER, MANIFEST_PATH
from wdstools.planning import prints
from wdstools.planning.prints import images_with_keys, opened, print_set, proved_of, wide_text
from wdstools.progress import Silent
from wdstools.reader.hashes import HashPlace, library_versions
from wdstools.results import Proved, Skip
from wdstools.sources.base import SamplesBuilder
from wdstools.sources.every_image import ImageFile, MoreImages

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

IMAGES = {"s2": jpeg(scene(1)), "s1": b"no picture", "z.jpg": jpeg(scene(2)), "a.jpg": jpeg(scene(1))}


def _found(monkeypatch: pytest.MonkeyPatch, *, samples: bool, more: bool, types: bool = True) -> None:
    """A source of two samples, or of none, and of other files, or of none."""
    builder = SamplesBuilder()
    names = ("s2", "s1") if samples else ()
    for name, split in zip(names, ("val", None), strict=False):
        own: dict[str, Any] = {"stem": [name], "image_suffix": [""], "image_entry": [name.encode()]}
        builder.add({"split": split, "label": "oslo"}, own)
    skips = (Skip("image-damaged", "lost.jpg", detail="cut"), Skip("caption-missing", "other.jpg"))
    listing = replace(
        listing_of([]),
        samples=builder.table(),
        opener=Files(IMAGES),
        skips=skips,
        image_types={"jpg": 2} if types else {},
    )
    files = tuple(ImageFile("", name, ".jpg", f"{name}.jpg".encode()) for name in ("z", "a"))
    others = MoreImages(Files(IMAGES), files, (("gone.jpg", "name-not-utf8"),))
    monkeypatch.setattr(prints, "listed", lambda _: ("kept", listing if samples else None))
    asked: list[tuple[object, object, set[str]]] = []

    def more_images(source: object, known_listing: object, known: Any) -> MoreImages | None:
        asked.append((source, known_listing, set(known)))
        assert asked == [("kept", listing if samples else None, set(names))]
        return others if more else None

    monkeypatch.setattr(prints, "more_images", more_images)


@pytest.mark.parametrize(
    ("samples", "more", "keys", "splits", "unreadable"),
    [
        (True, True, ["a.jpg", "oslo/s1", "oslo/s2", "z.jpg"], ["", "", "val", ""], ["gone.jpg", "s1"]),
        (True, False, ["oslo/s1", "oslo/s2"], ["", "val"], ["lost.jpg", "s1"]),
        (False, True, ["a.jpg", "z.jpg"], ["", ""], ["gone.jpg"]),
    ],
)
def test_every_image_of_a_source_counts_and_those_that_cannot_be_had_are_told(
    samples: bool,
    more: bool,
    keys: list[str],
    splits: list[str],
    unreadable: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _found(monkeypatch, samples=samples, more=more)
    path = str(tmp_path / "set.zip")
    (tmp_path / "set.zip").write_bytes(b"")
    found = print_set(path, None, Serial(), Silent())
    assert (found.name, list(found.keys), list(found.splits), found.source) == (path, keys, splits, "kept")
    assert (found.dataset, found.places, found.proved) == (None, None, Proved.NOTHING)
    assert [path for path, _ in found.unreadable] == unreadable
    files = {"oslo/s1": "s1", "oslo/s2": "s2", "a.jpg": "a.jpg", "z.jpg": "z.jpg"}
    assert found.prints.exact[:, 1].tolist() == [len(IMAGES[files[key]]) for key in keys]
    assert np.isnan(found.prints.deviation).tolist() == [key == "oslo/s1" for key in keys]
    _found(monkeypatch, samples=samples, more=more)
    wanted = [keys[0], keys[-1], "nobody"]
    assert list(images_with_keys(path, wanted)) == [(key, IMAGES[files[key]]) for key in (keys[0], keys[-1])]


@pytest.mark.parametrize(("samples", "types", "code"), [(False, True, "source-empty"), (True, False, "no-images")])
def test_a_source_without_images_is_refused(
    samples: bool, types: bool, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _found(monkeypatch, samples=samples, more=False, types=types)
    with pytest.raises(UsageError) as caught:
        print_set("folder", None, Serial(), Silent())
    assert caught.value.to_dict() == {"code": code, "message": "there are no images here", "where": "folder"}


def test_a_dataset_is_where_a_manifest_or_an_address_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at: list[str] = []
    monkeypatch.setattr(prints, "open_dataset", at.append)
    opened(str(tmp_path))
    assert at == []
    opened("s3://bucket/set")
    (tmp_path / MANIFEST_PATH).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / MANIFEST_PATH).write_text("{}")
    opened(str(tmp_path))
    assert at == ["s3://bucket/set", str(tmp_path)]


class _Said:
    """A dataset as far as what it proves."""

    def __init__(self, proved: Proved, *, is_anchored: bool, has_values: bool) -> None:
        self.proved_by_samples = proved
        self.anchored = is_anchored
        self.manifest = self
        self.has_values = has_values


@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize("proved", [Proved.ACCIDENT, Proved.FORGER])
@pytest.mark.parametrize("is_anchored", [True, False])
@pytest.mark.parametrize("has_values", [True, False])
def test_against_forgers_is_proved_only_what_a_root_and_digests_of_values_prove(
    pixels: bool, proved: Proved, is_anchored: bool, has_values: bool
) -> None:
    said: Any = _Said(proved, is_anchored=is_anchored, has_values=has_values)
    is_of_all = (proved is Proved.FORGER or not pixels) and is_anchored and has_values
    assert proved_of(said, pixels=pixels) is (Proved.FORGER if is_of_all else Proved.ACCIDENT)


def test_texts_of_many_shards_are_one_column() -> None:
    import pyarrow as pa

    parts: list[pa.Array] = [
        pa.array(["a", None], pa.string()),
        pa.array([], pa.string()),
        pa.array(["b"], pa.string()),
    ]
    column = wide_text(parts)
    assert (column.type, column.to_pylist()) == (pa.large_string(), ["a", None, "b"])
    assert wide_text([]).to_pylist() == []


#: Which picture each is of; one lies on a side by EXIF, and one is cut.
PICTURES = {"train/b": 1, "train/a": 2, "val/c": 3, "val/turned": 4, "train/cut": 5, "train/again": 1}


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, the dataset of it, and the hashes of either alone."""
    place = tmp_path_factory.mktemp("prints")
    files: dict[str, bytes] = {}
    for name, seed in PICTURES.items():
        picture, exif = scene(seed, 90, 60), Image.Exif()
        exif[0x0112] = 6 if seed == 4 else 1
        sink = io.BytesIO()
        picture.save(sink, "JPEG", exif=exif, quality=95 if name == "train/again" else 80)
        files[f"{name}.jpg"] = sink.getvalue()[: 1500 if name == "train/cut" else None]
    write_files(place / "folder", files)
    pack(place / "folder", place / "set", check="header", shards=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prints, "_HANDED_AT_ONCE", 4)
        found = prints.hand_out_images(str(place / "folder"), str(place / "folder.parquet"), Serial(), Silent())
    assert (found[0], [path for path, _ in found[1]]) == (5, ["train/cut.jpg"])
    assert prints.hand_out(open_dataset(place / "set"), str(place / "set.parquet"), None) == 5
    return place


@pytest.mark.parametrize("name", ["folder", "folder.parquet", "set", "set.parquet"])
def test_fingerprints_of_a_set_are_those_of_its_images_wherever_they_are(name: str, place: Path) -> None:
    found = print_set(str(place / name), None, Serial(), Silent())
    whole = print_set(str(place / "folder"), None, Serial(), Silent())
    keys = ["a", "again", "b", "c", "cut", "turned"]
    assert list(whole.keys) == keys
    there = [row for row, key in enumerate(keys) if key != "cut" or name.startswith("folder")]
    assert list(found.keys) == [keys[row] for row in there]
    assert list(found.splits) == ["val" if key in ("c", "turned") else "train" for key in found.keys]
    assert np.isnan(found.prints.deviation).tolist() == [key == "cut" for key in found.keys]
    for array in ("exact", "words", "mirrored", "deviation"):
        expected = getattr(whole.prints, array)[there]
        assert np.array_equal(getattr(found.prints, array), expected, equal_nan=array == "deviation")
    mine = [found.keys.index(key) for key in ("turned", "a", "c")]
    assert np.array_equal(found.prints.looks(np.array(mine)), whole.prints.looks(np.array([5, 0, 3])))
    turned, expected = found.prints.turned, whole.prints.turned
    assert (turned.rows.tolist(), expected.rows.tolist()) == ([len(there) - 1], [5])
    for array in ("turns", "words", "mirrored"):
        assert np.array_equal(getattr(turned, array), getattr(expected, array))
    assert [path for path, _ in found.unreadable] == ["train/cut.jpg"] * (name == "folder")
    assert (found.dataset is not None) == (found.places is not None) == (name == "set")
    if found.places is not None and found.dataset is not None:
        held = {split: list(found.dataset[split].keys()) for split in ("train", "val")}
        shards = [split for split, _ in found.dataset.manifest.shards]
        assert [held[shards[shard]][row] for shard, row in found.places.tolist()] == list(found.keys)


@pytest.mark.parametrize("name", ["folder.parquet", "set.parquet"])
def test_a_file_of_hashes_shows_small_gray_pictures(name: str, place: Path) -> None:
    whole = print_set(str(place / "folder"), None, Serial(), Silent())
    found = dict(images_with_keys(str(place / name), ["c", "a", "nobody"]))
    assert list(found) == ["a", "c"]
    for key, row in (("a", 0), ("c", 3)):
        with Image.open(io.BytesIO(found[key])) as small:
            assert np.asarray(small).reshape(-1).tolist() == whole.prints.looks(np.array([row]))[0, :1024].tolist()


def test_a_dataset_is_compared_by_its_indexes_alone_where_pixels_are_not_asked_for(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    compiled: list[tuple[int, int]] = []
    monkeypatch.setattr(prints, "compile_hashing", lambda _, *counts: compiled.append(counts))
    dataset = open_dataset(shutil.copytree(place / "set", tmp_path / "set"))
    shutil.rmtree(tmp_path / "set" / HASHES_FOLDER)
    by_index = print_set(dataset, None, Serial(), told, pixels=False)
    assert (len(by_index.prints.words), len(by_index.prints.deviation), compiled) == (0, 0, [])
    assert not (tmp_path / "set" / HASHES_FOLDER).exists()
    by_pixels = print_set(dataset, None, Serial(), told)
    assert np.array_equal(by_index.prints.exact, by_pixels.prints.exact)
    assert compiled == [(5, sum(entry.bytes for _, entry in dataset.manifest.shards))]
    assert told.tasks == [("read indexes", 5, "images"), ("hash images", 5, "images")]
    assert told.done == 10
    held = HashPlace.of(dataset, None)
    for _, entry in dataset.manifest.shards:
        assert held.read(entry, ["phash"], library_versions(), lambda _: True) is not None


def test_hashes_are_not_written_through_a_link_that_leads_elsewhere(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "set", tmp_path / "set")
    shutil.rmtree(tmp_path / "set" / HASHES_FOLDER)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set" / HASHES_FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError) as caught:
        prints.hash_place(open_dataset(tmp_path / "set"), None)
    assert caught.value.code == "path-unsafe"
    assert prints.hash_place(open_dataset(tmp_path / "set"), str(tmp_path / "cache")).cached
