"""The joined index beside real datasets: made once, ours alone, believed only when whole, never in the way."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import sys
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wdstools as wt
from tests.support.command import run_command
from tests.support.streams import in_memory, packed
from wdstools.errors import FormatError, NotFoundError
from wdstools.joined import Joined, open_joined
from wdstools.joined.layout import VERSION
from wdstools.joined.opening import joined_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wdstools import Dataset

_NAMES = ("key", "label", "cls", "split", "width", "height", "format", "caption", "offset", "length")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("joined"), train=60, val=10)


@pytest.fixture
def dataset(whole: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The dataset as a new process sees it, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return replace(whole, readers={})


def _file(dataset: Dataset) -> Path:
    return Path(os.environ["XDG_CACHE_HOME"], "wdstools", "joined", f"{dataset.root}-v{VERSION}.rows")


def _again(dataset: Dataset) -> Dataset:
    return replace(dataset, readers={})


def _check(joined: Joined, dataset: Dataset) -> None:
    """Every row is that of its index."""
    for number, (_, entry) in enumerate(dataset.manifest.shards):
        table = dataset.index(entry)
        assert joined.table(number, _NAMES).equals(table.select(_NAMES))
        rows = joined.rows_of(number)
        assert joined.keys(np.arange(rows.start, rows.stop)) == table.column("key").to_pylist()
        for at, members in enumerate(table.column("members").to_pylist()):
            for member in members:
                found = joined.members([rows.start + at], member["ext"])
                assert (found.offset[0], found.size[0]) == (member["offset"], member["size"])


def test_the_file_is_one_ours_alone_and_named_by_the_root(dataset: Dataset) -> None:
    joined = open_joined(dataset)
    assert joined.is_kept
    _check(joined, dataset)
    assert os.listdir(_file(dataset).parent) == [_file(dataset).name]
    assert stat.S_IMODE(_file(dataset).stat().st_mode) == 0o600
    assert [len(joined.splits[name]) for name in ("train", "val")] == [60, 10]
    assert open_joined(dataset) is joined


def test_it_is_made_once_and_then_needs_no_index(dataset: Dataset) -> None:
    open_joined(dataset)
    before = _file(dataset).read_bytes()
    without = replace(in_memory(dataset), readers={})
    for info in list(without.metadata.list(".wdstools/index/")):
        without.metadata.delete(info.key)
    joined = open_joined(without)
    _check(joined, dataset)
    assert _file(dataset).read_bytes() == before


@pytest.mark.parametrize(
    "place", [*range(0, 200, 8), 4096, 5000, 6000, 8000, 9000, 12_000, 14_000, 16_000, -1, -200, -900]
)
def test_a_damaged_file_is_made_again(dataset: Dataset, place: int) -> None:
    open_joined(dataset)
    data = bytearray(_file(dataset).read_bytes())
    data[place] ^= 0x10
    _file(dataset).write_bytes(data)
    _check(open_joined(_again(dataset)), dataset)
    again = open_joined(_again(dataset))
    again.open_all()
    _check(again, dataset)
    assert again.is_kept


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 9000, -1])
def test_a_file_cut_short_is_made_again(dataset: Dataset, size: int) -> None:
    open_joined(dataset)
    os.truncate(_file(dataset), size if size >= 0 else _file(dataset).stat().st_size + size)
    _check(open_joined(_again(dataset)), dataset)
    assert _file(dataset).stat().st_size > 9000


def test_a_file_of_another_dataset_under_this_name_is_not_believed(dataset: Dataset, tmp_path: Path) -> None:
    other = packed(tmp_path / "other", train=60, val=9)
    open_joined(other)
    _file(other).rename(_file(dataset))
    _check(open_joined(dataset), dataset)


def test_what_others_may_write_or_a_link_leads_to_is_not_believed(dataset: Dataset, tmp_path: Path) -> None:
    open_joined(dataset)
    _file(dataset).chmod(0o620)
    assert open_joined(_again(dataset)).is_kept
    assert stat.S_IMODE(_file(dataset).stat().st_mode) == 0o600
    elsewhere = tmp_path / "elsewhere"
    _file(dataset).rename(elsewhere)
    _file(dataset).symlink_to(elsewhere)
    _check(open_joined(_again(dataset)), dataset)
    assert not _file(dataset).is_symlink()


@pytest.mark.parametrize("what", ["a file", "a folder that is a file", "nothing that may be written"])
def test_without_a_cache_rows_are_held_in_memory(dataset: Dataset, tmp_path: Path, what: str) -> None:
    cache = tmp_path / "cache"
    if what == "a file":
        cache.write_bytes(b"mine")
    elif what == "a folder that is a file":
        (cache / "wdstools").mkdir(parents=True)
        (cache / "wdstools" / "joined").write_bytes(b"mine")
    else:
        cache.symlink_to("/proc")
    joined = open_joined(dataset)
    assert not joined.is_kept
    _check(joined, dataset)


_READERS: dict[str, Callable[[Dataset], Iterable[Any]]] = {
    "in order": lambda found: wt.stream(found, shuffle=None),
    "shuffled": lambda found: wt.stream(found, shuffle="full", seed=3),
    "in blocks": lambda found: wt.stream(found, shuffle="block", block_samples=4, window_blocks=3),
    "val": lambda found: wt.stream(found, "val", shuffle="full"),
    "a rank": lambda found: wt.stream(found, rank=1, world_size=3, limit=50),
    "by label": lambda found: wt.stream(found, where="label == 'oslo' and width > 2"),
    "by what is null": lambda found: wt.stream(found, where="caption is not None and not (cls != 0)"),
    "by caption": lambda found: wt.stream(found, where="'été' in caption and format == 'jpg'"),
    "by source": lambda found: wt.stream(found, where="source is None or split == 'train'"),
    "by keys": lambda found: wt.stream(found, keys=["oslo/12", "rome/3", "oslo/44"]),
}


@pytest.mark.parametrize("large", [False, True], ids=["mapped", "read row by row"])
@pytest.mark.parametrize("reader", _READERS)
def test_a_stream_gives_the_same_samples_with_and_without_it(
    dataset: Dataset, reader: str, monkeypatch: pytest.MonkeyPatch, *, large: bool
) -> None:
    if large:
        monkeypatch.setattr("wdstools.joined.kept.LARGE_BYTES", 0)
    plain = [(sample.key, dict(sample)) for sample in _READERS[reader](dataset)]
    assert len(plain) >= 3
    assert not _file(dataset).exists()  # not worth it for so few
    open_joined(dataset)
    without = in_memory(dataset) if reader != "by source" else _again(dataset)
    for _, entry in dataset.manifest.shards if reader != "by source" else ():
        without.metadata.delete(entry.index_path)
    for found in (_again(dataset), without):
        assert [(sample.key, dict(sample)) for sample in _READERS[reader](found)] == plain


@pytest.mark.parametrize(
    "options", [{}, {"members": ("txt",)}, {"shuffle": None, "rank": 1, "world_size": 2}, {"fit": "list"}]
)
def test_a_loader_gives_the_same_batches_with_and_without_it(dataset: Dataset, options: dict[str, Any]) -> None:
    def batches(found: Dataset) -> list[list[Any]]:
        read = wt.loader(found, batch_size=7, **options)
        return [
            [batch.keys, batch.get("captions"), str(batch.get("labels")), str(batch.get("images"))] for batch in read
        ]

    plain = batches(dataset)
    open_joined(dataset)
    assert len(plain) >= 4
    assert batches(_again(dataset)) == plain


def test_a_state_goes_on_with_or_without_it(dataset: Dataset) -> None:
    first = wt.stream(dataset, shuffle="full")
    begun = [sample.key for sample in itertools.islice(first, 23)]
    state = first.state_dict()
    open_joined(dataset)
    second = wt.stream(_again(dataset), shuffle="full")
    second.load_state_dict(state)
    rest = [sample.key for sample in second]
    assert begun + rest == [sample.key for sample in wt.stream(dataset, shuffle="full")]


def test_duplicates_are_the_same_with_and_without_it(dataset: Dataset) -> None:
    plain = wt.find_duplicates(dataset, level="exact", captions=True)
    assert plain.samples == 70
    open_joined(dataset)
    without = in_memory(dataset)
    for _, entry in dataset.manifest.shards:
        without.metadata.delete(entry.index_path)
    assert wt.find_duplicates(without, level="exact", captions=True) == plain


@pytest.mark.parametrize("shuffle", ["full", None])
def test_reading_an_epoch_of_many_shards_leaves_the_file_behind(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, shuffle: Any
) -> None:
    monkeypatch.setattr("wdstools.joined.joined._MANY_SHARDS", 2)
    assert len(list(wt.stream(_again(dataset), "val"))) == 10
    assert not _file(dataset).exists()
    found = _again(dataset)
    first = [batch.keys for batch in itertools.islice(wt.loader(found, batch_size=12, shuffle=shuffle), 5)]
    assert _file(dataset).exists()
    assert [batch.keys for batch in wt.loader(found, batch_size=12, shuffle=shuffle)] == first
    assert [batch.keys for batch in wt.loader(_again(dataset), batch_size=12, shuffle=shuffle)] == first
    assert joined_of(_again(dataset)).is_kept


@pytest.mark.parametrize("large", [False, True], ids=["mapped", "read row by row"])
@pytest.mark.parametrize("place", [0.3, 0.5, 0.7, 0.9])
def test_damage_that_is_met_while_reading_is_made_good(
    dataset: Dataset, place: float, monkeypatch: pytest.MonkeyPatch, *, large: bool
) -> None:
    if large:
        monkeypatch.setattr("wdstools.joined.kept.LARGE_BYTES", 0)
    plain = [sample.key for sample in wt.stream(dataset, shuffle="full")]
    open_joined(dataset)
    data = bytearray(_file(dataset).read_bytes())
    at = 4096 + int((len(data) - 4096) * place)
    data[at : at + 64] = bytes(64) if any(data[at : at + 64]) else b"x" * 64
    _file(dataset).write_bytes(data)
    assert [sample.key for sample in wt.stream(_again(dataset), shuffle="full")] == plain


def test_a_large_dataset_is_put_into_the_file_at_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wdstools.joined.making.HELD_ROWS", 10)
    monkeypatch.setattr("wdstools.joined.opening._HELD_ROWS", 10)
    plain = [sample.key for sample in dataset["val"]]
    assert [sample.key for sample in wt.stream(_again(dataset), "val", shuffle=None)] == plain
    assert _file(dataset).exists()
    _check(open_joined(_again(dataset)), dataset)
    for name in ("Writing.mapped", "write_all"):
        monkeypatch.setattr(f"wdstools.joined.kept.{name}", lambda *_: _full_disk())
    _file(dataset).unlink()
    joined = open_joined(_again(dataset))
    assert not joined.is_kept
    _check(joined, dataset)
    assert os.listdir(_file(dataset).parent) == []


def _full_disk() -> None:
    raise OSError(28, "No space left on device")


def test_a_damaged_index_is_no_rows(dataset: Dataset) -> None:
    damaged = in_memory(dataset)
    path = dataset.manifest.shards[1][1].index_path
    data = bytearray(damaged.metadata.get(path))
    data[len(data) // 2] ^= 1
    damaged.metadata.put(path, bytes(data))
    with pytest.raises(FormatError) as caught:
        open_joined(damaged)
    assert caught.value.code == "index-damaged"
    assert not _file(dataset).exists()


def test_processes_that_make_it_at_once_make_one(dataset: Dataset) -> None:
    code = (
        "import sys, wdstools as wt; from wdstools.joined import open_joined;"
        "j = open_joined(wt.open_dataset(sys.argv[1])); print(j.is_kept, len(j.keys(range(len(j)))))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, dataset.shards.url], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate()[0].split() for process in started] == [["True", "70"]] * 3
    assert [name for name in os.listdir(_file(dataset).parent) if not name.endswith(".lock")] == [_file(dataset).name]


def test_a_removal_takes_the_file_of_the_old_version_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dataset = packed(tmp_path, train=20, val=4)
    open_joined(dataset)
    assert _file(dataset).exists()
    key = next(iter(dataset["train"].keys()))
    (tmp_path / "keys").write_text(key)
    done = run_command("remove", dataset.shards.url, "--keys", tmp_path / "keys", "--in-place", "-y", "--json")
    assert done.code == 0, done.err
    assert not _file(dataset).exists()
    assert str(_file(dataset)) in done.out


@pytest.mark.parametrize("what", ["shard", "index"])
def test_what_comes_before_a_shard_that_is_missing_comes_first(tmp_path: Path, what: str) -> None:
    dataset = packed(tmp_path, train=60, val=1)
    entry = dataset.manifest.splits["train"][2]
    before = sum(shard.samples for shard in dataset.manifest.splits["train"][:2])
    Path(dataset.shards.url, entry.path if what == "shard" else entry.index_path).unlink()
    found: list[str] = []
    reading = iter(dataset["train"])
    with pytest.raises(NotFoundError) as caught:
        found += map(attrgetter("key"), reading)
    assert caught.value.code == f"{what}-missing"
    assert len(found) == before
