"""What each level of ``duplicates`` finds and what it confuses, measured on photographs.

    python -m benchmarks.uniqueness_quality --photos FOLDER [--crops 8000] [--json FILE]
    python -m benchmarks.uniqueness_quality --dataset DATASET --truth truth.csv

Each photograph, resized to 300x300, is edited in each way of EDITS and saved as JPEG; recall is the share of edits that
a level calls the same image as the original. False pairs are counted among random crops of the photographs, over all
pairs of crops of two different ones. A pair of crops that passes is printed, to be looked at. With ``--dataset``, the
planted copies of ``make_photos`` that each level finds and misses, and pairs that nobody planted, which are printed.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import math
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from benchmarks.make_photos import BYTES, REENCODED, find_photos
from benchmarks.picture_kinds import KINDS
from wdstools import find_duplicates, open_dataset
from wdstools.dedup.groups import Fingerprints, Turned, group
from wdstools.dedup.levels import EXACT, LEVELS
from wdstools.dedup.phash import deviation
from wdstools.reader.hashes import hash_images, turned_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from wdstools.formats.hashes import ImageHashes
    from wdstools.options.pack import DuplicateLevel


SIDE = 300
_LANCZOS = Image.Resampling.LANCZOS
_LEVELS = [level.name for level in LEVELS]
#: What lists of planted copies call the ways in which they are made.
_SAME_BYTES, _ENCODED_AGAIN = {BYTES, "exact"}, {REENCODED, "near"}
_SHOWN = 20
#: Kinds of pictures are made with so many of the photographs.
_KIND_PHOTOS = 50


def _crop(image: Image.Image, percent: float, *, one_side: bool = False) -> Image.Image:
    cut = SIDE * percent / 100
    low = 0.0 if one_side else cut / 2
    return image.resize((SIDE, SIDE), _LANCZOS, box=(low, low, SIDE - cut + low, SIDE - cut + low))


def _border(image: Image.Image, percent: float, colour: str) -> Image.Image:
    return ImageOps.expand(image, round(SIDE * percent / 100), colour).resize((SIDE, SIDE), _LANCZOS)


def _text(image: Image.Image, height: int) -> Image.Image:
    made = image.copy()
    pen = ImageDraw.Draw(made)
    pen.rectangle((20, SIDE - height - 20, SIDE - 20, SIDE - 20), fill="white")
    pen.text((30, SIDE - height - 15), "the best day of my life", fill="black", font_size=height * 0.6)
    return made


def _watermark(image: Image.Image) -> Image.Image:
    layer = Image.new("L", image.size, 0)
    ImageDraw.Draw(layer).text((40, 120), "watermark", fill=90, font_size=48)
    return Image.composite(Image.new("RGB", image.size, "white"), image, layer)


def _curve(image: Image.Image, curve: Callable[[float], float]) -> Image.Image:
    return image.point([min(255, max(0, round(255 * curve(value / 255)))) for value in range(256)] * 3)


def _vignette(image: Image.Image) -> Image.Image:
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    light = np.clip(1.15 - 0.65 * np.hypot(rows, columns), 0.15, 1)[:, :, None]
    return Image.fromarray((np.asarray(image) * light).astype(np.uint8))


def _sepia(image: Image.Image) -> Image.Image:
    return ImageOps.colorize(image.convert("L"), "#24170b", "#ffeec8")


def _warm(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return Image.merge("RGB", (red.point(lambda v: min(255, v * 1.15 + 10)), green, blue.point(lambda v: v * 0.8 + 15)))


TURNED = "rotated 90 degrees, EXIF turns it back"
#: Edit -> how it is made, and the quality it is saved with.
EDITS: dict[str, tuple[Callable[[Image.Image], Image.Image], int]] = {
    **{f"JPEG quality {quality}": (lambda image: image, quality) for quality in (30, 50, 70, 92)},
    "resize 0.5": (lambda image: image.resize((150, 150), _LANCZOS), 85),
    "resize 2": (lambda image: image.resize((600, 600), _LANCZOS), 85),
    "other aspect (400x300)": (lambda image: image.resize((400, 300), _LANCZOS), 85),
    "gray": (lambda image: image.convert("L").convert("RGB"), 85),
    "blur, radius 1": (lambda image: image.filter(ImageFilter.GaussianBlur(1)), 85),
    "sharpen": (lambda image: image.filter(ImageFilter.SHARPEN), 85),
    **{f"crop {percent} %": (partial(_crop, percent=percent), 85) for percent in (2, 5, 10, 20)},
    "crop 5 %, at one corner": (partial(_crop, percent=5, one_side=True), 85),
    "white border 3 %": (partial(_border, percent=3, colour="white"), 85),
    "black border 10 %": (partial(_border, percent=10, colour="black"), 85),
    "strip of text, small": (partial(_text, height=24), 85),
    "strip of text, large": (partial(_text, height=60), 85),
    "watermark": (_watermark, 85),
    "brightness 1.4": (lambda image: ImageEnhance.Brightness(image).enhance(1.4), 85),
    "contrast 1.5": (lambda image: ImageEnhance.Contrast(image).enhance(1.5), 85),
    "gamma 0.6": (partial(_curve, curve=lambda v: v**0.6), 85),
    "gamma 1.6": (partial(_curve, curve=lambda v: v**1.6), 85),
    "vignette": (_vignette, 85),
    "sepia": (_sepia, 85),
    "warm filter": (_warm, 85),
    "S-curve filter": (partial(_curve, curve=lambda v: 0.5 - 0.5 * math.cos(math.pi * v)), 85),
    "mirrored": (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 85),
    "rotated 2 degrees": (lambda image: image.rotate(2, Image.Resampling.BICUBIC), 85),
    "rotated 5 degrees": (lambda image: image.rotate(5, Image.Resampling.BICUBIC), 85),
    "rotated 90 degrees": (lambda image: image.transpose(Image.Transpose.ROTATE_90), 85),
    TURNED: (lambda image: image.transpose(Image.Transpose.ROTATE_90), 85),
}


def fingerprints(images: list[bytes]) -> Fingerprints:
    """Fingerprints of encoded images, none of them byte-identical to another."""
    hashes = hash_images(images, len(images), lambda _: None)
    numbers = np.arange(len(images), dtype=np.uint64)
    return Fingerprints(
        exact=np.stack((numbers, numbers), axis=1),
        words=np.concatenate((hashes.phash, hashes.phash16), axis=1).view(np.uint64),
        mirrored=np.concatenate((hashes.mirrored, hashes.mirrored16), axis=1).view(np.uint64),
        deviation=deviation(hashes.luma),
        looks=lambda rows: looks_of(hashes, rows),
        turned=turned_of(hashes.turn, hashes.upright),
    )


def looks_of(hashes: ImageHashes, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The small pictures of some images."""
    parts = (hashes.luma, hashes.colour)
    return np.concatenate([part.reshape(len(part), -1)[rows] for part in parts], axis=1)


