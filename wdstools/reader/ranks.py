"""Which part of the work belongs to this process: its rank and its worker, found here for every reader.

Found anew each time a reader begins an epoch or its length is requested, so that a loader made before
``init_process_group`` shares out as well as one made after it.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import sys
from dataclasses import dataclass, replace
from typing import Any

from wdstools.errors import UsageError


@dataclass(frozen=True, slots=True)
class Role:
    """Rank ``rank`` of ``world_size``, and in it worker ``worker`` of ``workers``; ``told_by`` names the source of this."""

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    workers: int = 1
    told_by: str = "no other process reads"

    def __str__(self) -> str:
        part = f", worker {self.worker} of {self.workers}" if self.workers > 1 else ""
        return f"rank {self.rank} of {self.world_size}{part} ({self.told_by})"


def find_role(rank: int | None = None, world_size: int | None = None, inherited: Role | None = None) -> Role:
    """The role of this process.

    Options come first. Then Accelerate: where it reads a dataset, it shares samples out itself, so every
    process returns all. Then ``torch.distributed``, what a worker process inherited from its parent, the variables that
    ``torchrun`` sets, and JAX. A worker process of ``DataLoader`` takes a part of its rank.
    """
    worker, workers = _worker() or (0, 1)
    if rank is not None and world_size is not None:
        role = Role(rank, world_size, told_by="rank and world_size were given")
    else:
        role = _accelerate() or _torch() or inherited or _environment() or _jax() or Role()
    return replace(role, worker=worker, workers=workers)


def check_rank(rank: int | None, world_size: int | None) -> None:
    """Raise UsageError if only one of the two is given."""
    if (rank is None) != (world_size is None) and (world_size != 1 and rank != 0):
        raise UsageError(
            "rank and world_size go together",
            where="rank" if rank is None else "world_size",
            expected="both, or neither: then torch.distributed, torchrun or JAX decides",
            got=f"rank {rank}, world_size {world_size}",
        )


def _worker() -> tuple[int, int] | None:
    """The number of this ``DataLoader`` worker and the count of workers; None outside workers."""
    data: Any = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return None if info is None else (info.id, info.num_workers)


def worker_pass() -> int | None:
    """A number that all workers of a pass of a ``DataLoader`` share and that grows from pass to pass; None outside workers.

    Workers are started one after the other, and the process that starts them numbers them.
    """
    worker = _worker()
    identity = multiprocessing.current_process()._identity  # noqa: SLF001  # its name holds the same, as text
    return identity[-1] - worker[0] if worker is not None and identity else None


def _accelerate() -> Role | None:
    """The role if Accelerate reads: it gives each process a part of what every process, or the first one, reads."""
    if "accelerate.data_loader" not in sys.modules:
        return None
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "accelerate.data_loader":
            return Role(told_by="Accelerate shares out")
        frame = frame.f_back
    return None


def _torch() -> Role | None:
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return None
    return Role(distributed.get_rank(), distributed.get_world_size(), told_by="torch.distributed")


def _environment() -> Role | None:
    rank, world_size = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if not (rank.isdigit() and world_size.isdigit() and int(rank) < int(world_size)):
        return None
    return Role(int(rank), int(world_size), told_by="RANK and WORLD_SIZE")


def _jax() -> Role | None:
    distributed: Any = getattr(sys.modules.get("jax"), "distributed", None)
    initialized = getattr(distributed, "is_initialized", None)
    if initialized is None or not initialized():
        return None
    jax: Any = sys.modules["jax"]
    return Role(jax.process_index(), jax.process_count(), told_by="JAX")


def refuse_samplers(where: str) -> None:
    """Raise UsageError (``not-a-dataset``) if called from a torch sampler: then a loader was given to a DataLoader.

    DataLoader takes anything as a dataset, and requests its length for a sampler before it starts
    workers, where the error would be far from the cause.
    """
    if sys._getframe(2).f_globals.get("__name__") == "torch.utils.data.sampler":  # noqa: SLF001
        raise UsageError(
            "a loader makes batches itself and is not a dataset for a DataLoader",
            code="not-a-dataset",
            where=where,
            hint="use it as it is: for batch in loader; or DataLoader(wt.torch.StreamDataset(...), num_workers=2)",
        )
