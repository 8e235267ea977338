"""One state from the states of a ``StatefulDataLoader``'s workers, so that a run can continue with another number of them.

torchdata saves a state for each worker and refuses to start another number of workers from them. But if the dataset
was given DataLoader's batch size, batches are handed out in the order of ``wt.loader``, one worker after the other. So
what all of them have handed out together is a prefix of that order, and its end is a state.
"""

from __future__ import annotations

from typing import Any

from wdstools.errors import UsageError

# torchdata's names, the same in every version that has the class
_SNAPSHOT, _SINCE, _FINISHED = "_snapshot", "_steps_since_snapshot", "_iterator_finished"
_WORKERS, _DATASET, _FETCHED = "_worker_snapshots", "dataset_state", "_num_yielded"


def is_of_loader(state: Any) -> bool:
    """Whether this is the state of a ``StatefulDataLoader``, and not of a dataset."""
    return isinstance(state, dict) and (_SNAPSHOT in state or _FETCHED in state)


def state_of_loader(state: dict[str, Any], count: int, global_batch: int) -> dict[str, Any]:
    """The state of the dataset at the position of a ``StatefulDataLoader``.

    ``count`` samples are dealt out in global batches of this size. Raises UsageError (``state-refused``) if the
    loader's batches were not those of the dataset.
    """
    if _SNAPSHOT not in state:  # without workers the dataset's own state is enough
        return {**_known(state.get(_DATASET)), "worker": 0, "workers": 1}
    workers = state[_SNAPSHOT].get(_WORKERS, {}) if isinstance(state[_SNAPSHOT], dict) else {}
    states = [_known(worker.get(_DATASET) if isinstance(worker, dict) else None) for worker in workers.values()]
    if not states:
        raise _refused("it has no worker")
    first = min(states, key=lambda one: (one["epoch"], one["position"]))
    position = first["position"] + int(state.get(_SINCE, 0)) * global_batch
    for one in states:
        ahead = one["position"] - first["position"]
        if one["epoch"] != first["epoch"] or ahead not in (0, len(states) * global_batch, count - first["position"]):
            raise _refused("its batches are not those of the dataset")
        position += global_batch if ahead else 0
    epoch = first["epoch"]
    if position >= count or (position and state.get(_FINISHED)):
        epoch, position = epoch + 1, 0
    damaged = list(dict.fromkeys(key for one in states for key in one["damaged"]))
    return {**first, "epoch": epoch, "position": position, "damaged": damaged, "worker": 0, "workers": 1}


def _known(state: Any) -> dict[str, Any]:
    numbers = ("epoch", "position")
    if not isinstance(state, dict) or any(type(state.get(name)) is not int for name in numbers):
        raise _refused("it has no state of this dataset")
    if not isinstance(state.get("damaged"), list):
        raise _refused("it has no state of this dataset")
    return state


def _refused(why: str) -> UsageError:
    return UsageError(
        f"this state of a StatefulDataLoader cannot continue with another number of workers: {why}",
        code="state-refused",
        where="load_state_dict",
        hint="give StreamDataset the batch_size of the loader; or continue with the same num_workers, "
        "through the load_state_dict of the loader",
    )
