"""What a batch holds: any member, captions and labels of several kinds, and what functions of the user's make of them."""

from __future__ import annotations

import io
import json
import pickle
import random as python_random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg
from tests.support.foreign_tars import tar_bytes
from tests.support.streams import SIDE, packed
from wdstools.errors import IntegrityError, UsageError
from wdstools.reader.members import decoder_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wdstools import Dataset

COUNT = 24


def array(value: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, value)
    return sink.getvalue()


def mask(number: int) -> bytes:
    sink = io.BytesIO()
    image = Image.new("P", (5, 4), number)
    image.putpalette([7] * 768)
    image.save(sink, "PNG")
    return sink.getvalue()


def document(number: int) -> bytes:
    return json.dumps({"score": number, "captions": [f"{number} a", f"{number} b", f"{number} c"]}).encode()


MEMBERS: dict[str, Callable[[int], bytes]] = {
    "jpg": tiny_jpeg,
    "txt": lambda number: f"{number} a".encode(),
    "cls": lambda number: ("cat", "dog")[number % 2].encode(),
    "json": document,
    "npy": lambda number: array(np.full((2, 3), number, np.float16)),
    "ragged.npy": lambda number: array(np.arange(number % 3)),
    "mask.png": mask,
    "bin": lambda number: bytes([number]),
}


def adopted(folder: Path, members: dict[str, Callable[[int], bytes | None]]) -> Dataset:
    (folder / "tars").mkdir(parents=True)
    listed = [(f"{n:04d}.{name}", data) for n in range(COUNT) for name, made in members.items() if (data := made(n))]
    (folder / "tars" / "train-000000.tar").write_bytes(tar_bytes(listed))
    return wt.adopt(str(folder / "tars"), str(folder / "adopted")).dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return adopted(tmp_path_factory.mktemp("members"), dict(MEMBERS))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("plain"), train=COUNT, val=2)


def first(dataset: Dataset, **options: Any) -> Any:
    return next(
        iter(wt.loader(dataset, **{"batch_size": 6, "shuffle": None, "threads": 2, "image_size": 8, **options}))
    )


def test_each_member_is_decoded_by_its_extension(dataset: Dataset) -> None:
    batch = first(dataset, members=tuple(MEMBERS))
    assert batch.images.shape == (6, 8, 8, 3)
    assert batch.captions == [f"{number} a" for number in range(6)]
    assert [note["score"] for note in batch["json"]] == list(range(6))
    assert batch["npy"].dtype == np.float16
    assert batch["npy"][:, 1, 2].tolist() == list(range(6))
    assert [len(one) for one in batch["ragged.npy"]] == [0, 1, 2, 0, 1, 2]
    assert batch["mask.png"].shape == (6, 4, 5)
    assert batch["mask.png"][:, 0, 0].tolist() == list(range(6))  # the palette's numbers, not its colours
    assert batch["bin"] == [bytes([number]) for number in range(6)]


def test_only_what_is_asked_for_is_there(dataset: Dataset) -> None:
    batch = first(dataset, members=("npy",), image_size=None)
    assert list(batch) == ["npy", "keys", "mask", "damaged"]
    with pytest.raises(AttributeError, match="has no images; it has npy"):
        _ = batch.images
    batch = first(dataset, members=("txt",), image_size=None)
    assert list(batch) == ["captions", "keys", "mask", "damaged"]


@pytest.mark.parametrize("kept", [("npy",), ("txt",), ("txt", "npy", "json")])
def test_datasets_without_images_are_read_whole(tmp_path: Path, kept: tuple[str, ...]) -> None:
    dataset = adopted(tmp_path, {name: MEMBERS[name] for name in kept})
    batches = list(wt.loader(dataset, batch_size=5))
    assert sum(map(len, batches)) == COUNT
    assert set(batches[0]) == {{"txt": "captions"}.get(name, name) for name in kept} | {"keys", "mask", "damaged"}


