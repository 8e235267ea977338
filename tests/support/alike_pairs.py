"""A source folder with planted copies: same bytes, re-encoded, mirrored, blank; across splits and labels."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from PIL import Image

from tests.support.lookalikes import jpeg, scene

if TYPE_CHECKING:
    from pathlib import Path

#: split/label/id -> what it is. Every other image is unlike all others.
PLANTED = {
    "train/oslo/900": "first",
    "test/rome/901": "bytes",  # of 900
    "val/oslo/902": "bytes",  # of 900
    "train/rome/910": "second",
    "test/oslo/911": "re-encoded",  # of 910
    "train/oslo/920": "third",
    "test/oslo/921": "mirrored",  # of 920
    "train/oslo/930": "blank",
    "train/rome/931": "blank, brighter",
}
#: Images that remain at each level if one of each group is kept, out of ``SINGLES + len(PLANTED)``.
SURPLUS = {"exact": 2, "re-encode": 3, "edited": 4}
SINGLES = 24


def write_alike_pairs(folder: Path, *, shuffled: int | None = None) -> Path:
    """Write the images with captions; two captions repeat. ``shuffled`` seeds the order of creation."""
    first, second, third = (scene(seed, 120, 120) for seed in (900, 910, 920))
    images = {
        "first": jpeg(first),
        "bytes": jpeg(first),
        "second": jpeg(second),
        "re-encoded": jpeg(second, 60),
        "third": jpeg(third),
        "mirrored": jpeg(third.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        "blank": jpeg(Image.new("RGB", (120, 120), (120, 120, 120))),
        "blank, brighter": jpeg(Image.new("RGB", (120, 120), (140, 140, 140))),
    }
    files = {name: images[kind] for name, kind in PLANTED.items()}
    for number in range(SINGLES):
        split = ("train", "train", "test", "val")[number % 4]
        files[f"{split}/{('oslo', 'rome')[number % 2]}/{number}"] = jpeg(scene(number, 120, 120))
    entries = sorted(files.items())
    if shuffled is not None:
        random.Random(shuffled).shuffle(entries)
    for name, data in entries:
        caption = "\uff33ame  CAPTION #a #b #c" if name.endswith(("/1", "/3")) else f"about {name} <b>&</b> #été"
        for path, payload in ((f"img/{name}.jpg", data), (f"captions/{name}.txt", caption.encode())):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(payload)
    return folder
