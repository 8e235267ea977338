"""How far a loader may make batches ahead: at most so many, in at most so much memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.errors import UsageError
from wdstools.units import parse_size

if TYPE_CHECKING:
    from wdstools.reader.options import LoaderOptions

#: Fetched bytes may take one part in so many of the memory for everything that is made or fetched ahead.
_FETCHED = 4
_LEAST_FETCHED = 4 << 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """At most ``ahead`` batches in at most ``memory`` bytes, including the one that is handed out; None: no bound."""

    ahead: int | None = None
    memory: int | None = None

    @classmethod
    def of(cls, options: LoaderOptions) -> Bounds:
        """The bounds that these options ask for."""
        memory = options["memory"]
        size = parse_size(memory, "memory") if isinstance(memory, str) else memory
        if size is not None and size < 1:
            raise UsageError("out of range", where="memory", expected="as '2GiB', or bytes", got=str(memory))
        return cls(options["prefetch"], size)

    def fetched(self, sources: int) -> int | None:
        """How many bytes may be fetched ahead for each source; None: the usual number."""
        return None if self.memory is None else max(_LEAST_FETCHED, self.memory // _FETCHED) // sources

    def within(self, ahead: int, batch_bytes: int, *, far: bool) -> int:
        """How many batches of ``batch_bytes`` may be made ahead. Raises UsageError if not even one fits."""
        if self.memory is None:
            return ahead
        room = self.memory - (max(_LEAST_FETCHED, self.memory // _FETCHED) if far else 0)
        if room < 2 * batch_bytes:
            raise UsageError(
                "this memory is too small for two batches: one is handed out while the next is made",
                code="memory-short",
                where="memory",
                expected=f"at least {2 * batch_bytes + self.memory - room:,} bytes",
                got=f"{self.memory:,}",
                hint="allow more memory, or use a smaller batch_size",
            )
        return max(1, min(ahead, room // max(batch_bytes, 1) - 1))
