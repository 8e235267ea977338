"""How large a sample is in a shard: as the shards of the pack that follows show."""

from __future__ import annotations

import os
import tarfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import wdstools as wt
from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from wdstools.planning import sizes
from wdstools.planning.by_names import packable
from wdstools.planning.options import make_options
from wdstools.planning.sizes import sample_bytes

if TYPE_CHECKING:
    from pathlib import Path


def _estimated(folder: Path) -> int:
    listing = wt.open_source(str(folder)).list()
    found = packable(listing, make_options())
    return sample_bytes(found.samples.table, listing.opener, found.members)


@pytest.mark.parametrize(("captions", "count"), [([0], 1), ([1], 1), ([512], 1), ([513, 5000, 1], 3)])
def test_it_is_that_of_the_members_with_their_headers_and_padding(
    captions: list[int], count: int, tmp_path: Path
) -> None:
    files: dict[str, bytes] = {}
    for number, size in enumerate(captions):
        files |= {f"{number}.jpg": tiny_jpeg(number) + bytes(700 * number), f"{number}.txt": b"x" * size}
    folder = write_files(tmp_path / "in", files)
    wt.pack(folder, tmp_path / "out", shards=1)
    with tarfile.open(tmp_path / "out/train/train-000000.tar") as tar:
        last = tar.getmembers()[-1]
        end = last.offset_data + -(-last.size // 512) * 512
    assert _estimated(folder) == end // count


def test_what_it_opens_it_closes(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "in", {"1.jpg": tiny_jpeg(1)})
    listing = wt.open_source(str(folder)).list()
    found = packable(listing, make_options())
    reader = listing.opener.open()
    closed: list[bool] = []

    class Opener:
        def open(self) -> Any:
            return SimpleNamespace(stat=reader.stat, close=lambda: closed.append(True))

    assert sample_bytes(found.samples.table, Opener(), found.members) == _estimated(folder)
    assert closed == [True]
    reader.close()


def test_of_many_samples_few_are_looked_at_and_those_that_are_gone_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{number}.{ext}": data for number in range(6) for ext, data in (("jpg", tiny_jpeg(1)), ("txt", b"x"))}
    folder = write_files(tmp_path / "in", files)
    whole = _estimated(folder)
    listing = wt.open_source(str(folder)).list()
    found = packable(listing, make_options())
    for number in range(5):
        os.unlink(folder / f"{number}.jpg")
    assert sample_bytes(found.samples.table, listing.opener, found.members) == whole
    os.unlink(folder / "5.jpg")
    assert sample_bytes(found.samples.table, listing.opener, found.members) == 1
    monkeypatch.setattr(sizes, "LOOKED_AT", 0)
    assert sample_bytes(found.samples.table, listing.opener, found.members) == 1
