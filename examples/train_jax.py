"""JAX: arrays from wt.loader as they are; the processes of jax.distributed divide the samples among them.

python examples/train_jax.py shards
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import jax
import jax.numpy as jnp

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset with labels, packed by wdstools")
parser.add_argument("--epochs", type=int, default=3)


def loss_of(weights: Any, images: Any, labels: Any) -> Any:
    """Cross entropy of a linear model on small images."""
    scores = (images.reshape(len(images), -1) / 127.5 - 1) @ weights
    return -jax.nn.log_softmax(scores)[jnp.arange(len(labels)), labels].mean()


def main() -> None:
    """Train, and print the mean loss of each epoch."""
    options = parser.parse_args()
    loader = wt.loader(options.dataset, batch_size=8, image_size=16, remainder="drop")
    step = jax.jit(jax.value_and_grad(loss_of))
    weights = jnp.zeros((16 * 16 * 3, len(wt.open_dataset(options.dataset).manifest.labels)))
    for epoch in range(options.epochs):
        losses = []
        for batch in loader:
            loss, gradient = step(weights, jnp.asarray(batch.images), batch.labels)
            weights -= 0.001 * gradient
            losses.append(float(loss))
        print(json.dumps({"epoch": epoch, "loss": sum(losses) / len(losses)}))


if __name__ == "__main__":
    main()
