"""A shard that is cut while its samples are read by number or in order: an error, never a signal that ends the process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.command import environment
from tests.support.foreign_tars import pairs, tar_bytes
from tests.support.streams import packed

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.options.move import Digests


_READ = """
import os, sys
import wdstools as wt
where, shard = sys.argv[1:]
dataset = wt.open_dataset(where)
train = dataset["train"]
keys = list(train.keys())
list(train)  # whatever is kept open is open now
os.chmod(shard, 0o644)
os.truncate(shard, 0)
ways = {
    "number": lambda: train[2]["txt"],
    "key": lambda: dataset[keys[3]]["txt"],
    "order": lambda: [dict(sample) for sample in train],
}
for way, read in ways.items():
    try:
        read()
    except wt.IntegrityError as error:
        print(way, error.code)
"""


@pytest.mark.parametrize("profile", ["canonical", "foreign", "unchecked"])
def test_it_is_an_error_that_can_be_caught(tmp_path: Path, profile: str) -> None:
    if profile == "canonical":
        dataset = packed(tmp_path, train=12, val=0)
        shard = os.path.join(dataset.shards.url, dataset.manifest.splits["train"][0].path)
    else:
        (tmp_path / "tars").mkdir()
        shard = str(tmp_path / "tars" / "train-000000.tar")
        with open(shard, "wb") as file:
            file.write(tar_bytes(pairs(0, 12)))
        digests: Digests = "none" if profile == "unchecked" else "xxh3"
        dataset = wt.adopt(str(tmp_path / "tars"), str(tmp_path / "adopted"), digests=digests).dataset
    command = [sys.executable, "-c", _READ, dataset.metadata.url, shard]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stdout) == (0, "number sample-damaged\nkey sample-damaged\norder sample-damaged\n"), (
        done.stderr
    )


_INDEX = """
import os, sys
from wdstools.foreign import shard
from wdstools.stores.local import LocalStore
folder, name = os.path.split(sys.argv[1])
looked = 0

class Cut(shard._Runs):
    def __call__(self, at):
        global looked
        looked += 1
        if looked == 3:
            os.truncate(sys.argv[1], 0)
        return super().__call__(at)

shard._Runs = Cut
rows, notes, _ = shard.read_foreign(LocalStore(folder), name, "train", "tar", "none")
print(notes.end)
"""


def test_one_that_is_cut_while_its_headers_are_listed_ends_early(tmp_path: Path) -> None:
    shard = tmp_path / "train-000000.tar"
    large = [(f"{number}.bin", bytes(1 << 20)) for number in range(8)]
    shard.write_bytes(tar_bytes(large))
    command = [sys.executable, "-c", _INDEX, str(shard)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stdout) == (0, "missing\n"), done.stderr
