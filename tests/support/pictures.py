"""Small images of every kind, and images whose headers lie."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

EOI = b"\xff\xd9"


def noise(width: int = 40, height: int = 30, channels: int = 3, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random pixels over a gradient, [H, W, C]; [H, W] for one channel."""
    draw = np.random.default_rng(seed)
    base = np.linspace(0, 200, width * height * channels).reshape(height, width, channels)
    pixels = (base + draw.integers(0, 56, base.shape)).astype(np.uint8)
    return pixels[:, :, 0] if channels == 1 else pixels


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (40, 30), seed: int = 0, **options: Any) -> bytes:
    """An image of a Pillow format and mode, filled with noise."""
    sink = io.BytesIO()
    Image.fromarray(noise(*size, seed=seed)).convert(mode).save(sink, kind, **options)
    return sink.getvalue()


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image."""
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def segment(marker: int, payload: bytes) -> bytes:
    """A JPEG marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def after_start(jpeg: bytes, inserted: bytes) -> bytes:
    """A JPEG with bytes inserted right after its start-of-image marker."""
    return jpeg[:2] + inserted + jpeg[2:]


def claiming(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    for marker in (0xC0, 0xC1, 0xC2):
        at = jpeg.find(bytes((0xFF, marker)))
        if at >= 0:
            return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]
    raise AssertionError("no frame header")


def repeating_scans(times: int) -> bytes:
    """A valid progressive JPEG in gray with six scans, and another one of a few bytes, repeated ``times`` times."""
    image = Image.new("L", (64, 64), 128)
    jpeg = saved(image, "JPEG", progressive=True)
    # the last scan corrects the coefficients 1 to 63; the first of these sends 1 to 5: said to be exact, it may come
    # again
    at = jpeg.index(bytes((1, 5, 0x02)))
    start, tables = jpeg.rindex(b"\xff\xda", 0, at), jpeg.rindex(b"\xff\xc4", 0, at)
    end = jpeg.index(b"\xff", at)
    scan = jpeg[start : at + 2] + b"\0" + jpeg[at + 3 : end]
    return jpeg[:-2] + jpeg[tables:start] + scan * times + EOI


def flat_blocks(across: int, down: int, seed: int = 0) -> bytes:
    """A complete baseline JPEG of single-coloured 8x8 squares, luma sampled across x down, written bit by bit."""
    draw, bits, last = np.random.default_rng(seed), "", [0, 0, 0]
    for _ in range(16):
        for part, blocks in ((0, across * down), (1, 1), (2, 1)):
            for _ in range(blocks):
                value = int(draw.integers(-300, 300))
                step, last[part] = value - last[part], value
                # the class of a difference, in four bits, then its bits, then "no more"
                size = abs(step).bit_length()
                bits += (
                    f"{size:04b}" + (f"{step if step > 0 else step + (1 << size) - 1:0{size}b}" if size else "") + "0"
                )
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    sides = struct.pack(">HH", 32 * down, 32 * across)
    frame = b"\x08" + sides + bytes([3, 1, across << 4 | down, 0, 2, 0x11, 0, 3, 0x11, 0])
    tables = b"\0" + bytes([0, 0, 0, 12, *[0] * 12, *range(12)]) + b"\x10" + bytes([1, *[0] * 15, 0])
    parts = [(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), (0xDB, b"\0" + b"\x02" * 64), (0xC0, frame), (0xC4, tables)]
    head = b"".join(segment(*part) for part in parts)
    return b"\xff\xd8" + head + segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0])) + data + EOI


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_claiming(width: int, height: int) -> bytes:
    """A complete PNG in 1-bit gray that inflates to all its claimed pixels from a few kilobytes."""
    deflate = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(deflate.compress(row * min(512, height - top)) for top in range(0, height, 512)) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
