"""What others do, as whole commands: ``python -m benchmarks.peers.commands PEER ...``; each uses its library as usual."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def shard_writer(source: str, out: str, shard_samples: str) -> None:
    """Walk the folder and write every pair with webdataset's ShardWriter, split by split."""
    import webdataset

    for split in sorted(os.listdir(f"{source}/img")):
        pattern = f"{out}/{split}-%06d.tar"
        with webdataset.ShardWriter(pattern, maxcount=int(shard_samples), verbose=0) as sink:
            for label in sorted(os.listdir(f"{source}/img/{split}")):
                for name in sorted(os.listdir(f"{source}/img/{split}/{label}")):
                    stem = name.removesuffix(".jpg")
                    with open(f"{source}/img/{split}/{label}/{name}", "rb") as file:
                        image = file.read()
                    with open(f"{source}/captions/{split}/{label}/{stem}.txt", "rb") as file:
                        caption = file.read()
                    sink.write({"__key__": f"{label}/{stem}", "jpg": image, "txt": caption})


def decode(list_file: str, part: str) -> None:
    """Every second file of a list into memory, a line when ready; at a line from stdin decode them all and stop."""
    import simplejpeg

    images = [_read(path) for path in _half(list_file, part)]
    _wait()
    for data in images:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", min_height=1, min_width=1, min_factor=8, strict=True)


def read_hash_decode(list_file: str, part: str) -> None:
    """The same, but each file is read when it is decoded and its bytes go into one SHA-256: the least that a pack does."""
    import simplejpeg

    paths = _half(list_file, part)
    digest = hashlib.sha256()
    _wait()
    for path in paths:
        data = _read(path)
        digest.update(data)
        simplejpeg.decode_jpeg(data, colorspace="GRAY", min_height=1, min_width=1, min_factor=8, strict=True)


def read_hash(list_file: str, part: str) -> None:
    """Every second sample of a list: its files are read, all of their bytes go into one SHA-256, and each sample's into another.

    It is the limit of a pack that decodes nothing: less than this no packer does that has both digests.
    """
    samples = [line.split("\t") for line in _half(list_file, part)]
    whole = hashlib.sha256()
    _wait()
    for paths in samples:
        data = b"".join(map(_read, paths))
        whole.update(data)
        hashlib.sha256(data).digest()


def _half(list_file: str, part: str) -> list[str]:
    with open(list_file, encoding="utf-8") as file:
        return file.read().splitlines()[int(part) :: 2]


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _wait() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


def pillow_resize(data: bytes) -> bytes:
    """The plain way: open, convert, resize to 300x300 with LANCZOS, save with quality 75."""
    from PIL import Image

    sink = io.BytesIO()
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((300, 300), Image.Resampling.LANCZOS)
    image.save(sink, "JPEG", quality=75)
    return sink.getvalue()


def _resize_file(paths: tuple[str, str]) -> None:
    with open(paths[0], "rb") as file:
        data = pillow_resize(file.read())
    with open(paths[1], "wb") as file:
        file.write(data)


def resize(source: str, out: str) -> None:
    """Resize every image of a folder with Pillow into files of another, in two processes."""
    jobs = []
    for parent, _, names in os.walk(source):
        target = os.path.join(out, os.path.relpath(parent, source))
        os.makedirs(target)
        jobs += [(os.path.join(parent, name), os.path.join(target, name)) for name in names]
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_resize_file, jobs, chunksize=8))


def importing() -> None:
    """Print the seconds that ``import wdstools`` takes."""
    start = time.perf_counter()
    import wdstools  # noqa: F401

    sys.stdout.write(f"{time.perf_counter() - start}\n")


_PEERS: dict[str, Callable[..., None]] = {
    "shard-writer": shard_writer,
    "decode": decode,
    "read-hash": read_hash,
    "read-hash-decode": read_hash_decode,
    "resize": resize,
    "importing": importing,
}

if __name__ == "__main__":
    _PEERS[sys.argv[1]](*sys.argv[2:])
