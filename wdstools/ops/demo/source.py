"""Make a folder of photographs with captions, the same on every machine, with integer arithmetic and no download.

The images have the statistics that matter for measuring: 300x300 JPEGs of quality 75, 16 to 20 KB on average, which decode
as fast as real photographs of that size (``benchmarks/demo_images.py`` shows both).
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from wdstools.errors import UsageError, option
from wdstools.stores.folders import make_folders
from wdstools.stores.local import storage_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.executors.base import Executor, Tick
    from wdstools.progress import Progress

CITIES = (
    "london",
    "newyork",
    "sydney",
    "losangeles",
    "chicago",
    "melbourne",
    "miami",
    "toronto",
    "singapore",
    "sanfrancisco",
)
SIDE = 300
_TILE = 1024
_CELLS = (128, 64, 32, 16, 8, 4, 2, 1)
_AMPLITUDES = (60, 52, 44, 34, 24, 14, 8, 4)
_WORDS = (
    "love",
    "sunset",
    "café",
    "weekend",
    "friends",
    "happy",
    "beautiful",
    "morning",
    "street",
    "skyline",
    "beach",
    "food",
    "朝ごはん",
    "旅行",
    "été",
    "mañana",
    "naïve",
    "☕",
    "🌇",
    "😍",
    "🗽",
    "✨",
    "Straße",
    "музыка",
    "여행",
    "שלום",
    "coffee",
    "art",
)
_TAGS = (
    "travel",
    "instagood",
    "picoftheday",
    "fashion",
    "nofilter",
    "photography",
    "live",
    "写真",
    "путешествие",
    "style",
)
_SPLITS = (("train", 80), ("val", 5), ("test", 15))
_TASK_SAMPLES = 250


@dataclass(frozen=True, slots=True)
class MakeTask:
    """Samples ``start`` to ``stop`` to write below ``folder``."""

    local_paths: ClassVar[tuple[str, ...]] = ("folder",)

    folder: str
    start: int
    stop: int


def make_source(folder: str, samples: int, *, executor: Executor, progress: Progress) -> None:
    """Write ``samples`` pairs in the layout of InstaCities1M after splitting, with a few planted faults.

    About one in a hundred images is a byte-for-byte copy of another; in every 500 samples one image is truncated, one is a
    PNG under the name of a JPEG, and one caption is not UTF-8. The folder must not exist.
    """
    if samples < 1:
        raise UsageError("out of range", where=option("samples"), expected="at least 1", got=str(samples))
    try:
        make_folders(os.path.dirname(folder))
        os.mkdir(folder)
        for split, _ in _SPLITS:
            for city in CITIES:
                for kind in ("img", "captions"):
                    make_folders(f"{folder}/{kind}/{split}/{city}")
    except OSError as error:
        raise storage_error(error, folder) from None
    tasks = [MakeTask(folder, start, min(start + _TASK_SAMPLES, samples)) for start in range(0, samples, _TASK_SAMPLES)]
    progress.start("make photographs", samples, "images")
    try:
        for outcome in executor.map(write_samples, tasks, progress.advance):
            outcome.result()
    finally:
        progress.finish()


def write_samples(task: MakeTask, tick: Tick) -> None:
    """Write some samples."""
    for number in range(task.start, task.stop):
        split, city = _place(number)
        name = f"{split}/{city}/{_identity(number)}"
        try:
            with open(f"{task.folder}/img/{name}.jpg", "wb") as file:
                file.write(image_bytes(number))
            with open(f"{task.folder}/captions/{name}.txt", "wb") as file:
                file.write(caption_bytes(number, city))
        except OSError as error:
            raise storage_error(error, f"{task.folder}/{name}") from None
        tick(1)


def image_bytes(number: int) -> bytes:
    """The content of one image file; see ``make_source`` for the faults."""
    if number % 100 == 99:
        number = int(_random(number, 1)[0]) % number
        number -= number % 100 == 99
    pixels = draw(number)
    if number % 500 == 250:
        return _encode(pixels, "PNG")
    data = _encode(pixels, "JPEG")
    return data[: len(data) // 2] if number % 500 == 125 else data


def caption_bytes(number: int, city: str) -> bytes:
    """The content of one caption file: words, emoji, other scripts and hashtags."""
    if number % 500 == 375:
        return b"caf\xe9 #" + city.encode()
    draws = [int(value) for value in _random(number * 31 + 7, 24)]
    words = [_WORDS[value % len(_WORDS)] for value in draws[: 4 + draws[-1] % 9]]
    tags = ["#" + _TAGS[value % len(_TAGS)] for value in draws[13 : 14 + draws[-2] % 8]]
    return " ".join([*words, *tags, "#" + city]).encode()


def draw(number: int) -> NDArray[np.uint8]:
    """One picture, [300, 300, 3] uint8: cloudy textures at every scale, detail in places, edges, weak colour."""
    draws = _random(number * 1_000_003 + 1, 96)

    def pick(at: int, below: int) -> int:
        return int(draws[at] % np.uint64(below))

    def crop(texture: int, at: int) -> NDArray[np.int32]:
        y, x = pick(2 * at, _TILE - SIDE), pick(2 * at + 1, _TILE - SIDE)
        return _textures()[texture][y : y + SIDE, x : x + SIDE].astype(np.int32)

    luma = sum((crop(j, j) * _AMPLITUDES[j] for j in range(3)), np.zeros((SIDE, SIDE), np.int32))
    detail = sum((crop(j, j) * _AMPLITUDES[j] for j in range(3, 8)), np.zeros((SIDE, SIDE), np.int32))
    luma += ((detail * (crop(1, 10) + 128)) >> 7) * (pick(40, 160) + 60) >> 7
    edge, shape = crop(2, 12), crop(3, 13)
    luma += np.where(edge > pick(41, 60) - 30, 2400, -1600).astype(np.int32)
    luma += np.where(shape > 70, 1800, 0).astype(np.int32)
    luma = (luma >> 6) + pick(42, 80) + 70
    blue = (crop(0, 14) * (pick(43, 5) + 2) + crop(2, 15) * 2 + np.where(edge > 0, 90, -90)) >> 4
    red = (crop(0, 16) * (pick(44, 5) + 2) + crop(2, 17) * 2 + np.where(shape > 70, 120, -60)) >> 4
    rgb = np.stack((luma + red, luma - ((blue + 2 * red) >> 2), luma + blue), -1)
    pixels: NDArray[np.uint8] = np.clip(rgb, 0, 255).astype(np.uint8)
    return pixels


@lru_cache(maxsize=1)
def _textures() -> tuple[NDArray[np.int16], ...]:
    """A tile of smooth noise for each cell size, from which pictures are cropped."""
    tiles = []
    for number, cell in enumerate(_CELLS):
        side = _TILE // cell + 2
        lattice = (_random(700 + number, side * side).reshape(side, side) >> np.uint64(56)).astype(np.int32) - 128
        at, part = np.divmod(np.arange(_TILE), cell)
        rows = lattice[at] * (cell - part)[:, None] + lattice[at + 1] * part[:, None]
        both = rows[:, at] * (cell - part)[None, :] + rows[:, at + 1] * part[None, :]
        tiles.append((both // (cell * cell)).astype(np.int16))
    return tuple(tiles)


def _random(seed: int, count: int) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea, Flood 2014) from a counter: the same numbers whatever numpy's generators do."""
    x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _encode(pixels: NDArray[np.uint8], kind: str) -> bytes:
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind, **({"quality": 75} if kind == "JPEG" else {}))
    return sink.getvalue()


def _place(number: int) -> tuple[str, str]:
    slot = (number * 37) % 100
    for split, share in _SPLITS:
        if slot < share:
            return split, CITIES[number // 7 % 10]
        slot -= share
    raise AssertionError


def _identity(number: int) -> str:
    return str(1_480_000_000_000_000_000 + number * 7_654_321_987)
