"""``make lock``: write the locks again, with what they hold already where that still fits (``--upgrade``: with the newest).

Locks are for every platform: each names the hashes of all files of a release, whatever index they come from. Needs uv, and
nothing else: ``make lock`` brings it in an environment of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lock.made_of import BUILD, DEMO, EVERYTHING, MADE_OF, ROOT, SERVERS, digest, pins, requirements

_PYTHON = "3.11"


def _compile(wanted: list[str], lock: Path, *options: str) -> None:
    """Resolve ``wanted`` into ``lock``, which is kept as it is where nothing has changed."""
    with tempfile.TemporaryDirectory() as folder:
        asked, made = Path(folder, "asked.in"), Path(folder, "made.txt")
        asked.write_text("\n".join(wanted) + "\n")
        if lock.exists():
            # what is pinned already is preferred; old locks without hashes too
            made.write_text("\n".join(pins(lock.read_text())) + "\n")
        command = [
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
        ]
        command += ["--no-emit-index-url", "--python-version", _PYTHON, *options, str(asked), "-o", str(made)]
        subprocess.run(command, check=True, env=_index())
        head = f"# Made by `make lock`: change pyproject.toml, not this.\n{MADE_OF}{digest(wanted)}\n"
        lock.write_text(head + made.read_text())


def _index() -> dict[str, str]:
    """uv asks the index that pip asks, and trusts whom the system trusts."""
    pip = shutil.which("pip") or f"{Path(sys.executable).parent}/pip"
    asked = subprocess.run([pip, "config", "get", "global.index-url"], capture_output=True, text=True, check=False)
    index = os.environ.get("PIP_INDEX_URL") or asked.stdout.strip()
    return {**os.environ, "UV_NATIVE_TLS": "1", **({"UV_DEFAULT_INDEX": index} if index else {})}


def main(*options: str) -> None:
    """Everything first; the demo's lock is a part of it."""
    _compile(requirements("dev"), EVERYTHING, *options)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as same:
        same.write("\n".join(pins(EVERYTHING.read_text())))
        same.flush()
        _compile(requirements(), DEMO, "-c", same.name)
    for name in SERVERS:
        lock = ROOT / f"tests/servers/requirements/{name}.txt"
        _compile(pins(lock.read_text()), lock, "--no-deps")
    sys.stdout.write(f"locked {len(pins(EVERYTHING.read_text()))} packages ({BUILD} among them)\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
