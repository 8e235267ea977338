"""A folder of many different small photographs with captions, cut from a few large ones, in InstaCities1M's layout.

    python -m benchmarks.make_photos DIR N [--photos FOLDER] [--seed S]

``DIR/img/{split}/{city}/{id}.jpg`` are JPEGs of 300x300 pixels and quality 75, 18 KB in the mean, and
``DIR/captions/{split}/{city}/{id}.txt`` their captions in several scripts; N of each. Two in a hundred images are
planted copies: one byte for byte, one encoded again at another quality. ``DIR/truth.csv`` (copy, of, kind) lists
them; all other images differ from one another. The same photographs, N and seed give the same files on any number
of cores. Without ``--photos`` the pictures are those of ``wdstools demo``, without its faults.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

from PIL import Image
from xxhash import xxh3_64_intdigest

from wdstools.ops.demo.source import CITIES, SIDE, caption_bytes, draw

SPLIT_SHARES = (("train", 80), ("val", 5), ("test", 15))
BYTES, REENCODED = "bytes", "re-encoded"
_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")
_TURNS = (None, *Image.Transpose)
#: The part of a photograph's shorter side that a crop may take; small crops are blurred, and so small files.
_CROP_RANGE = (0.65, 1.0)
_TASK_SAMPLES = 200


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the pictures: where from, and which."""

    folder: str
    photos: tuple[str, ...]
    seed: int


def place(seed: int, number: int) -> str:
    """``{split}/{city}/{id}`` of a sample: the shares are exact in every hundred consecutive samples of a city."""
    slot = (number // len(CITIES) * 37) % 100
    for split, share in SPLIT_SHARES:
        if slot < share:
            identity = 1_480_000_000_000_000_000 + number * 7_654_321_987 + seed % 1_000_000
            return f"{split}/{CITIES[number % len(CITIES)]}/{identity}"
        slot -= share
    raise AssertionError


def copy_of(seed: int, number: int) -> tuple[int, str] | None:
    """What a sample is a copy of, and how; None for an original. Copies are never copied."""
    kind = _copies_in(seed, number // 100).get(number % 100)
    if kind is None:
        return None
    dice = random.Random(f"copy {seed} {number}")
    while True:
        original = dice.randrange(number)
        if original % 100 not in _copies_in(seed, original // 100):
            return original, kind


@lru_cache(maxsize=4096)
def _copies_in(seed: int, hundred: int) -> dict[int, str]:
    """Which two of a hundred samples are copies; never one of the first ten, so that there is something to copy."""
    return dict(
        zip(random.Random(f"copies {seed} {hundred}").sample(range(10, 100), 2), (BYTES, REENCODED), strict=True)
    )


def image_bytes(recipe: Recipe, number: int) -> bytes:
    """The JPEG of a sample."""
    copied = copy_of(recipe.seed, number)
    if copied is None:
        return _encode(_picture(recipe, number), 75)
    original, kind = copied
    data = image_bytes(recipe, original)
    if kind == BYTES:
        return data
    quality = random.Random(f"quality {recipe.seed} {number}").choice((60, 70, 80, 85, 90, 95))
    return _encode(Image.open(io.BytesIO(data)), quality)


def _picture(recipe: Recipe, number: int) -> Image.Image:
    """A crop at a random place, of a random size, turned or mirrored, slightly brighter or darker."""
    if not recipe.photos:
        return Image.fromarray(draw(recipe.seed * 1_000_003 + number))
    dice = random.Random(f"crop {recipe.seed} {number}")
    photo = _load(recipe.photos[number % len(recipe.photos)])
    side = min(photo.size) * dice.uniform(*_CROP_RANGE)
    left, top = dice.uniform(0, photo.width - side), dice.uniform(0, photo.height - side)
    crop = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    turn = dice.choice(_TURNS)
    crop = crop if turn is None else crop.transpose(turn)
    gain, lift = dice.uniform(0.9, 1.1), dice.uniform(-8, 8)
    return crop.point([max(0, min(255, round(value * gain + lift))) for value in range(256)] * 3)


@lru_cache(maxsize=4)
def _load(path: str) -> Image.Image:
    """The photograph; only the last few are kept, as a task goes through the photographs one by one."""
    with Image.open(path) as image:
        return image.convert("RGB")


def _encode(image: Image.Image, quality: int) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def _write(recipe: Recipe, numbers: tuple[int, ...]) -> list[int]:
    """Write some samples; gives a digest of each original."""
    digests = []
    for number in numbers:
        name = place(recipe.seed, number)
        data = image_bytes(recipe, number)
        with open(f"{recipe.folder}/img/{name}.jpg", "wb") as file:
            file.write(data)
        # the demo plants a caption that is not UTF-8 at 375 of every 500
        words = caption_bytes(number + (number % 500 == 375), name.split("/")[1])
        with open(f"{recipe.folder}/captions/{name}.txt", "wb") as file:
            file.write(words)
        if copy_of(recipe.seed, number) is None:
            digests.append(xxh3_64_intdigest(data))
    return digests


def find_photos(folder: str) -> tuple[str, ...]:
    """Every photograph below a folder, sorted."""
    found = [
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(_EXTENSIONS)
    ]
    if not found:
        raise SystemExit(f"no photographs in {folder}")
    return tuple(sorted(found))


def _tasks(count: int, photos: int) -> list[tuple[int, ...]]:
    """Samples of one photograph follow each other, so that it is decoded once a task."""
    numbers = sorted(range(count), key=lambda number: (number % photos, number)) if photos else list(range(count))
    return [tuple(numbers[at : at + _TASK_SAMPLES]) for at in range(0, count, _TASK_SAMPLES)]


def make_photos(folder: str, count: int, photos: str | None = None, seed: int = 0, jobs: int | None = None) -> None:
    """Make the folder, which must not exist."""
    recipe = Recipe(folder, find_photos(photos) if photos else (), seed)
    os.makedirs(folder)
    for kind in ("img", "captions"):
        for split, _ in SPLIT_SHARES:
            for city in CITIES:
                os.makedirs(f"{folder}/{kind}/{split}/{city}")
    with ProcessPoolExecutor(jobs) as pool:
        digests = [d for some in pool.map(partial(_write, recipe), _tasks(count, len(recipe.photos))) for d in some]
    if len(set(digests)) != len(digests):
        raise SystemExit(f"{len(digests) - len(set(digests))} pictures are the same: use more photographs")
    with open(f"{folder}/truth.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("copy", "of", "kind"))
        for number in range(count):
            if copied := copy_of(seed, number):
                writer.writerow((f"img/{place(seed, number)}.jpg", f"img/{place(seed, copied[0])}.jpg", copied[1]))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.make_photos", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("count", metavar="N", type=int)
    parser.add_argument("--photos", metavar="FOLDER", help="photographs to cut from; the demo's pictures without it")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    make_photos(arguments.folder, arguments.count, arguments.photos, arguments.seed)


if __name__ == "__main__":
    main()
