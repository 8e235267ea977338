"""Follow Zstandard frames (RFC 8878, 3.1) as their bytes pass: whether the last is complete, and the memory each needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

_MAGIC, _SKIPPABLE = 0xFD2FB528, 0x184D2A50
#: What zstd itself accepts by default.
_LARGEST_WINDOW = 1 << 27
_DICTIONARY_BYTES, _SIZE_BYTES = (0, 1, 2, 4), (0, 2, 4, 8)
_RLE = 1


def begins_frame(head: bytes) -> bool:
    """Whether these first bytes begin a frame, or a skippable frame, which is how pzstd begins."""
    magic = int.from_bytes(head[:4], "little")
    return magic == _MAGIC or magic & ~0xF == _SKIPPABLE


class ZstdFrames:
    """Takes a stream piece by piece and decodes nothing. What is not a frame is left to the decoder."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._held = b""
        self._skip = 0
        self._need = 4
        self._step: Callable[[bytes], None] | None = self._begin
        self._descriptor = 0

    @property
    def whole(self) -> bool:
        """Whether the bytes so far end with a complete frame."""
        return self._step is None or (self._step == self._begin and not self._held and not self._skip)

    def follow(self, data: bytes) -> None:
        """Take the next bytes; raises FormatError (``compression-window``) for a frame that needs too much memory."""
        at = 0
        while at < len(data) and self._step is not None:
            if self._skip:
                passed = min(self._skip, len(data) - at)
                self._skip -= passed
                at += passed
                continue
            part = data[at : at + self._need - len(self._held)]
            self._held += part
            at += len(part)
            if len(self._held) == self._need:
                held, self._held = self._held, b""
                self._step(held)

    def _await(self, need: int, step: Callable[[bytes], None]) -> None:
        self._need, self._step = need, step

    def _begin(self, held: bytes) -> None:
        magic = int.from_bytes(held, "little")
        if magic == _MAGIC:
            self._await(1, self._describe)
        elif magic & ~0xF == _SKIPPABLE:
            self._await(4, self._pass_by)
        else:
            self._step = None

    def _pass_by(self, held: bytes) -> None:
        self._skip = int.from_bytes(held, "little")
        self._await(4, self._begin)

    def _describe(self, held: bytes) -> None:
        self._descriptor = held[0]
        single = held[0] >> 5 & 1
        size = _SIZE_BYTES[held[0] >> 6] or single
        self._await(1 - single + _DICTIONARY_BYTES[held[0] & 3] + size, self._check_window)

    def _check_window(self, held: bytes) -> None:
        if self._descriptor >> 5 & 1:
            kind = self._descriptor >> 6
            window = int.from_bytes(held[_DICTIONARY_BYTES[self._descriptor & 3] :], "little") + 256 * (kind == 1)
        else:
            base = 1 << (10 + (held[0] >> 3))
            window = base + base // 8 * (held[0] & 7)
        if window > _LARGEST_WINDOW:
            raise FormatError(
                "unpacking this stream takes more memory than is allowed",
                code="compression-window",
                where=self._name,
                expected=f"a window of at most {_LARGEST_WINDOW >> 20} MiB",
                got=f"{window >> 20:,} MiB",
                hint="it is not damaged: unpack it with `zstd -d --long=31`, and give the result",
            )
        self._await(3, self._block)

    def _block(self, held: bytes) -> None:
        head = int.from_bytes(held, "little")
        self._skip = 1 if head >> 1 & 3 == _RLE else head >> 3
        if head & 1 == 0:
            self._await(3, self._block)
        elif self._descriptor >> 2 & 1:
            self._await(4, self._end)
        else:
            self._await(4, self._begin)

    def _end(self, held: bytes) -> None:
        del held  # the checksum, which the decoder compares
        self._await(4, self._begin)
