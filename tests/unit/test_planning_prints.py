"""The images of a set, wherever they are: samples with keys, other files by their paths, and those that cannot be had."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.properties.test_placement_laws import listing_of
from tests.support.lookalikes import jpeg, scene
from tests.unit.test_planning_images import Files
from wdstools.errors import UsageError
from wdstools.executors.local import Serial
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.planning import prints
from wdstools.planning.prints import images_with_keys, opened, print_set, proved_of, wide_text
from wdstools.progress import Silent
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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _found(monkeypatch, samples=samples, more=more)
    found = print_set("folder", None, Serial(), Silent())
    assert (found.name, list(found.keys), list(found.splits), found.source) == ("folder", keys, splits, "kept")
    assert (found.dataset, found.places, found.proved) == (None, None, Proved.NOTHING)
    assert [path for path, _ in found.unreadable] == unreadable
    files = {"oslo/s1": "s1", "oslo/s2": "s2", "a.jpg": "a.jpg", "z.jpg": "z.jpg"}
    assert found.prints.exact[:, 1].tolist() == [len(IMAGES[files[key]]) for key in keys]
    assert np.isnan(found.prints.deviation).tolist() == [key == "oslo/s1" for key in keys]
    _found(monkeypatch, samples=samples, more=more)
    wanted = [keys[0], keys[-1], "nobody"]
    assert list(images_with_keys("folder", wanted)) == [(key, IMAGES[files[key]]) for key in (keys[0], keys[-1])]


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
