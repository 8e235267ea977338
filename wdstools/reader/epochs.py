"""Which epoch a worker process reads: the same in all workers of a pass, and the next one in the next pass.

A ``DataLoader`` without persistent workers starts new processes for each pass, with a copy of the parent's dataset, and
the parent is not told of passes. So the workers keep the epoch of each pass, by the pass's number
(``ranks.worker_pass``), in memory that they share. All workers of a pass find the same entry before theirs, hence the
same epoch, and write the same: no lock is needed.
"""

from __future__ import annotations

from typing import Any

import torch

_PASSES = 64
_BASE, _GENERATION, _FIRST = 0, 1, 2


class Epochs:
    """The epochs of the passes of worker processes; copies in workers share them, however workers are started."""

    def __init__(self) -> None:
        self._memory = torch.zeros(_FIRST + 2 * _PASSES, dtype=torch.int64).share_memory_()
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {"_memory": self._memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._memory = state["_memory"]
        if not self._memory.is_shared():  # a separate copy, from which workers may be started
            self._memory.share_memory_()

    @property
    def generation(self) -> int:
        """A number that changes with each ``set``."""
        return int(self._memory[_GENERATION])

    def set(self, epoch: int) -> None:
        """Let the next pass be this epoch."""
        self._memory[_BASE] = epoch
        self._forget()
        self._memory[_GENERATION] += 1

    def _forget(self) -> None:
        self._memory[_FIRST : _FIRST + _PASSES] = -1

    def of(self, number: int) -> int:
        """The epoch of a pass: what an earlier worker of it found, or the one after that of the last pass before it."""
        passes, epochs = self._columns()
        known = passes.tolist()
        if number in known:
            return int(epochs[known.index(number)])
        latest = max((one, place) for place, one in enumerate(known))
        epoch = int(self._memory[_BASE]) if latest[0] < 0 else int(epochs[latest[1]]) + 1
        self._enter((latest[1] + 1) % _PASSES, number, epoch)
        return epoch

    def is_first(self, number: int) -> bool:
        """Whether this is the first pass since ``set``."""
        return all(known < 0 or known >= number for known in self._columns()[0].tolist())

    def note(self, number: int, epoch: int) -> None:
        """Record that a pass reads this epoch, whatever was recorded before."""
        known = self._columns()[0].tolist()
        latest = max((one, place) for place, one in enumerate(known))
        self._enter(known.index(number) if number in known else (latest[1] + 1) % _PASSES, number, epoch)

    def _columns(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._memory[_FIRST : _FIRST + _PASSES], self._memory[_FIRST + _PASSES :]

    def _enter(self, place: int, number: int, epoch: int) -> None:
        passes, epochs = self._columns()
        epochs[place] = epoch  # first, so that a process that sees the pass also sees its epoch
        passes[place] = number
