"""Fuzz one target with atheris: ``python -m tests.fuzz TARGET [--seconds N] [--work FOLDER]``.

Coverage of wdstools' own code leads the search. An input that breaks something is left in FOLDER as ``crash-...``; put it into
``tests/fuzz/corpus/TARGET`` and it is tried by every quick test run from then on.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["wdstools"]):
    from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
#: A parser of some kilobytes that takes longer or more than this has a bug.
LIMITS = ("-timeout=20", "-rss_limit_mb=3000", "-max_len=24000")


def main() -> None:
    """Run until the time is over or something breaks; libFuzzer ends the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    target = TARGETS[given.target]
    work = given.work or Path(tempfile.mkdtemp(prefix="wdstools-fuzz-"))
    found = work / given.target
    found.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (found / f"seed{number}").write_bytes(seed)
    kept = CORPUS / given.target
    draw = random.Random(given.seed)

    def mutate(data: bytes, limit: int, _: int) -> bytes:
        mutated = bytes(atheris.Mutate(data, limit))
        return target.repair(mutated)[:limit] if target.repair and draw.random() < 0.75 else mutated

    limits = [*LIMITS, f"-max_total_time={given.seconds}", f"-seed={given.seed}", f"-artifact_prefix={work}/"]
    folders = [str(found), *([str(kept)] if kept.is_dir() else [])]
    atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", *folders], target.check, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
