"""Steps on images: ``python -m benchmarks.steps [--photos FOLDER] [--side 1000]``; figures are ratios of one run.

Large images through ``wt.image`` beside a scaled decode written by hand, in one thread each; and a function that holds
Python's lock for some milliseconds in threads and in processes.
"""

from __future__ import annotations

import argparse
import glob
import math
import os
import sys
import tempfile
import time
from statistics import median
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

import wdstools as wt
from benchmarks.machine import facts
from wdstools.executors.open import open_executor
from wdstools.ops.bench.machine import Others
from wdstools.ops.demo.source import make_source
from wdstools.progress import Silent

_SIDE, _COUNT, _ROUNDS = 224, 300, 3
_LOOPS = 80_000
_RNG = np.random.default_rng(0)
_MEAN, _STD = (np.array(values, np.float32) for values in wt.image.IMAGENET)


def by_hand(data: bytes) -> Any:
    """What wt.image does, as somebody would write it: a scaled decode by simplejpeg, Pillow's resize of a part."""
    height, width = simplejpeg.decode_jpeg_header(data)[:2]
    area, ratio = _RNG.uniform(0.08, 1) * height * width, math.exp(_RNG.uniform(math.log(3 / 4), math.log(4 / 3)))
    wide, tall = min(width, round(math.sqrt(area * ratio))), min(height, round(math.sqrt(area / ratio)))
    top, left = _RNG.integers(0, height - tall + 1), _RNG.integers(0, width - wide + 1)
    times = next((times for times in (8, 4, 2) if min(tall, wide) >= times * _SIDE), 1)
    room = (
        {} if times == 1 else {"min_height": -(-height // times), "min_width": -(-width // times), "min_factor": times}
    )
    pixels = Image.fromarray(simplejpeg.decode_jpeg(data, **room))
    box = (left / times, top / times, (left + wide) / times, (top + tall) / times)
    part = pixels.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box=box)
    return np.ascontiguousarray(((np.asarray(part, np.float32) / 255 - _MEAN) / _STD).transpose(2, 0, 1))


def holding(image: Any, random: np.random.Generator) -> Any:  # noqa: ARG001
    """Some milliseconds of Python."""
    total = 0
    for number in range(_LOOPS):
        total += number * number
    return image[:64, :64]


def rate(loader: Any) -> float:
    """Samples a second of one epoch."""
    begin = time.perf_counter()
    count = sum(len(batch) for batch in loader)
    return count / (time.perf_counter() - begin)


def prepare(scratch: str, photos: str | None, side: int) -> str:
    """A dataset of images of side x side."""
    if photos is None:
        make_source(f"{scratch}/demo", _COUNT, executor=open_executor("serial"), progress=Silent())
        photos = f"{scratch}/demo"
    files = [
        path
        for path in sorted(glob.glob(f"{glob.escape(photos)}/**/*", recursive=True))
        if path.lower().endswith((".jpg", ".jpeg"))
    ]
    os.makedirs(f"{scratch}/images")
    made = 0
    for path in files:
        try:
            image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        except OSError:  # the demo has damaged ones
            continue
        image.save(f"{scratch}/images/{made:05}.jpg", quality=88)
        made += 1
        if made == _COUNT:
            break
    if not made:
        raise SystemExit(f"no JPEG in {photos}")
    wt.pack(f"{scratch}/images", f"{scratch}/shards", captions="none")
    return f"{scratch}/shards"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", metavar="FOLDER", help="JPEGs to enlarge; without it, demo images")
    parser.add_argument("--side", type=int, default=1000, help="%(default)s pixels")
    arguments = parser.parse_args()
    others = Others()
    with tempfile.TemporaryDirectory() as scratch:
        shards = prepare(scratch, arguments.photos, arguments.side)
        crop, normal = wt.image.random_resized_crop(_SIDE), wt.image.normalize()
        steps = wt.image.pipeline(crop, wt.image.flip(), normal, layout="NCHW")
        usual: dict[str, Any] = {"batch_size": 24, "remainder": "drop"}
        works = {
            "wt.image": wt.loader(shards, threads=1, image_transform=steps, **usual),
            "by hand": wt.loader(shards, threads=1, decoders={"jpg": by_hand}, **usual),
            "1 thread": wt.loader(shards, threads=1, image_transform=holding, **usual),
            "2 threads": wt.loader(shards, threads=2, image_transform=holding, **usual),
            "2 processes": wt.loader(shards, threads=2, workers="processes", image_transform=holding, **usual),
        }
        found: dict[str, list[float]] = {name: [] for name in works}
        for loader in works.values():
            next(iter(loader))
        for _ in range(_ROUNDS):
            for name, loader in works.items():
                found[name].append(rate(loader))
        for loader in works.values():
            loader.close()
    pairs = (("wt.image", "by hand"), ("2 threads", "1 thread"), ("2 processes", "1 thread"))
    for name, base in pairs:
        ratios = [one / other for one, other in zip(found[name], found[base], strict=True)]
        sys.stdout.write(f"{name:<12} {median(ratios):.2f} times {base}   ({min(ratios):.2f} to {max(ratios):.2f})\n")
    told = facts(tempfile.gettempdir())
    sys.stdout.write(f"{told['cpu']}, {told['cores']} cores; other programs kept {others.cores():.2f} cores busy\n")


if __name__ == "__main__":
    main()