def select(prints: Fingerprints, rows: list[int]) -> Fingerprints:
    """Some of the images."""
    chosen = np.array(rows)
    turned = prints.turned
    held = [(rows.index(row), at) for at, row in enumerate(turned.rows.tolist()) if row in rows]
    place, at = np.array(held, np.int64).reshape(-1, 2).T
    return Fingerprints(
        prints.exact[chosen], prints.words[chosen], prints.mirrored[chosen], prints.deviation[chosen],
        lambda some: prints.looks(chosen[some]),
        Turned(place, turned.turns[at], turned.words[at], turned.mirrored[at]),
    )  # fmt: skip


def same(prints: Fingerprints, a: int, b: int) -> list[bool]:
    """For each level whether two images are the same."""
    return [bool(found.leader[1] == 0) for found in group(select(prints, [a, b]), LEVELS)[1:]]


def _jpeg(image: Image.Image, quality: int, *, turned: bool = False) -> bytes:
    sink = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.convert("RGB").save(sink, "JPEG", quality=quality, **({"exif": exif} if turned else {}))
    return sink.getvalue()


def recall_of(photo: str) -> list[list[bool]]:
    """For each edit and level, whether the edit of this photograph is found."""
    with Image.open(photo) as opened:
        image = opened.convert("RGB").resize((SIDE, SIDE), _LANCZOS)
    made = [_jpeg(image, 75)]
    made += [_jpeg(edit(image), quality, turned=name == TURNED) for name, (edit, quality) in EDITS.items()]
    prints = fingerprints(made)
    return [same(prints, 0, number) for number in range(1, len(made))]


