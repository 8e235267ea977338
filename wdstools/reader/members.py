"""What a member of a sample becomes in a batch: decoders by extension, and how the values of many samples are joined."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wdstools.foreign.member_meaning import CAPTION_EXTENSIONS
from wdstools.images.check import DEFAULT_MAX_PIXELS, TYPE_OF_EXTENSION, DamagedImageError, open_image

Decode = Callable[[bytes], Any]

_MAX_ARCHIVE_BYTES = 2 << 30


class UndecodedError(ValueError):
    """A member that is as it was packed, but not what its extension says; ``expected`` is what that would be."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


def decoder_of(extension: str, given: Mapping[str, Decode]) -> Decode:
    """The decoder of a member: one that was given for its extension or the last part of it, else the usual one.

    Text and JSON are decoded, ``npy`` and ``npz`` (nothing pickled), and images that are not the sample's image: as
    they are stored, a mask's numbers included. Everything else stays bytes.
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
        raise UndecodedError("UTF-8 text", str(error)) from error


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UndecodedError("JSON", str(error)) from error


def _npy(data: bytes) -> Any:
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        wanted = int(np.prod([int(side) for side in shape], dtype=object)) * dtype.itemsize
        # a header may ask for more memory than there is
        if not dtype.hasobject and wanted > len(data) - file.tell():
            raise UndecodedError("a whole .npy", f"{len(data) - file.tell()} of {wanted} bytes")  # noqa: TRY301
        return np.load(io.BytesIO(data), allow_pickle=False)
    except UndecodedError:
        raise
    except (ValueError, EOFError, TypeError, SyntaxError, OverflowError) as error:
        raise UndecodedError("an .npy without pickled objects", str(error)) from error


def _npz(data: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MAX_ARCHIVE_BYTES:
                raise UndecodedError(f"an .npz of at most {_MAX_ARCHIVE_BYTES:,} bytes", "more")
            return {name.removesuffix(".npy"): _npy(archive.read(name)) for name in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError, KeyError) as error:
        raise UndecodedError("an .npz", str(error)) from error


def _pixels_as_stored(data: bytes) -> Any:
    """Pixels without any conversion: a palette's numbers, 16 bits, a channel of alpha."""
    try:
        with open_image(data) as image:
            if image.width * image.height > DEFAULT_MAX_PIXELS:
                raise UndecodedError(
                    f"an image of at most {DEFAULT_MAX_PIXELS:,} pixels", f"{image.width}x{image.height}"
                )
            return np.array(image)
    except (DamagedImageError, OSError, SyntaxError, EOFError) as error:
        raise UndecodedError("an image", str(error)) from error


_USUAL: dict[str, Decode] = {"json": _json, "npy": _npy, "npz": _npz, **dict.fromkeys(CAPTION_EXTENSIONS, _text)}


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of torch, which is asked only where it has been imported."""
    return type(value).__module__.partition(".")[0] in ("torch", "torchvision") and hasattr(value, "detach")


def joined(values: Sequence[Any]) -> Any:
    """The values of a field, row by row, as one array or tensor where shapes and dtypes agree; else the list.

    Nothing is cast: whole numbers become int64, floats float64, booleans bool, each only among themselves.
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
