"""Mistakes that a type checker must see: an ignore that is not needed is an error, for mypy as for pyright."""

from __future__ import annotations

import wdstools as wt


def misspelt() -> None:
    """Options that there are not."""
    wt.pack("source", "dest", resise=300)  # type: ignore[call-arg]
    wt.verify("dataset", levle="size")  # type: ignore[call-arg]
    wt.pull("s3://bucket", "dest", roots="1")  # type: ignore[call-arg]


def wrong() -> None:
    """Values that an option cannot have."""
    wt.pack("source", "dest", resize="300")  # type: ignore[arg-type]
    wt.pack("source", "dest", mode="squeeze")  # type: ignore[arg-type]
    wt.verify("dataset", level="all")  # type: ignore[arg-type]
    wt.emit("dataset", ["everybody"])  # type: ignore[list-item]
    wt.find_duplicates("dataset", level="soft")  # type: ignore[arg-type]


def mixed(dataset: wt.Dataset) -> None:
    """Splits are not samples, and a result is of its plan."""
    dataset["train"]["jpg"]  # type: ignore[call-overload]
    dataset["london/1"].keys  # noqa: B018  a sample is a mapping
    wt.apply(wt.plan_mirror("dataset", "s3://bucket")).unsolved  # type: ignore[attr-defined]  # noqa: B018