def test_a_batch_is_a_mapping_as_well(dataset: Dataset) -> None:
    batch = first(dataset, members=("jpg", "txt", "npy"))
    fields = dict(**batch)
    assert fields["images"] is batch.images is batch["images"]
    assert list(fields) == list(batch) == batch.keys()
    assert batch.keys == fields["keys"] == [f"{number:04d}" for number in range(6)]
    assert len(batch) == 6
    assert "npy" in batch
    assert "labels" not in batch
    assert type(batch)(dict(batch.items())).captions == batch.captions
    again = pickle.loads(pickle.dumps(batch))  # noqa: S301
    assert np.array_equal(again.images, batch.images)
    assert again.keys == batch.keys
    assert "images uint8 [6, 8, 8, 3]" in repr(batch)


def test_decoders_are_replaced_by_extension(dataset: Dataset) -> None:
    batch = first(
        dataset,
        members=("jpg", "txt", "mask.png", "npy", "bin"),
        image_size=None,
        decoders={
            "mask.png": len,
            "bin": lambda data: data[0],
            "txt": lambda data: data.decode().upper(),
            "jpg": _gray,
        },
    )
    assert batch["mask.png"].dtype == np.int64
    assert batch["bin"].tolist() == list(range(6))
    assert batch.captions[1] == "1 A"
    assert batch.images.shape[1:] == (8, 8)
    assert batch["npy"].shape == (6, 2, 3)


def _gray(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L").resize((8, 8)))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("json", b"{"),
        ("json", b"[" * 100_000),
        ("npy", b"\x93NUMPY"),
        ("npy", array(np.zeros(3))[:-4]),
        ("npy", array(np.zeros(1)).replace(b"(1,)", b"(9999999999999,)")),
        ("npy", array(np.array([{}], object))),
        ("npz", b"PK"),
        ("txt", b"\xff"),
        ("mask.png", b"\x89PNG"),
    ],
)
def test_a_member_that_is_not_what_its_name_says_is_damage(tmp_path: Path, name: str, data: bytes) -> None:
    good = {"npz": _npz, **MEMBERS}[name]
    dataset = adopted(tmp_path, {"jpg": tiny_jpeg, name: lambda number: data if number == 3 else good(number)})
    with pytest.raises(IntegrityError) as caught:
        list(wt.loader(dataset, batch_size=6, members=("jpg", name), image_size=8))
    assert f"0003, member {name}" in caught.value.where
    batches = list(wt.loader(dataset, batch_size=6, members=("jpg", name), image_size=8, on_damage="skip"))
    assert [key for batch in batches for key in batch.damaged] == ["0003"]
    assert sum(int(batch.mask.sum()) for batch in batches) == COUNT - 1


def _npz(number: int) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, latent=np.full(2, number))
    return sink.getvalue()


def test_a_member_that_some_samples_lack_is_none_there(tmp_path: Path) -> None:
    dataset = adopted(tmp_path, {"jpg": tiny_jpeg, "npy": lambda n: array(np.ones(2)) if n % 2 else None})
    batch = first(dataset, members=("jpg", "npy"))
    assert [one is None for one in batch["npy"]] == [True, False] * 3


def test_captions_are_chosen_by_seed(dataset: Dataset) -> None:
    def captions(**options: Any) -> list[str]:
        loader = wt.loader(dataset, **{"batch_size": 7, "image_size": 8, "caption": "random", **options})
        return [caption for batch in loader for caption in batch.captions]

    usual = captions()
    assert usual == captions(threads=3, batch_size=5)
    assert usual != captions(seed=1)
    assert {caption[-1] for caption in usual} == {"a", "b", "c"}
    assert {caption[-1] for caption in captions(caption="first")} == {"a"}
    assert {caption[-1] for caption in captions(caption=lambda captions: captions[-1])} == {"c"}
    chosen = captions(caption=lambda captions, random: captions[random.integers(3)])
    assert {caption[-1] for caption in chosen} == {"a", "b", "c"}
    with pytest.raises(UsageError, match="did not return a caption"):
        captions(caption=lambda captions: 3)


def test_labels_that_are_names_are_no_damage(dataset: Dataset) -> None:
    assert first(dataset).labels == ["cat", "dog"] * 3
    given = first(dataset, labels=("dog", "cat")).labels
    assert given.dtype == np.int64
    assert given.tolist() == [1, 0] * 3
    with pytest.raises(UsageError, match="not in the list of labels"):
        first(dataset, labels=("dog",))


