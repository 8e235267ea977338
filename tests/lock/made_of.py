"""What the locks are made of: pyproject.toml's requirements, and what builds the package."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: For tests and CI; and the part of it that the demo needs.
EVERYTHING, DEMO = ROOT / "constraints.txt", ROOT / "constraints-demo.txt"
#: Of the servers that tests start, those that pip installs whole.
SERVERS = ("swift", "localstack", "rclone")
MADE_OF = "# Of requirements with the SHA-256 "
#: What makes an editable install of a folder, beside pyproject.toml's own build requirements.
BUILD = "editables"
_SELF = re.compile(r"wdstools\[([a-z0-9_,-]+)\]")


def requirements(*extras: str) -> list[str]:
    """The project's requirements, those of some extras and of what builds it; its own extras are followed."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {*told["build-system"]["requires"], BUILD, *told["project"]["dependencies"]}
    waiting = [*extras]
    while waiting:
        for each in told["project"]["optional-dependencies"][waiting.pop()]:
            own = _SELF.fullmatch(each)
            if own:
                waiting += own[1].split(",")
            else:
                wanted.add(each)
    return sorted(wanted)


def digest(wanted: list[str]) -> str:
    """What a lock says it was made of."""
    return hashlib.sha256("\n".join(wanted).encode()).hexdigest()


def pins(lock: str) -> list[str]:
    """The ``name==version`` of a lock, markers and hashes left out, in order of their names."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock, re.MULTILINE)
    return sorted(f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}" for name, version in found)


def hashed(lock: str) -> dict[str, list[str]]:
    """The hashes of each pinned package."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"\n(?=\S)", lock):
        for pin in pins(part):
            found[pin.partition("==")[0]] = re.findall(r"--hash=(sha256:[0-9a-f]{64})\b", part)
    return found
