"""torchdata: nodes over ``wt.torch.loader`` and ``StreamDataset``, and StatefulDataLoader; states in the middle of epochs.

    python torchdata_driver.py SHARDS EPOCHS

Prints a JSON object: the keys of each epoch, and of a run that went on from a state.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

from torchdata import nodes
from torchdata.stateful_dataloader import StatefulDataLoader

import wdstools as wt

BATCH = 8


def keys_of(samples: list[dict[str, Any]]) -> list[str]:
    """The keys of a batch."""
    return [sample["__key__"] for sample in samples]


def of_nodes(shards: str) -> Any:
    """Batches through nodes."""
    wrapped = nodes.IterableWrapper(wt.torch.loader(shards, batch_size=BATCH))
    return nodes.Loader(nodes.Prefetcher(nodes.Mapper(wrapped, lambda batch: list(batch["keys"])), prefetch_factor=3))


def of_stateful(shards: str, workers: int) -> Any:
    """Batches of StatefulDataLoader."""
    stream = wt.torch.StreamDataset(shards, batch_size=BATCH)
    return StatefulDataLoader(stream, batch_size=BATCH, num_workers=workers, collate_fn=keys_of)


def main() -> None:
    """The command line."""
    shards, epochs = sys.argv[1], int(sys.argv[2])
    found: dict[str, Any] = {}
    ways = {
        "nodes": lambda: of_nodes(shards),
        "stateful 0": lambda: of_stateful(shards, 0),
        "stateful 2": lambda: of_stateful(shards, 2),
    }
    for name, way in ways.items():
        loader = way()
        found[name] = [list(itertools.chain(*loader)) for _ in range(epochs)]
        first = way()
        begun = list(itertools.chain(*itertools.islice(first, 3)))
        second = way()
        second.load_state_dict(first.state_dict())
        found[f"{name} resumed"] = [begun + list(itertools.chain(*second)), list(itertools.chain(*second))]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
