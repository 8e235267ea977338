"""JAX: arrays of ``wt.loader`` as they are; a logistic regression by ``jax.grad``.

    python jax_driver.py SHARDS EPOCHS

Prints a JSON object: the keys of each epoch, and whether every batch arrived as it was read.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import wdstools as wt


def loss(weights: Any, images: Any, labels: Any) -> Any:
    """Cross entropy of two classes by an image's mean."""
    scores = images.astype(jnp.float32).mean((1, 2)) / 255 @ weights
    return -jax.nn.log_softmax(scores)[jnp.arange(len(labels)), labels].mean()


def main() -> None:
    """The command line."""
    shards, epochs = sys.argv[1], int(sys.argv[2])
    loader = wt.loader(shards, batch_size=8, remainder="drop")
    step = jax.jit(jax.grad(loss))
    weights = jnp.zeros((3, 2))
    seen: list[list[str]] = []
    kept: list[tuple[Any, Any]] = []
    for _ in range(epochs):
        seen.append([])
        for batch in loader:
            seen[-1] += batch.keys
            images = jnp.asarray(batch.images)
            kept.append((images, np.array(batch.images)))
            weights -= 0.1 * step(weights, images, batch.labels % 2)
    # the memory of a batch is used again, but not while JAX has it
    print(json.dumps({"epochs": seen, "whole": all(bool((a == b).all()) for a, b in kept)}))


if __name__ == "__main__":
    main()
