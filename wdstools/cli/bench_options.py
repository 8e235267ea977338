"""The options of ``bench``, as data."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

BENCH_OPTIONS = (
    ("split", Annotated[Optional[str], typer.Option("--split", help="Which split; train, or the first.")], None),
    ("batch_size", Annotated[Optional[int], typer.Option("--batch-size", help="Samples in a batch; 64, or the split if that is smaller.")], None),
    ("threads", Annotated[Optional[int], typer.Option("--threads", help="Threads that decode; one a core.")], None),
    ("seconds", Annotated[float, typer.Option("--seconds", help="How long each thing is measured.")], 3.0),
    ("shuffle", Annotated[str, typer.Option("--shuffle", help="full, block or none.")], "full"),
    ("wanted", Annotated[Optional[float], typer.Option("--min", metavar="SAMPLES_PER_S", help="Exit 1 below this rate; the advice says how many threads it needs.")], None),
    ("compare", Annotated[str, typer.Option("--compare", metavar="PEER,...", help="Other loaders in the same run: webdataset, datasets, dali.")], ""),
)  # fmt: skip
