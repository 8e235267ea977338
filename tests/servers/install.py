"""Where the servers are installed, and how: each in an environment of its own under ``.servers`` (or $WDSTOOLS_SERVERS).

``python -m tests.servers.install swift`` installs one; the fixtures do the same when it is missing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.lock.made_of import pins
from tests.support.tools import missing

ROOT = Path(os.environ.get("WDSTOOLS_SERVERS") or Path(__file__).resolve().parents[2] / ".servers")
_REQUIREMENTS = Path(__file__).parent / "requirements"
_NODE_PACKAGES = {"azurite": "azurite@3.37.0"}


def installed(name: str) -> Path:
    """The folder with a server's programs; installed now if need be. Skips where that fails, fails in CI."""
    try:
        return install(name)
    except (OSError, subprocess.SubprocessError) as error:
        reason = error.stderr[-500:] if isinstance(error, subprocess.CalledProcessError) else str(error)
        missing(f"{name} could not be installed: {reason}")


def install(name: str) -> Path:
    """Install a server once, whoever else is installing it; what it needs is pinned in ``requirements``."""
    ROOT.mkdir(parents=True, exist_ok=True)
    if not (ROOT / ".gitignore").exists():
        (ROOT / ".gitignore").write_text("*\n")
    with (ROOT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install_node(name) if name in _NODE_PACKAGES else _install_python(name)


def _install_python(name: str) -> Path:
    folder, wanted = ROOT / name, (_REQUIREMENTS / f"{name}.txt").read_text()
    stamp = folder / "installed.txt"
    if not stamp.exists() or pins(stamp.read_text()) != pins(wanted):
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip: list[str | Path] = [
            folder / "bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ]
        if "--hash=" in wanted:
            pip.insert(-1, "--require-hashes")
        subprocess.run([*pip, _REQUIREMENTS / f"{name}.txt"], check=True, stderr=subprocess.PIPE, text=True)
        stamp.write_text(wanted)
    return folder / "bin"


def _install_node(name: str) -> Path:
    folder = ROOT / name
    programs = folder / "node_modules/.bin"
    if not programs.exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder)]
        npm.append(_NODE_PACKAGES[name])
        subprocess.run(npm, check=True, capture_output=True, text=True)
    return programs


if __name__ == "__main__":
    for wanted_name in sys.argv[1:]:
        install(wanted_name)
