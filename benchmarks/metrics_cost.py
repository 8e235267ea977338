"""What measuring costs: a loader with ``metrics=True`` against the same without, taking turns in one run.

python -m benchmarks.metrics_cost SHARDS --image-size 224
"""

from __future__ import annotations

import argparse
import statistics
import time

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset")
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--image-size", type=int, default=None)
parser.add_argument("--rounds", type=int, default=7)


def main() -> None:
    """Print the medians of CPU time and of wall time of an epoch, and their ratios."""
    options = parser.parse_args()
    loaders = {
        measured: wt.loader(
            options.dataset, batch_size=options.batch_size, image_size=options.image_size, metrics=measured
        )
        for measured in (False, True)
    }
    wall: dict[bool, list[float]] = {False: [], True: []}
    cpu: dict[bool, list[float]] = {False: [], True: []}
    for number in range(options.rounds + 1):
        for measured, loader in sorted(loaders.items(), reverse=bool(number % 2)):
            begun, spent = time.perf_counter(), time.process_time()
            samples = sum(len(batch) for batch in loader)
            if number:  # the first compiles and opens
                wall[measured].append((time.perf_counter() - begun) / samples)
                cpu[measured].append((time.process_time() - spent) / samples)
    for name, found in (("wall", wall), ("CPU", cpu)):
        off, on = (statistics.median(found[measured]) for measured in (False, True))
        print(f"{name}: {off * 1e6:.1f} us a sample without, {on * 1e6:.1f} with metrics: {on / off:.3f}")
    print(loaders[True].metrics())


if __name__ == "__main__":
    main()
