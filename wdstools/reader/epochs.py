"""Which epoch a worker process reads: the same in all workers of a pass, the next one in each later pass.

A ``DataLoader`` whose workers do not persist starts each pass with new processes, made of the dataset as it is in the
parent, which hears nothing of passes. So what workers know lies in memory that all of them share: each pass by its
number (``role.worker_pass``), with its epoch. All workers of a pass find the same entry before theirs, hence the same
epoch, and write the same: no lock is needed.
"""

from __future__ import annotations

from typing import Any

import torch

_PASSES = 64
_BASE, _GENERATION, _FIRST = 0, 1, 2


class Epochs:
    """Epochs of the passes of worker processes; copies in workers share them, however workers are started."""

    def __init__(self) -> None:
        self._memory = torch.zeros(_FIRST + 2 * _PASSES, dtype=torch.int64).share_memory_()
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {"_memory": self._memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._memory = state["_memory"]
        if not self._memory.is_shared():  # a copy of its own, of which workers may be started
            self._memory.share_memory_()

    @property
    def generation(self) -> int:
        """Another number after each ``set``."""
        return int(self._memory[_GENERATION])

    def set(self, epoch: int) -> None:
        """Let the next pass be this epoch."""
        self._memory[_BASE] = epoch
        self._forget()
        self._memory[_GENERATION] += 1

    def _forget(self) -> None:
        self._memory[_FIRST : _FIRST + _PASSES] = -1

    def of(self, number: int) -> int:
        """The epoch of a pass: what an earlier worker of it found, or the one behind the latest before it."""
        passes, epochs = self._columns()
        known = passes.tolist()
        if number in known:
            return int(epochs[known.index(number)])
        latest = max((one, place) for place, one in enumerate(known))
        epoch = int(self._memory[_BASE]) if latest[0] < 0 else int(epochs[latest[1]]) + 1
        self._enter((latest[1] + 1) % _PASSES, number, epoch)
        return epoch

    def is_first(self, number: int) -> bool:
        """Whether no pass before this one began since ``set``."""
        return all(known < 0 or known >= number for known in self._columns()[0].tolist())

    def note(self, number: int, epoch: int) -> None:
        """Note that a pass reads this epoch, whatever was found for it."""
        known = self._columns()[0].tolist()
        latest = max((one, place) for place, one in enumerate(known))
        self._enter(known.index(number) if number in known else (latest[1] + 1) % _PASSES, number, epoch)

    def _columns(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._memory[_FIRST : _FIRST + _PASSES], self._memory[_FIRST + _PASSES :]

    def _enter(self, place: int, number: int, epoch: int) -> None:
        passes, epochs = self._columns()
        epochs[place] = epoch  # first, so that whoever sees the pass sees its epoch
        passes[place] = number
