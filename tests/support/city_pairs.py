"""A small source folder in the layout ``img/{split}/{label}/{id}.jpg`` + ``captions/...txt``, the same every time."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("oslo", "rome")


def tiny_jpeg(number: int) -> bytes:
    """A complete JPEG of a few hundred bytes, different for each number."""
    draw = random.Random(number)
    side = draw.randrange(8, 40)
    sink = io.BytesIO()
    Image.frombytes("RGB", (side, side), draw.randbytes(side * side * 3)).save(sink, "JPEG", quality=30)
    return sink.getvalue()


def write_city_pairs(
    folder: Path, *, train: int = 30, val: int = 10, shuffled: int | None = None, damaged: bool = False
) -> Path:
    """Write the pairs; ``shuffled`` seeds the order of creation, ``damaged`` adds an image that cannot be packed."""
    files: list[tuple[Path, bytes]] = []
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            identity = number + (100_000 if split == "val" else 0)
            name = f"{split}/{LABELS[number % len(LABELS)]}/{identity}"
            caption = f"caption {identity} #été " + "word " * (identity % 7 * 30)
            files += [
                (folder / "img" / f"{name}.jpg", tiny_jpeg(identity)),
                (folder / "captions" / f"{name}.txt", caption.encode()),
            ]
    if damaged:
        files += [
            (folder / "img/train/oslo/cut.jpg", tiny_jpeg(7)[:200]),
            (folder / "captions/train/oslo/cut.txt", b"the image is cut"),
        ]
    if shuffled is not None:
        random.Random(shuffled).shuffle(files)
    for path, data in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
