"""The names of many members at once: where each key ends, and which members form a sample. Pure functions over arrays.

Law: a ``whole`` group is the one that ``ForeignRows`` makes of the same members one by one, whatever comes before
or after, unless its key occurred before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wdstools.formats.tarhop import FILES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.formats.tarhop import TarEntry
    from wdstools.formats.tarrun import Run

_SLASH, _DOT, _UNDERSCORE, _SPACE = b"/._ "


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of adjacent members with one key; all other members are groups of their own.

    ``first`` has the number of each group's first member, and the number of all members at its end. ``whole`` says for each
    whether it begins and ends here, and has only ordinary names. ``dot`` is where the
    key of each member ends.
    """

    first: list[int]
    whole: list[bool]
    dot: list[int]


def groups_of(names: NDArray[np.uint8]) -> Groups:
    """Group members by their names: rows of bytes, padded with zeros."""
    width = int(np.flatnonzero(names.any(axis=0))[-1]) + 1
    names = np.ascontiguousarray(names[:, :width])
    folder = _folder_bytes(names)
    dots = names == _DOT
    if folder.any():
        dots &= np.arange(width) >= folder[:, None]
    dot = np.argmax(dots, axis=1)
    scores = names == _UNDERSCORE
    plain = (
        dots.any(axis=1)
        & (dot > folder)
        & ~(scores[:, 1:] & scores[:, :-1]).any(axis=1)
        & ~(names == _SPACE).any(axis=1)
    )
    alike = names[1:] == names[:-1]
    agree = np.where(alike.all(axis=1), width, np.argmin(alike, axis=1))
    together = plain[1:] & plain[:-1] & (dot[1:] == dot[:-1]) & (agree >= dot[1:])
    first = np.concatenate(([0], np.flatnonzero(~together) + 1))
    whole = plain[first]
    whole[:-1] &= plain[first[1:]]
    whole[-1] = False  # the next member may belong to it
    return Groups([*first.tolist(), len(names)], whole.tolist(), dot.tolist())


def _folder_bytes(names: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many bytes of each name are its folder, including the slash."""
    slashes = names == _SLASH
    return np.where(slashes.any(axis=1), names.shape[1] - np.argmax(slashes[:, ::-1], axis=1), 0)


class RunMembers:
    """The entries of a run as Python values, and the bytes that contain them: ``data``, at ``base``."""

    def __init__(self, run: Run, data: memoryview, base: int) -> None:
        self.names: list[bytes] = run.names.view(f"S{run.names.shape[1]}").ravel().tolist()
        self.start: list[int] = run.start.tolist()
        self.offset: list[int] = run.offset.tolist()
        self.size: list[int] = run.size.tolist()
        self.extensions: list[bytes] = []
        self._data = data
        self._base = base

    def split(self, dot: list[int]) -> None:
        """Set the extensions: the part of each name after the byte where its key ends."""
        self.extensions = [name[at + 1 :] for name, at in zip(self.names, dot, strict=True)]

    def entry(self, number: int) -> TarEntry:
        """One entry as ``hop`` returns it."""
        return self.names[number], FILES[0], self.start[number], self.offset[number], self.size[number], b""

    def between(self, start: int, end: int) -> memoryview:
        """Bytes of the tar."""
        return self._data[start - self._base : end - self._base]

    def payloads(self, part: slice) -> list[memoryview]:
        """The payloads of some members."""
        data, base = self._data, self._base
        return [data[at - base : at - base + size] for at, size in zip(self.offset[part], self.size[part], strict=True)]