def taken_for_one(photo: str) -> list[list[int]]:
    """Of each kind of different pictures, made with this photograph, how many each level takes for another of them."""
    with Image.open(photo) as opened:
        image = opened.convert("RGB").resize((SIDE, SIDE), _LANCZOS)
    counts = []
    for make in KINDS.values():
        made = make(image)
        found = group(fingerprints(made), LEVELS)[1:]
        counts.append([len(made), *(int((one.leader != np.arange(len(made))).sum()) for one in found)])
    return counts


def crops_of(task: tuple[str, int, int]) -> list[bytes]:
    """Random square crops of a photograph, of 65 to 100 % of its shorter side, as JPEG."""
    photo, count, seed = task
    dice = random.Random(f"{seed} {photo}")
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    made = []
    for _ in range(count):
        side = min(image.size) * dice.uniform(0.65, 1)
        left, top = dice.uniform(0, image.width - side), dice.uniform(0, image.height - side)
        made.append(
            _jpeg(image.resize((SIDE, SIDE), _LANCZOS, box=(left, top, left + side, top + side)), dice.randint(60, 95))
        )
    return made


def false_pairs(prints: Fingerprints, photo: NDArray[np.int64]) -> tuple[int, list[int], list[tuple[int, int]]]:
    """Pairs of different photographs, how many pass each level, and which pass the last."""
    tested, passed, shown = 0, [0] * len(LEVELS), []
    for row in range(len(photo)):
        others = np.flatnonzero(photo[:row] != photo[row])
        tested += len(others)
        near = np.zeros(len(others), bool)
        for a, b in ((prints.words, prints.words), (prints.words, prints.mirrored), (prints.mirrored, prints.words)):
            near |= np.bitwise_count(a[row, 0] ^ b[others, 0]) <= LEVELS[-1].phash
        for other in others[near].tolist():
            verdict = same(prints, other, row)
            passed = [count + one for count, one in zip(passed, verdict, strict=True)]
            shown += [(other, row)] if verdict[-1] else []
    return tested, passed, shown


