"""Grain over ArrayRecord files. ``default`` decodes with Pillow in worker processes, ``best`` simplejpeg in threads."""

from __future__ import annotations

import io
import os
import struct
from typing import TYPE_CHECKING, Any

import grain.python as grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "grain"


def prepare(task: dict[str, Any]) -> None:
    """One ArrayRecord file: the length of the image, the image, the caption."""
    folder = task["files"]
    writer = ArrayRecordWriter(task["prepared"], "group_size:1,uncompressed")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".jpg"):
            with open(f"{folder}/{name}", "rb") as image, open(f"{folder}/{name[:-4]}.txt", "rb") as caption:
                data = image.read()
                writer.write(struct.pack("<I", len(data)) + data + caption.read())
    writer.close()


def _split(record: bytes) -> tuple[bytes, str]:
    end = 4 + struct.unpack_from("<I", record)[0]
    return record[4:end], record[end:].decode()


def _decode(record: bytes) -> tuple[Any, str]:
    from PIL import Image

    image, caption = _split(record)
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB")), caption


def _decode_fast(record: bytes) -> tuple[Any, str]:
    import simplejpeg

    image, caption = _split(record)
    return simplejpeg.decode_jpeg(image), caption


def _stack(samples: list[tuple[Any, str]]) -> tuple[Any, list[str]]:
    return np.stack([image for image, _ in samples]), [caption for _, caption in samples]


def _records(task: dict[str, Any]) -> Any:
    made = grain.MapDataset.source(grain.ArrayRecordDataSource(task["prepared"]))
    return made.shuffle(seed=0).repeat() if task["shuffle"] else made.repeat()


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Undecoded samples by number, one process."""
    records = _records(task).map(_split)
    number = 0
    while True:
        _ = records[number]
        number += 1
        yield 1


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches."""
    threads = task["variant"] == "best"
    made = _records(task).map(_decode_fast if threads else _decode).batch(task["batch_size"], batch_fn=_stack)
    reading = grain.ReadOptions(num_threads=task["threads"] if threads else 1, prefetch_buffer_size=4)
    loaded = made.to_iter_dataset(reading)
    if not threads:
        loaded = loaded.mp_prefetch(grain.MultiprocessingOptions(num_workers=task["threads"]))
    for images, _ in loaded:
        yield len(images)
