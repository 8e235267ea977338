"""Loaders against loaders, on the same photographs: ``python -m benchmarks.peers [--photos DIR] [--readme README.md]``.

Installs each peer in an environment of its own, makes the copies that peers need, then runs everybody in turn, each
run a process of its own: undecoded samples in order and shuffled, shuffled batches [64, 300, 300, 3] with captions on two
threads or worker processes, and batches as a CLIP training takes them (a random crop of 224, mirrored, normalised, and tokens). Figures are ratios of one session, medians over rounds; nobody is warned of damage
but by wdstools, which checks every sample in all of this.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.inputs import prepare
from benchmarks.machine import facts
from benchmarks.peers.contest import LIMIT, Contest, Entry, figures
from benchmarks.peers.environments import ENVIRONMENTS, install
from wdstools.ops.bench.machine import Others

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BASE = Entry("webdataset", "default").name
_TITLES = {
    "wdstools": "**wdstools** (every sample checked)",
    "webdataset": "webdataset",
    "dali": "NVIDIA DALI, on the processor",
    "grain": "Grain over ArrayRecord",
    "litdata": "LitData",
    "streaming": "MosaicML Streaming",
    "datasets": "Hugging Face datasets, streaming",
    "energon": "Megatron Energon",
    "webshart": "webshart",
    "files": "torch DataLoader over files",
}
#: Who takes part in the discipline with augmentation and tokens.
_PIPELINES = ("wdstools", "webdataset", "files", "dali")
_MARKS = re.compile(r"(<!-- peers: [^\n]*-->\n).*?(<!-- /peers -->)", re.DOTALL)


def measure(contest: Contest, peers: Sequence[str], seconds: float, rounds: int) -> dict[str, Any]:
    """The three disciplines; figures by contender."""
    plain = [Entry(peer, "default") for peer in peers]
    second = [Entry(peer, "torch" if peer == "wdstools" else "best") for peer in peers]
    races = {
        "raw": contest.race(plain, seconds, rounds, work="raw", shuffle=False),
        "raw, shuffled": contest.race(plain, seconds, rounds, work="raw", shuffle=True),
        "batches": contest.race([*plain, *second], seconds, rounds, work="batches", shuffle=True),
    }
    augmented = [Entry(peer, "default") for peer in peers if peer in _PIPELINES]
    if "wdstools" in peers:
        augmented.append(Entry("wdstools", "Pillow"))
    races["pipeline"] = contest.race(augmented, seconds, rounds, work="pipeline")
    found: dict[str, Any] = {name: figures(race, _BASE) for name, race in races.items()}
    for name, times in contest.first_ms.items():
        found["batches"][name]["first_ms"] = median(times)
    return found


def table(found: Mapping[str, Any], versions: Mapping[str, str], failed: Mapping[str, str]) -> str:
    """The table as Markdown, in the order of batches."""
    lines = [
        "| loader | raw, in order | raw, shuffled | batches | with its best decoder | of the limit | augmented, with tokens | first batch |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    peers = sorted(versions, key=lambda peer: -_best(found["batches"], peer).get("times", 0))
    for peer in peers:
        plain, best = Entry(peer, "default").name, _best(found["batches"], peer)
        cells = [
            f"{_TITLES[peer]} {versions[peer]}",
            _times(found["raw"].get(plain)),
            _times(found["raw, shuffled"].get(plain)),
            _times(found["batches"].get(plain)),
            _times(found["batches"].get(Entry(peer, "best").name)),
            f"{best['of_limit']:.2f}" if best else "",
            _times(found["pipeline"].get(plain)),
            f"{best['first_ms']:,.0f} ms" if "first_ms" in best else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        tensors = found["batches"].get(Entry(peer, "torch").name)
        pillow = found["pipeline"].get(Entry(peer, "Pillow").name)
        if pillow:
            lines.append(f"| the same, augmented by the others' function | | | | | | {_times(pillow)} | |")
        if tensors:
            shown = f"{tensors['of_limit']:.2f} | | {tensors.get('first_ms', 0):,.0f} ms"
            lines.append(f"| the same, as torch tensors | | | {_times(tensors)} | | {shown} |")
    lines += [f"| {_TITLES[peer]} | {reason} | | | | | | |" for peer, reason in failed.items()]
    return "\n".join(lines)


def _best(batches: Mapping[str, Any], peer: str) -> dict[str, float]:
    """The faster of a peer's two ways of decoding."""
    rows = [batches[name] for variant in ("default", "best") if (name := Entry(peer, variant).name) in batches]
    return max(rows, key=lambda row: row["times"], default={})


def _times(row: Mapping[str, float] | None) -> str:
    if row is None:
        return ""
    times = row["times"]
    return f"{times:.0f}" if times >= 9.95 else f"{times:.1f}" if times >= 0.95 else f"{times:.2f}"


def write_readme(path: str, text: str) -> None:
    """Put the table between its marks; raises SystemExit where there are none."""
    with open(path, encoding="utf-8") as file:
        old = file.read()
    if not _MARKS.search(old):
        raise SystemExit(f"{path} has no <!-- peers: ... --> and <!-- /peers -->")
    with open(path, "w", encoding="utf-8") as file:
        file.write(_MARKS.sub(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", old))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", metavar="DIR", help="what make_photos made; else demo images are made")
    parser.add_argument("--samples", type=int, default=20_000, help="how many to make (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run (%(default)s)")
    parser.add_argument("--only", default=",".join(ENVIRONMENTS), help="some of %(default)s")
    parser.add_argument("--environments", default="build/peers", help="where they are installed (%(default)s)")
    parser.add_argument("--scratch", default="build/bench-peers", help="where copies lie (%(default)s)")
    parser.add_argument("--readme", metavar="FILE", help="write the table into this file, between its marks")
    parser.add_argument("--json", metavar="FILE", default="benchmarks/results/peers.json", help="%(default)s")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(ENVIRONMENTS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    if find_spec("torch") is None:  # said now, not after the first races
        parser.error("wdstools' own loader races with torch too: pip install torch==2.13.0 here")
    scratch = os.path.abspath(arguments.scratch)
    setup = prepare(scratch, arguments.photos, arguments.samples, rounds=arguments.rounds)
    environments = os.path.abspath(arguments.environments)
    install(environments, names)
    contest = Contest(setup.dataset, environments, scratch)
    contest.prepare(["wdstools", *names])
    machine = facts(scratch)
    meanwhile = Others()
    found = measure(contest, ["wdstools", *dict.fromkeys(["webdataset", *names])], arguments.seconds, arguments.rounds)
    machine["others"] = f"other programs kept {meanwhile.cores():.2f} cores busy"
    shown = table(found, contest.versions, contest.failed)
    for name, fact in machine.items():
        sys.stdout.write(f"{name}: {fact}\n")
    sys.stdout.write(f"{LIMIT}: {found['batches'][LIMIT]['samples_per_s']:,.0f} images/s\n\n{shown}\n")
    document = {"machine": machine, "input": setup.described, "versions": contest.versions, "failed": contest.failed}
    with open(arguments.json, "w", encoding="utf-8") as file:
        json.dump({**document, "found": found}, file, indent=1)
        file.write("\n")
    if arguments.readme:
        on = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; {setup.described}; {machine['others']}"
        write_readme(arguments.readme, f"{shown}\n\n{on}.")


if __name__ == "__main__":
    main()
