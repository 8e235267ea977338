"""What a member of a sample becomes in a batch: decoders by extension, and how values of many samples are combined."""

from __future__ import annotations

import functools
import io
import json
import math
import struct
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wdstools.foreign.member_meaning import CAPTION_EXTENSIONS
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.images.check import DEFAULT_MAX_PIXELS, DamagedImageError, open_image

Decode = Callable[[bytes], Any]

_MAX_ARCHIVE_BYTES = 2 << 30
_MAX_HEADER_BYTES = 1 << 16
_PARSING = threading.Lock()


class UndecodedError(ValueError):
    """A member that is as packed, but not what its extension says; ``expected`` is what that would be."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


def decoder_of(extension: str, given: Mapping[str, Decode]) -> Decode:
    """The decoder of a member: one given for its extension or the last part of it, otherwise the default.

    Text, JSON, ``npy`` and ``npz`` (nothing pickled) are decoded, and so are images that are not the sample's image: as
    stored, so a mask keeps its numbers. Everything else stays bytes.
    """
    last = extension.rpartition(".")[2].lower()
    for name in (extension, last):
        if name in given:
            return given[name]
    if last in TYPE_OF_EXTENSION:
        return _pixels_as_stored
    return _USUAL.get(last, bytes)


def _text(data: bytes) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise UndecodedError("UTF-8 text", str(error)) from None


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UndecodedError("JSON", str(error)) from None


def _npy(data: bytes) -> Any:
    try:
        version = np.lib.format.read_magic(io.BytesIO(data))
        size, width = (
            (struct.unpack_from("<H", data, 8)[0], 2) if version == (1, 0) else (*struct.unpack_from("<I", data, 8), 4)
        )
        start = 8 + width + size
        shape, by_columns, dtype = _array_header(data[:start] if start <= _MAX_HEADER_BYTES else b"")
        count = math.prod(shape)
        # a header may claim more data than there is memory
        if dtype.hasobject or count * dtype.itemsize > len(data) - start:
            raise ValueError(f"{len(data) - start} bytes of {dtype} {shape}")  # noqa: TRY301
        if not dtype.itemsize:
            return np.zeros(shape, dtype)
        return np.frombuffer(data, dtype, count, start).reshape(shape, order="F" if by_columns else "C").copy("K")
    except (ValueError, EOFError, TypeError, SyntaxError, OverflowError, struct.error) as error:
        raise UndecodedError("a whole .npy without pickled objects", str(error)) from None


@functools.lru_cache(maxsize=1024)
def _array_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and dtype. One thread at a time: CPython's parser counts its depth across all threads (gh-106905)."""
    read = np.lib.format.read_array_header_1_0 if head[6:7] == b"\x01" else np.lib.format.read_array_header_2_0
    with _PARSING:
        shape, by_columns, dtype = read(io.BytesIO(head[8:]))
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}")
    return tuple(map(int, shape)), by_columns, dtype


def _npz(data: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MAX_ARCHIVE_BYTES:
                raise UndecodedError(f"an .npz of at most {_MAX_ARCHIVE_BYTES:,} bytes", "more")
            return {name.removesuffix(".npy"): _npy(archive.read(name)) for name in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError, KeyError) as error:
        raise UndecodedError("an .npz", str(error)) from None


def _pixels_as_stored(data: bytes) -> Any:
    """Pixels without any conversion: palette indices, 16 bits and alpha channels are kept."""
    try:
        with open_image(data) as image:
            if image.width * image.height > DEFAULT_MAX_PIXELS:
                raise UndecodedError(
                    f"an image of at most {DEFAULT_MAX_PIXELS:,} pixels", f"{image.width}x{image.height}"
                )
            return np.array(image)
    except (DamagedImageError, OSError, SyntaxError, EOFError) as error:
        raise UndecodedError("an image", str(error)) from None


_USUAL: dict[str, Decode] = {"json": _json, "npy": _npy, "npz": _npz, **dict.fromkeys(CAPTION_EXTENSIONS, _text)}


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor; does not import torch."""
    return _is_tensor_type(type(value))


def has_tensors(values: Sequence[Any]) -> bool:
    """Whether any of the values is a torch tensor: looks at types, of which a batch of captions has one."""
    return any(map(_is_tensor_type, set(map(type, values))))


def _is_tensor_type(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("torch", "torchvision") and hasattr(kind, "detach")


def joined(values: Sequence[Any]) -> Any:
    """The values of a field, one per row, as one array or tensor if shapes and dtypes agree; otherwise as a list.

    Types are not mixed: integers become int64, floats float64, bools bool, each only among themselves.
    """
    first: Any = values[0] if values else None
    if is_tensor(first):
        if all(is_tensor(v) and v.shape == first.shape and v.dtype == first.dtype for v in values):
            import torch

            return torch.stack(list(values))
    elif isinstance(first, np.ndarray | np.generic):
        alike = all(
            isinstance(v, np.ndarray | np.generic) and v.shape == first.shape and v.dtype == first.dtype for v in values
        )
        if alike and not first.dtype.hasobject:
            return np.stack(values)
    else:
        for kind, dtype in ((bool, np.bool_), (int, np.int64), (float, np.float64)):
            if all(type(value) is kind for value in values):
                try:
                    return np.array(values, dtype)
                except OverflowError:
                    break
    return list(values)
