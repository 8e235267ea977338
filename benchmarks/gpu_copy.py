"""The copy of batches to a CUDA device: pinned and double-buffered as ``wt.torch.loader(device="cuda")`` does it, checked and measured.

python -m benchmarks.gpu_copy SHARDS --image-size 224

Without a device it says so, and nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset")
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--image-size", type=int, default=224)
parser.add_argument("--epochs", type=int, default=3)


def check(torch: Any, options: argparse.Namespace) -> int:
    """Compare every batch on the device with the same on the CPU, long after later ones were copied; gives their number."""
    sizes = {"batch_size": options.batch_size, "image_size": options.image_size}
    kept = list(wt.torch.loader(options.dataset, device="cuda", **sizes))
    for there, here in zip(kept, wt.torch.loader(options.dataset, **sizes), strict=True):
        assert there.images.is_cuda
        assert there.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(there.images.cpu(), here.images)
        assert torch.equal(there.labels.cpu(), here.labels)
        assert there.keys == here.keys
    return len(kept)


def samples_per_second(torch: Any, options: argparse.Namespace, way: str) -> float:
    """Samples a second that a step on the device sees, by one way of bringing batches there."""
    device = "cuda" if way == "loader" else "cpu"
    loader = wt.torch.loader(
        options.dataset, batch_size=options.batch_size, image_size=options.image_size, device=device, remainder="drop"
    )
    weight = torch.randn(3 * options.image_size**2, 256, device="cuda", dtype=torch.float16)
    count = 0
    for epoch in range(options.epochs + 1):
        if epoch == 1:  # the first opens indexes and warms up
            torch.cuda.synchronize()
            begun, count = time.perf_counter(), 0
        for batch in loader:
            images = batch.images
            if way == "pageable":
                images = images.to("cuda")
            elif way == "pinned, waited for":
                images = images.pin_memory().to("cuda", non_blocking=True)
                torch.cuda.synchronize()
            (images.reshape(len(batch), -1).to(torch.float16) @ weight).sum()
            count += len(batch)
    torch.cuda.synchronize()
    return count / (time.perf_counter() - begun)


def main() -> None:
    """Check, measure, and print a JSON object."""
    options = parser.parse_args()
    try:
        import torch
    except ModuleNotFoundError:
        print("not run: torch is not installed")
        return
    if not torch.cuda.is_available():
        print("not run: there is no CUDA device here")
        return
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(), "batches compared": check(torch, options)}
    ways = ("loader", "pageable", "pinned, waited for")
    rounds = [{way: samples_per_second(torch, options, way) for way in ways} for _ in range(3)]
    found["samples/s"] = {way: sorted(one[way] for one in rounds)[1] for way in ways}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
