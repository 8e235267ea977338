"""Which part of the work is this process's: its rank and its worker, found here for every reader.

Asked anew each time a reader begins an epoch or is asked for its length, so that a loader which was made before
``init_process_group`` shares out as well as one that was made after it.
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
    """Rank ``rank`` of ``world_size``, and in it worker ``worker`` of ``workers``; ``told_by`` says who told."""

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    workers: int = 1
    told_by: str = "nobody else reads"

    def __str__(self) -> str:
        part = f", worker {self.worker} of {self.workers}" if self.workers > 1 else ""
        return f"rank {self.rank} of {self.world_size}{part} ({self.told_by})"


def find_role(rank: int | None = None, world_size: int | None = None, inherited: Role | None = None) -> Role:
    """The role of this process.

    Options come first. Then whoever else shares samples out: Accelerate does, where it reads a dataset, so there every
    process gives all. Then ``torch.distributed``, what a worker process inherited of its parent, the variables that
    ``torchrun`` sets, and JAX. A worker process of ``DataLoader`` is a part of its rank.
    """
    worker, workers = _worker() or (0, 1)
    if rank is not None and world_size is not None:
        role = Role(rank, world_size, told_by="rank and world_size were given")
    else:
        role = _accelerate() or _torch() or inherited or _environment() or _jax() or Role()
    return replace(role, worker=worker, workers=workers)


def check_rank(rank: int | None, world_size: int | None) -> None:
    """Raise UsageError for one of the two without the other."""
    if (rank is None) != (world_size is None) and (world_size != 1 and rank != 0):
        raise UsageError(
            "rank and world_size go together",
            where="rank" if rank is None else "world_size",
            expected="both, or neither: torch.distributed, torchrun and JAX are asked then",
            got=f"rank {rank}, world_size {world_size}",
        )


def _worker() -> tuple[int, int] | None:
    """Number and count of ``DataLoader``'s workers, in one of them."""
    data: Any = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return None if info is None else (info.id, info.num_workers)


def worker_pass() -> int | None:
    """A number that all workers of one pass of a ``DataLoader`` share, greater in each later one; None outside workers.

    Workers are started one after the other, and processes are numbered by the one that starts them.
    """
    worker = _worker()
    identity = multiprocessing.current_process()._identity  # noqa: SLF001  # its name holds the same, as text
    return identity[-1] - worker[0] if worker is not None and identity else None


def _accelerate() -> Role | None:
    """Whether Accelerate reads here: it gives each process a part of what every process, or the first one, reads."""
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
    """Raise UsageError (``not-a-dataset``) if a sampler of torch's asks: then a loader was given to a DataLoader.

    DataLoader takes whatever it is given for a dataset, and asks its length for a sampler's sake before it starts
    workers, in which it would fail far from the cause.
    """
    if sys._getframe(2).f_globals.get("__name__") == "torch.utils.data.sampler":  # noqa: SLF001
        raise UsageError(
            "a loader makes batches itself, and is no dataset for a DataLoader",
            code="not-a-dataset",
            where=where,
            hint="use it as it is: for batch in loader; or DataLoader(wt.torch.StreamDataset(...), num_workers=2)",
        )
