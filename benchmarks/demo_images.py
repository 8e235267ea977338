"""Whether the demo's made-up images can stand for photographs: their size, and how fast they are decoded."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean
from typing import TYPE_CHECKING

import simplejpeg

from benchmarks.measure import Row, clocked, race
from wdstools.ops.demo.source import image_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.inputs import Setup

_DEMO, _PHOTOS = "RGB decoding of demo images", "of the input's images"


def measure(setup: Setup) -> list[Row]:
    """Mean size of demo images; against the input's images (photographs, with ``--photos``) size and decode rate."""
    count = 20 if setup.tiny else 600
    demo = [image_bytes(number) for number in range(count) if number % 125]  # those that have no planted fault
    given = setup.read_images(len(demo))
    sizes = [mean(map(len, images)) / 1000 for images in (demo, given)]
    inside = 16 <= sizes[0] <= 20
    of_inputs = f"of {len(given)} images of the input"
    rows = [
        Row(
            "demo",
            f"size of {len(demo)} demo images",
            sizes[0],
            "KB",
            of_inputs,
            sizes[1],
            None,
            target="16 to 20 KB",
            met=inside,
        )
    ]
    contenders = {_DEMO: lambda: clocked(lambda: _decode(demo)), _PHOTOS: lambda: clocked(lambda: _decode(given))}
    result = race(contenders, setup.rounds, hasty=setup.tiny)
    per_image = len(demo) / len(given)
    row = result.row((_DEMO, _PHOTOS), of=("demo", len(demo), "images/s"), times=per_image)
    assert row.ratio is not None
    return [*rows, _within(row, 0.85, 1.15)]


def _decode(images: Sequence[bytes]) -> None:
    for data in images:
        simplejpeg.decode_jpeg(data, colorspace="RGB")


def _within(row: Row, low: float, high: float) -> Row:
    assert row.ratio is not None
    return replace(row, target=f"{low:g} to {high:g}", met=low <= row.ratio <= high)
