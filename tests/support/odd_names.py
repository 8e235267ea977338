"""A source folder whose names need every kind of escape, for reading back with other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.city_pairs import tiny_jpeg

if TYPE_CHECKING:
    from pathlib import Path

#: Image stems with dots, spaces, characters of escapes, other alphabets, and tails that are shortened.
STEMS = (
    "1413",
    "a.b.c",
    "two words",
    "100%",
    "%41",
    "til~de",
    "x+y=z,(1)&[2]",
    "café",
    "朝ごはん",
    "-dash",
    "under_score",
    "a" * 96,
    "b." * 60,
    "ü" * 40,
)
LABELS = ("new york", "oslo")
CAPTIONS = (
    b"plain",
    "été ☕ 旅行".encode(),
    b"",
    b"line one\r\nline two\n",
    b"\n",
    b" trailing space ",
    b"nul \x00 byte",
)


def write_odd_names(folder: Path) -> dict[str, tuple[bytes, bytes]]:
    """Write ``{label}/{stem}.jpg`` and ``.txt``; returns image and caption for each ``label/stem``."""
    written = {}
    for number, stem in enumerate(STEMS):
        label = LABELS[number % 2]
        image, caption = tiny_jpeg(number), CAPTIONS[number % len(CAPTIONS)]
        home = folder / label
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{stem}.jpg").write_bytes(image)
        (home / f"{stem}.txt").write_bytes(caption)
        written[f"{label}/{stem}"] = (image, caption)
    return written
