"""Two ranks by gloo: plain DDP, FSDP and Accelerate, each rank its part and together everything.

    python ranks_driver.py SHARDS PORT RANK WORLD_SIZE EPOCHS WHAT

``WHAT`` is ddp, fsdp or accelerate. Prints a JSON object: this rank's keys of each epoch, for every way of reading.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

import torch
from torch import distributed

import wdstools as wt

warnings.simplefilter("ignore")
BATCH = 4


def keys_of(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch of samples: the numbers of their keys, so that it is made of tensors."""
    return {"numbers": torch.tensor([int(sample["__key__"].rpartition("/")[2]) for sample in samples])}


def own(batch: Any) -> list[str]:
    """The keys of a batch that are not padding."""
    return [key for key, mine in zip(batch["keys"], batch["mask"].tolist(), strict=True) if mine]


def train(model: torch.nn.Module, loader: Any, epochs: int) -> list[list[str]]:
    """Epochs of a plain loop; the keys of each."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[list[str]] = []
    for _ in range(epochs):
        seen.append([])
        for batch in loader:
            seen[-1] += own(batch)
            scores = model(batch["images"].float().mean((2, 3)) / 255)
            loss = torch.nn.functional.cross_entropy(scores, batch["labels"] % 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return seen


def with_accelerate(shards: str, epochs: int) -> dict[str, Any]:
    """Each kind of dataset, as Accelerate prepares it."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    found: dict[str, Any] = {}
    loader = accelerator.prepare(wt.torch.loader(shards, batch_size=BATCH))
    model = accelerator.prepare(torch.nn.Linear(3, 2))
    found["loader"] = train(model, loader, epochs)
    datasets: dict[str, Any] = {
        "stream": lambda: (wt.torch.StreamDataset(shards, batch_size=BATCH), {"batch_size": BATCH}),
        "sampler": lambda: (
            wt.torch.MapDataset(shards),
            {"batch_sampler": wt.torch.BatchSampler(shards, batch_size=BATCH)},
        ),
    }
    for name, made in datasets.items():
        for workers in (0, 2):
            dataset, options = made()
            prepared = accelerator.prepare(
                torch.utils.data.DataLoader(dataset, collate_fn=keys_of, num_workers=workers, **options)
            )
            found[f"{name} {workers}"] = [
                [number for batch in prepared for number in batch["numbers"].tolist()] for _ in range(epochs)
            ]
    return found


def main() -> None:
    """The command line."""
    shards, port, rank, world_size, epochs, what = sys.argv[1:]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "WORLD_SIZE": world_size}
    os.environ |= {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world_size}
    torch.set_num_threads(1)
    if what == "accelerate":
        found = with_accelerate(shards, int(epochs))
    else:
        loader = wt.torch.loader(shards, batch_size=BATCH)  # ranks are found when they are there
        distributed.init_process_group("gloo")
        model: Any = torch.nn.Linear(3, 2)
        if what == "ddp":
            model = torch.nn.parallel.DistributedDataParallel(model)
        else:
            from torch.distributed.fsdp import fully_shard

            fully_shard(model, mesh=torch.distributed.device_mesh.init_device_mesh("cpu", (int(world_size),)))
        found = {"loader": train(model, loader, int(epochs))}
    print(json.dumps(found), flush=True)
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
