"""Resizing to 300x300 at quality 75 against plain Pillow: a core's speed, the pixels' quality, and whole commands."""

from __future__ import annotations

import io
import os
import shutil
import time
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.measure import WDSTOOLS, Row, clocked, clocked_command, race, settle
from benchmarks.pack import PEERS
from benchmarks.peers.commands import pillow_resize
from wdstools.images.encoding import Encoding
from wdstools.images.resize import decode_rgb, fit, reencode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.inputs import Setup

SIDE = 300
#: The longer sides of what phones and sites hand out.
_SOURCES = (1080, 640)
#: Square, landscape, portrait.
_ASPECTS = ((1.0, 1.0), (1.0, 0.75), (0.8, 1.0))
_ENCODING = Encoding(side=SIDE, mode="stretch", quality=75)


def measure(setup: Setup) -> list[Row]:
    """For each size of source: images a second of processor time, PSNR, and ``pack --resize`` end to end."""
    rows = []
    for longer in _SOURCES:
        images = large_images(setup, longer, 3 if setup.tiny else 60)
        rows += _measure_core(setup, longer, images)
        rows.append(_measure_quality(longer, images[: 3 if setup.tiny else 12]))
        rows.append(_measure_pack(setup, longer, images))
    return rows


def _measure_core(setup: Setup, longer: int, images: Sequence[bytes]) -> list[Row]:
    ours, pillow = f"reencode {longer} px to {SIDE}", "Pillow, open to save"
    contenders = {
        ours: lambda: clocked(lambda: [reencode(data, _ENCODING) for data in images], time.process_time),
        pillow: lambda: clocked(lambda: [pillow_resize(data) for data in images], time.process_time),
    }
    contenders[ours]()  # compiles
    result = race(contenders, setup.rounds, hasty=setup.tiny)
    return [result.row((ours, pillow), of=("resize", len(images), "images/CPU-s"), at_least=1.2)]


def _measure_quality(longer: int, images: Sequence[bytes]) -> Row:
    """PSNR before encoding, both against Lanczos in 64-bit floating point of the same decoded pixels."""
    ours, pillow = [], []
    for data in images:
        pixels = decode_rgb(data)
        exact = lanczos_float64(pixels, SIDE)
        ours.append(psnr(fit(pixels, SIDE, "stretch"), exact))
        with Image.open(io.BytesIO(data)) as image:
            resized = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        pillow.append(psnr(np.asarray(resized), exact))
    difference = mean(ours) - mean(pillow)
    what = f"{longer} px to {SIDE}, against exact Lanczos"
    return Row(
        "resize",
        what,
        mean(ours),
        "dB PSNR",
        "Pillow",
        mean(pillow),
        target=">= Pillow's - 0.1 dB",
        met=difference >= -0.1,
    )


def _measure_pack(setup: Setup, longer: int, images: Sequence[bytes]) -> Row:
    """A folder of such images into shards, against Pillow in two processes writing files."""
    source, out = f"{setup.scratch}/large-{longer}", f"{setup.scratch}/resized"
    count = min(setup.samples, 12 if setup.tiny else 3_000)  # some ten seconds, so that starting does not decide
    shutil.rmtree(source, ignore_errors=True)
    for number in range(count):
        for kind, suffix, data in (
            ("img", "jpg", images[number % len(images)]),
            ("captions", "txt", b"caption %d" % number),
        ):
            os.makedirs(f"{source}/{kind}/train/london", exist_ok=True)
            with open(f"{source}/{kind}/train/london/{number:06d}.{suffix}", "wb") as file:
                file.write(data)
    options = ["--resize", str(SIDE), "-j2", "--shard-samples", str(max(6, count // 20)), "-q", "--no-progress"]
    ours, pillow = f"wdstools pack --resize {SIDE} -j2, {longer} px", "Pillow in two processes, to files"

    def fresh(command: Sequence[str]) -> float:
        shutil.rmtree(out, ignore_errors=True)
        settle()
        return clocked_command(command)

    contenders = {
        ours: lambda: fresh([*WDSTOOLS, "pack", source, out, *options]),
        pillow: lambda: fresh([*PEERS, "resize", f"{source}/img", out]),
    }
    result = race(contenders, max(1, setup.rounds // 2), hasty=setup.tiny)
    return result.row((ours, pillow), of=("resize", count, "images/s"), at_least=1.2)


def large_images(setup: Setup, longer: int, count: int) -> list[bytes]:
    """JPEGs of quality 90 whose longer side is ``longer``, made from the originals, or from the input's own images."""
    paths = setup.photos or setup.images
    found = []
    for number, path in enumerate(paths[:: max(1, len(paths) // count)]):
        across, down = (round(longer * part) for part in _ASPECTS[number % len(_ASPECTS)])
        try:
            with Image.open(path) as image:
                large = image.convert("RGB").resize((across, down), Image.Resampling.LANCZOS)
        except OSError:
            continue  # the demo plants damage
        sink = io.BytesIO()
        large.save(sink, "JPEG", quality=90)
        found.append(sink.getvalue())
        if len(found) == count:
            break
    return found


def lanczos_float64(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """Lanczos-3 to side x side without any rounding: support stretched with the scale, weights normalised."""
    across, down = (_weights(size, side) for size in (pixels.shape[1], pixels.shape[0]))
    exact: NDArray[np.float64] = np.einsum("yi,ijc,xj->yxc", down, pixels.astype(np.float64), across, optimize=True)
    return exact


def _weights(size: int, side: int) -> NDArray[np.float64]:
    scale = size / side
    stretch = max(scale, 1.0)
    centers = (np.arange(side) + 0.5) * scale
    x = (np.arange(size)[None, :] + 0.5 - centers[:, None]) / stretch
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)
    normalised: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return normalised


def psnr(pixels: NDArray[np.uint8], exact: NDArray[np.float64]) -> float:
    """Peak signal to noise in dB; values beyond 0 to 255 are clipped in both."""
    error = pixels.astype(np.float64) - np.clip(exact, 0, 255)
    return float(10 * np.log10(255**2 / np.mean(error**2)))
