"""An environment of its own for every peer: ``python -m benchmarks.peers.environments FOLDER [NAME,...]``.

One after another, with pip, from the index that pip is set up with. What cannot be installed is said, and is a row
without figures in the table.
"""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import venv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_TORCH = ("torch==2.13.0", "simplejpeg==1.9.0", "pillow==13.0.0")
#: What each peer needs. Steps are pip's arguments, in order.
ENVIRONMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    # and the tokenizer that everybody uses in the discipline "pipeline"
    "webdataset": (
        (*_TORCH, "webdataset==1.0.2", "ftfy==6.3.1", "regex==2026.11.19"),
        ("--no-deps", "open_clip_torch==3.3.0"),
    ),
    "dali": (("nvidia-dali-cuda130==2.4.0", "numpy==2.4.6"),),
    "grain": (("grain==0.2.18", "array_record==0.8.6", "simplejpeg==1.9.0", "pillow==13.0.0"),),
    # They ask for torchvision, which would replace torch's build for processors by one of several gigabytes. Neither
    # needs it for bytes and text.
    "litdata": (
        (*_TORCH, "filelock", "requests", "boto3", "tifffile", "lightning-utilities", "obstore", "fsspec"),
        ("--no-deps", "litdata==0.2.76"),
    ),
    "streaming": (
        (*_TORCH, "numpy<2.2", "xxhash<4", "transformers<5", "paramiko<4", "boto3", "requests", "tqdm"),
        ("zstd", "python-snappy", "Brotli", "catalogue", "matplotlib", "zstandard", "filelock"),
        ("--no-deps", "mosaicml-streaming==0.13.0"),
    ),
    "datasets": ((*_TORCH, "datasets==5.2.0"),),
    "energon": ((*_TORCH, "megatron-energon==7.4.1"),),
    "webshart": (("webshart==0.4.6", "simplejpeg==1.9.0", "numpy==2.4.6"),),
    "files": ((*_TORCH, "numpy"),),
}
_READY = ".ready"


def python_of(folder: str, name: str) -> str:
    """The interpreter of a peer's environment."""
    return os.path.join(folder, name, "bin", "python")


def packages_of(folder: str, name: str) -> str:
    """Where a peer's packages lie."""
    (found,) = glob.glob(os.path.join(glob.escape(folder), name, "lib", "python*", "site-packages"))
    return found


def is_ready(folder: str, name: str) -> bool:
    """Whether a peer was installed whole."""
    return os.path.exists(os.path.join(folder, name, _READY))


def install(folder: str, names: Sequence[str]) -> list[str]:
    """Install peers that are not there yet; gives the names of those that could not be."""
    return [name for name in names if not is_ready(folder, name) and not _install(folder, name)]


def _install(folder: str, name: str) -> bool:
    sys.stderr.write(f"installing {name} ...\n")
    place = os.path.join(folder, name)
    venv.create(place, with_pip=True)
    for step in ENVIRONMENTS[name]:
        command = [python_of(folder, name), "-m", "pip", "install", "-q", "--disable-pip-version-check", *step]
        if subprocess.run(command, check=False).returncode:
            return False
    with open(os.path.join(place, _READY), "w", encoding="utf-8"):
        return True


if __name__ == "__main__":
    missing = install(sys.argv[1], sys.argv[2].split(",") if len(sys.argv) > 2 else list(ENVIRONMENTS))
    sys.exit(f"could not be installed: {', '.join(missing)}" if missing else 0)
