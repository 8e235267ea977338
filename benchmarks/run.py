"""Every benchmark in one table: ``python -m benchmarks.run [--photos FOLDER] [--samples N] [--only pack,read]``.

Figures are ratios of one run: ours and the peers in turn, the median of several rounds. They mean something only
beside the machine and the input, which stand above the table, and on a machine that does nothing else; the last
column says how many cores other programs kept busy meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks.inputs import prepare
from benchmarks.machine import facts, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.inputs import Setup
    from benchmarks.measure import Row

BENCHMARKS = ("pack", "resize", "verify", "adopt", "read", "stream", "repair", "start", "demo_images")
RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
_TINY_SAMPLES = 100
_HEADINGS = ("benchmark", "ours", "value", "unit", "peer", "peer's", "ratio", "range", "target", "", "others")


def cells(row: Row) -> tuple[str, ...]:
    """A row as the table shows it."""
    peer_value = "" if row.peer_value is None else _number(row.peer_value)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    spread = "" if row.low is None or row.high is None else f"{row.low:.2f}..{row.high:.2f}"
    met = "" if row.met is None else "yes" if row.met else "NO"
    start = (row.benchmark, row.what, _number(row.value), row.unit)
    return (*start, row.peer, peer_value, ratio, spread, row.target, met, f"{row.others:.2f}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """The table, its columns aligned."""
    lines = [_HEADINGS, *map(cells, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def save(path: str, rows: Sequence[Row], **said: object) -> None:
    """Write the rows as JSON, beside what is to be said of them."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**said, "rows": [asdict(row) for row in rows]}, file, indent=1, ensure_ascii=False)
        file.write("\n")


def measure(names: Sequence[str], setup: Setup) -> list[Row]:
    """The rows of some benchmarks, each said on stderr as soon as it is there."""
    rows: list[Row] = []
    for name in names:
        sys.stderr.write(f"measuring {name} ...\n")
        rows += import_module(f"benchmarks.{name}").measure(setup)
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", metavar="FOLDER", help="photographs, or what make_photos made; else demo images")
    parser.add_argument("--samples", type=int, default=20_000, help="how many to make (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each race (%(default)s)")
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="some of %(default)s")
    parser.add_argument("--scratch", default="build/bench", help="where inputs and outputs lie (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="where the results go (benchmarks/results/latest.json)")
    parser.add_argument("--tiny", action="store_true", help=f"{_TINY_SAMPLES} samples, one round: does it run at all?")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    samples, rounds = (_TINY_SAMPLES, 1) if arguments.tiny else (arguments.samples, arguments.rounds)
    scratch = os.path.abspath(arguments.scratch)
    setup = prepare(scratch, arguments.photos, samples, rounds=rounds, tiny=arguments.tiny)
    machine = facts(scratch)
    print(shown({**machine, "input": setup.described, "rounds": str(rounds)}))
    rows = measure(names, setup)
    print(f"load after:  {' '.join(f'{load:.2f}' for load in os.getloadavg())}\n")
    print(table(rows))
    if arguments.tiny:
        print("\ntiny: these figures show that the benchmarks run, and nothing else")
    path = arguments.json or os.path.join(RESULTS, "latest.json")
    save(path, rows, machine=machine, input=setup.described, rounds=rounds)


if __name__ == "__main__":
    main()