def test_a_label_of_digits_is_its_number_unless_it_is_a_name(tmp_path: Path) -> None:
    dataset = adopted(tmp_path, {"jpg": tiny_jpeg, "cls": lambda number: b"7"})
    assert first(dataset).labels.tolist() == [7] * 6
    assert first(dataset, labels=("3", "7")).labels.tolist() == [1] * 6


SHAPES: dict[str, Callable[..., Any]] = {
    "one argument": lambda image: np.flip(image, 1),
    "two arguments": lambda image, random: np.flip(image, 1),
    "with a default": lambda image, axis=1: np.flip(image, axis),
    "negative strides": lambda image: image[:, ::-1],
    "a picture": lambda image: ImageOps.mirror(Image.fromarray(image)),
    "read-only": lambda image: np.broadcast_to(image[:, ::-1], image.shape),
    "a class": type("Mirror", (), {"__call__": lambda self, image: image[:, ::-1]})(),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fit", ["stretch", "list"])
def test_functions_of_images_are_taken_as_they_are(plain: Dataset, shape: str, fit: str) -> None:
    usual = first(plain, image_size=None, fit=fit).images
    mirrored = first(plain, image_size=None, fit=fit, image_transform=SHAPES[shape]).images
    assert len(mirrored) == 6
    assert all(np.array_equal(a[:, ::-1], b) for a, b in zip(usual, mirrored, strict=True))
    assert all(b.dtype == np.uint8 for b in mirrored)


def test_global_generators_are_seeded_by_position_for_each_call(plain: Dataset) -> None:
    def noisy(image: Any) -> Any:
        first = python_random.random()
        return np.array([first, np.random.random(), python_random.random()])  # noqa: NPY002

    def numbers(**options: Any) -> list[list[float]]:
        loader = wt.loader(plain, **{"batch_size": 5, "image_transform": noisy, **options})
        return [row for batch in loader for row in np.asarray(batch.images).tolist()]

    python_random.seed(1)
    before = python_random.getstate()
    alone = numbers(threads=1)
    assert python_random.getstate() == before
    assert alone == numbers(threads=4, batch_size=3)
    assert alone != numbers(seed=1)
    assert len({value for row in alone for value in row}) == 3 * COUNT


@pytest.mark.parametrize(
    ("transform", "code"),
    [
        (lambda image: {"image": image}, "transform-result"),
        (lambda image: (image, image), "transform-result"),
        (lambda image: None, "transform-result"),
        (lambda image: [1, 2], "transform-result"),
        (lambda image, random: image[: random.integers(1, 20)], "transform-shape"),
        (lambda image, random: image / 255 if random.random() < 0.5 else image, "transform-dtype"),
        (lambda image, random: image.astype(random.choice([np.float32, np.float64])), "transform-dtype"),
    ],
)
def test_what_cannot_be_stacked_is_refused(plain: Dataset, transform: Any, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        list(wt.loader(plain, batch_size=8, image_transform=transform))
    assert caught.value.code == code
    if code == "transform-result":
        bad: Any = lambda sample: [sample]  # noqa: E731
    else:
        bad = lambda sample, random: {**sample, "image": transform(sample["image"], random)}  # noqa: E731
    with pytest.raises(UsageError) as caught:
        list(wt.loader(plain, batch_size=8, transform=bad))
    assert caught.value.code == code


def test_a_transform_of_samples_sees_all_and_makes_the_row(dataset: Dataset) -> None:
    def views(sample: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
        assert sample["image"].shape == (8, 8, 3)
        return {
            "view": sample["image"][:4].transpose(2, 0, 1),
            "caption": sample["caption"] + "!",
            "score": sample["json"]["score"],
            "noise": float(random.random()),
            "pair": (sample["key"], sample["label"]),
        }

    options = {"members": ("jpg", "txt", "cls", "json"), "transform": views}
    batch = first(dataset, **options)
    assert set(batch) == {"view", "captions", "score", "noise", "pair", "keys", "mask", "damaged"}
    assert batch["view"].shape == (6, 3, 4, 8)
    assert batch.captions == [f"{number} a!" for number in range(6)]
    assert batch["score"].tolist() == list(range(6))
    assert batch["pair"][1] == ("0001", "dog")
    assert batch["noise"].tolist() == first(dataset, threads=1, **options)["noise"].tolist()
    with pytest.raises(UsageError, match="samples with different fields"):
        first(dataset, transform=lambda sample: {sample["key"]: 1})


def test_damage_reaches_no_transform_and_its_row_repeats_another(tmp_path: Path) -> None:
    dataset = adopted(tmp_path, {"jpg": lambda n: b"no" if n == 2 else tiny_jpeg(n), "txt": MEMBERS["txt"]})
    seen = []

    def transform(sample: dict[str, Any]) -> dict[str, Any]:
        seen.append(sample["key"])
        return {"brightness": int(sample["image"].sum()), "caption": sample["caption"]}

    batch = first(dataset, transform=transform, on_damage="skip")
    assert "0002" not in seen
    assert batch.damaged == ("0002",)
    assert batch["brightness"][2] == batch["brightness"][0]
    assert batch.captions[2] == batch.captions[0]
    assert batch.mask.tolist() == [True, True, False, True, True, True]


def test_a_tokenizer_makes_fields_of_a_batchs_captions(dataset: Dataset) -> None:
    calls: list[list[str]] = []

    def tokenizer(captions: list[str]) -> Any:
        calls.append(captions)
        return np.array([[len(caption), 0] for caption in captions])

    batches = list(wt.loader(dataset, batch_size=8, image_size=8, tokenizer=tokenizer))
    assert all(batch["tokens"].shape == (8, 2) for batch in batches)
    assert sorted(calls) == sorted(batch.captions for batch in batches)
    named = first(dataset, tokenizer=lambda captions: {"input_ids": [[1, 2]] * len(captions)})
    assert len(named["input_ids"]) == 6
    for bad in (lambda captions: [1], lambda captions: None, lambda captions: {"captions": captions}):
        with pytest.raises(UsageError) as caught:
            first(dataset, tokenizer=bad)
        assert caught.value.code == "tokenizer-result"


def test_the_old_transform_of_images_still_is_one(plain: Dataset) -> None:
    old = first(plain, image_size=None, transform=lambda image, random: image[::2])
    assert old.images.shape == (6, SIDE // 2, SIDE, 3)


def test_further_members_that_pack_has_kept_come_in_batches_as_those_of_adopted_tars(
    dataset: Dataset, tmp_path: Path
) -> None:
    tars = dataset.shards.url
    clean = wt.pack(tars, tmp_path / "packed", check="header").dataset
    assert clean.manifest.format == 2
    wanted = ("npy", "mask.png", "json")  # and captions
    found: dict[int, Any] = {}
    for batch in wt.loader(clean, "train", batch_size=6, members=("txt", *wanted), shuffle=None):
        for number, values in enumerate(zip(*(batch[name] for name in wanted), strict=True)):
            found[values[2]["score"]] = (values, batch["captions"][number])
    assert sorted(found) == list(range(COUNT))
    for score, ((values, picture, _), caption) in found.items():
        assert (values == np.float16(score)).all()
        assert np.asarray(picture).shape[:2] == (4, 5)
        assert caption == f"{score} a"


def test_arrays_of_many_shapes_are_read_in_many_threads() -> None:
    """CPython 3.11 counts the depth of its parser for all threads together, and numpy parses each header by it."""
    shapes = [array(np.zeros((number, 2, number % 7 + 1), np.float16)) for number in range(400)]
    decode = decoder_of("npy", {})
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(decode, shapes))
    assert [one.shape for one in found] == [(number, 2, number % 7 + 1) for number in range(400)]
    for order in ("C", "F"):
        again = decode(array(np.asarray(np.arange(6.0).reshape(2, 3), order=order)))
        assert again.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        again[0, 0] = 7  # and they are the user's own
    assert decode(array(np.array(3.5))).shape == ()
    assert decode(array(np.zeros((0, 4)))).shape == (0, 4)