def run(photos: list[str], crops: int, jobs: int | None = None) -> dict[str, Any]:
    """Measure; the result is what is printed."""
    with ProcessPoolExecutor(jobs) as pool:
        verdicts = np.array(list(pool.map(recall_of, photos, chunksize=8)))
        kinds = np.array(list(pool.map(taken_for_one, photos[:_KIND_PHOTOS], chunksize=4))).sum(axis=0)
        each = -(-crops // len(photos))
        made = list(pool.map(crops_of, [(photo, each, 1) for photo in photos], chunksize=4))
        parts = list(pool.map(_portable, made, chunksize=4))
    prints = _joined(parts)
    tested, passed, shown = false_pairs(prints, np.repeat(np.arange(len(photos)), each))
    return {
        "photographs": len(photos),
        "recall": {
            edit: dict(zip(_LEVELS, (100 * share).round(1).tolist(), strict=True))
            for edit, share in zip(EDITS, verdicts.mean(axis=0), strict=True)
        },
        "kinds": {
            kind: dict(zip(("pictures", *_LEVELS), row, strict=True))
            for kind, row in zip(KINDS, kinds.tolist(), strict=True)
        },
        "tested_pairs": tested,
        "false_pairs": dict(zip(_LEVELS, passed, strict=True)),
        "shown": [(photos[a // each], photos[b // each]) for a, b in shown[:_SHOWN]],
    }


def planted(path: str, kinds: set[str]) -> set[tuple[str, ...]]:
    """Pairs of keys of images that are copies of one another, in these ways, through any number of others."""
    groups: dict[str, set[str]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for copy, original, kind in list(csv.reader(file))[1:]:
            if kind in kinds:
                a, b = ("/".join(name.removesuffix(".jpg").split("/")[-2:]) for name in (copy, original))
                joined = groups.get(a, {a}) | groups.get(b, {b})
                groups.update(dict.fromkeys(joined, joined))
    return {pair for group in groups.values() for pair in itertools.combinations(sorted(group), 2)}


def compare(dataset: str, truth: str) -> None:
    """What each level finds of the planted copies, and what else; prints it."""
    for level, kinds in ((EXACT, _SAME_BYTES), *((name, _SAME_BYTES | _ENCODED_AGAIN) for name in _LEVELS)):
        wanted = planted(truth, kinds)
        found = {
            pair
            for group in find_duplicates(open_dataset(dataset), level=cast("DuplicateLevel", level))
            for pair in itertools.combinations(sorted(member.key for member in group.members), 2)
        }
        others = sorted(found - wanted)
        print(f"{level}: {len(wanted & found):,} of {len(wanted):,} planted pairs, {len(others):,} others")
        for pair in others[:_SHOWN]:
            print("  not planted: " + " and ".join(pair))


def _portable(images: list[bytes]) -> tuple[Any, ...]:
    prints = fingerprints(images)
    return prints.words, prints.mirrored, prints.deviation, prints.looks(np.arange(len(images)))


def _joined(parts: list[tuple[Any, ...]]) -> Fingerprints:
    words, mirrored, deviation, looks = (np.concatenate(some) for some in zip(*parts, strict=True))
    numbers = np.arange(len(words), dtype=np.uint64)
    return Fingerprints(np.stack((numbers, numbers), axis=1), words, mirrored, deviation, lambda rows: looks[rows])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uniqueness_quality", description=__doc__)
    parser.add_argument("--photos")
    parser.add_argument("--dataset")
    parser.add_argument("--truth", metavar="FILE", help="the planted copies of DATASET")
    parser.add_argument("--crops", type=int, default=8000)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    if (arguments.dataset is None) != (arguments.truth is None) or not (arguments.photos or arguments.dataset):
        parser.error("--photos FOLDER, or --dataset DATASET with --truth FILE")
    if arguments.dataset:
        compare(arguments.dataset, arguments.truth)
    if arguments.photos:
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Recall and false pairs on photographs; prints the tables."""
    found = run(list(find_photos(arguments.photos)), arguments.crops, arguments.jobs)
    print("| edit | " + " | ".join(_LEVELS) + " |\n|---|" + "---:|" * len(_LEVELS))
    for edit, shares in found["recall"].items():
        print(f"| {edit} | " + " | ".join(f"{shares[name]:.0f}" for name in _LEVELS) + " |")
    print(
        "\n| kind | pictures | "
        + " | ".join(f"left out at {name}" for name in _LEVELS)
        + " |\n|---|"
        + "---:|" * (1 + len(_LEVELS))
    )
    for kind, counts in found["kinds"].items():
        print(f"| {kind} | " + " | ".join(f"{counts[name]:,}" for name in ("pictures", *_LEVELS)) + " |")
    print(f"\nfalse pairs of {found['tested_pairs']:,} pairs of crops of {found['photographs']} photographs:", end=" ")
    print(", ".join(f"{name} {count}" for name, count in found["false_pairs"].items()))
    for a, b in found["shown"]:
        print(f"  passed: {a} and {b}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
