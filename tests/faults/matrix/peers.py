"""The same faults as other readers meet them: each reads a whole dataset as its documentation shows.

``python -m tests.faults.matrix.peers CACHE SPLIT=SHARDS...`` reads one folder's path a line from standard input and
prints one JSON line for each: what each reader got (a digest of every sample), or that it raised an error. A process
of its own, because Hugging Face reads its settings from the environment when it is imported.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.command import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.matrix.scene import Scene

PEERS = ("webdataset", "datasets", "tarfile")
UNHARMED, SILENT, ERROR = "same data", "silent", "error"
_REPOSITORY = Path(__file__).parents[3]


class Peers:
    """The readers, running; what each makes of a damaged dataset, compared with the whole one."""

    def __init__(self, scene: Scene, cache: Path) -> None:
        shards = [f"{split}={sum(s.startswith(split + '/') for s in scene.shards)}" for split in ("train", "val")]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(cache), "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.matrix.peers", str(cache), *shards],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=_REPOSITORY,
            env=environment(**offline),
        )
        self._whole = self._ask(scene.whole)
        assert all(self._whole.values()), self._whole

    def outcomes(self, dataset: Path) -> dict[str, str]:
        """Reader -> whether it got the same data, other data without a word, or an error."""
        got = self._ask(dataset)
        return {
            peer: ERROR if got[peer] is None else UNHARMED if got[peer] == self._whole[peer] else SILENT
            for peer in PEERS
        }

    def _ask(self, dataset: Path) -> dict[str, str | None]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{dataset}\n")
        self._process.stdin.flush()
        answer: dict[str, str | None] = json.loads(self._process.stdout.readline())
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _decode(image: bytes) -> None:
    from PIL import Image

    Image.open(io.BytesIO(image)).convert("RGB")


def _with_tarfile(folder: str, shards: dict[str, int]) -> Iterator[tuple[Any, ...]]:
    for split in shards:
        for path in sorted(glob.glob(f"{folder}/{split}/*.tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    yield split, member.name, file.read() if file else None


def _with_webdataset(folder: str, shards: dict[str, int]) -> Iterator[tuple[Any, ...]]:
    import webdataset

    for split, count in shards.items():
        pattern = f"{folder}/{split}/{split}-{{000000..{count - 1:06d}}}.tar"
        for sample in webdataset.WebDataset(pattern, shardshuffle=False):
            if "jpg" in sample:
                _decode(sample["jpg"])
            yield split, sample["__key__"], *(sample.get(name) for name in ("jpg", "txt", "cls"))


def _with_datasets(folder: str, _: dict[str, int]) -> Iterator[tuple[Any, ...]]:
    import datasets

    for split, rows in datasets.load_dataset(folder, streaming=True).items():
        for row in rows.cast_column("jpg", datasets.Image(decode=False)):
            image = row["jpg"]["bytes"] if row["jpg"] else None
            if image is not None:
                _decode(image)
            yield split, row["__key__"], image, row["txt"], row["cls"]


_READERS: dict[str, Callable[[str, dict[str, int]], Iterator[tuple[Any, ...]]]] = {
    "webdataset": _with_webdataset,
    "datasets": _with_datasets,
    "tarfile": _with_tarfile,
}


def _digest(reader: str, folder: str, shards: dict[str, int]) -> str | None:
    try:
        found = sorted(map(repr, _READERS[reader](folder, shards)))
    except Exception:  # noqa: BLE001  whatever a peer raises is an error that its user sees
        return None
    return hashlib.sha256("\n".join(found).encode("utf-8", "replace")).hexdigest()


def main(_: str, *counts: str) -> None:
    """Answer until standard input ends."""
    warnings.simplefilter("ignore")
    shards = {split: int(count) for split, _, count in (text.partition("=") for text in counts)}
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            answer = {reader: _digest(reader, line.strip(), shards) for reader in PEERS}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
