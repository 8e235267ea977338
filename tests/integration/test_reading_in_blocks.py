"""Neighbours are read and checked a block at a time: what is damaged in one is told of one sample, and spoils no other."""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import wdstools as wt
from tests.support.foreign_tars import tar_bytes
from tests.support.streams import flip as flip_member
from tests.support.streams import packed
from wdstools.reader.ranges import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

#: The sample that is longer than a block; blocks begin around it and in the middle of others.
LONG = 17
COUNT = 40


def payload(number: int) -> bytes:
    """The bytes of one sample's first member."""
    return random.Random(number).randbytes(BLOCK_BYTES + 70_000 if number == LONG else 20_000 + 50 * number)


#: What lies in the shard: one sample has no caption, one has two of one name, of which the last counts.
SAMPLES = {
    f"{number:04d}": {"bin": payload(number), "json": b"[%d]" % number, "txt": b"number %d" % number}
    for number in range(COUNT)
}
del SAMPLES["0005"]["txt"]
SAMPLES["0006"]["txt"] = b"the later one"


@pytest.fixture(name="shard")
def _shard(tmp_path: Path) -> str:
    members = [(f"{key}.{name}", data) for key, sample in SAMPLES.items() for name, data in sample.items()]
    members.insert(members.index(("0006.txt", b"the later one")), ("0006.txt", b"an earlier one"))
    path = tmp_path / "tars" / "train-000000.tar"
    path.parent.mkdir()
    path.write_bytes(tar_bytes(members))
    return str(path)


@pytest.fixture(name="where")
def _where(shard: str, tmp_path: Path) -> str:
    return wt.adopt(os.path.dirname(shard), str(tmp_path / "adopted"), digests="xxh3").dataset.metadata.url


def by_number(dataset: wt.Dataset) -> list[wt.Sample]:
    """The samples that can be had by number."""
    train, found = dataset["train"], []
    for number in random.Random(1).sample(range(COUNT), COUNT):
        with contextlib.suppress(wt.IntegrityError):
            found.append(train[number])
    return found


WAYS: dict[str, Callable[[wt.Dataset], Iterable[wt.Sample]]] = {
    "in order": lambda dataset: wt.stream(dataset, shuffle=None, on_damage="skip"),
    "shuffled": lambda dataset: wt.stream(dataset, shuffle="full", on_damage="skip"),
    "by number": by_number,
}


def flip(shard: str, key: str) -> None:
    """Change a byte in the middle of a sample's first member."""
    with open(shard, "r+b") as file:
        middle = file.read().index(SAMPLES[key]["bin"]) + len(SAMPLES[key]["bin"]) // 2
        file.seek(middle)
        byte = file.read(1)[0]
        file.seek(middle)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("way", WAYS)
def test_samples_that_are_held_stay_what_they_were(way: str, where: str) -> None:
    held = list(WAYS[way](wt.open_dataset(where)))
    assert {sample.key: dict(sample) for sample in held} == SAMPLES
    assert {sample.key: {name: bytes(sample.view(name)) for name in sample} for sample in held} == SAMPLES


@pytest.mark.parametrize("key", ["0000", "0006", "0012", "0013", f"{LONG:04d}", f"{LONG + 1:04d}", f"{COUNT - 1:04d}"])
def test_only_the_damaged_sample_is_left_out(key: str, shard: str, where: str) -> None:
    flip(shard, key)
    others = {name: sample for name, sample in SAMPLES.items() if name != key}
    dataset = wt.open_dataset(where)
    for way in WAYS.values():
        assert {sample.key: dict(sample) for sample in way(dataset)} == others
    before: list[str] = []
    with pytest.raises(wt.IntegrityError, match=f"sample {key}") as caught:
        before.extend(sample.key for sample in dataset["train"])
    assert caught.value.code == "sample-damaged"
    assert before == list(SAMPLES)[: list(SAMPLES).index(key)]
    with pytest.raises(wt.IntegrityError, match=f"sample {key}"):
        dict(dataset[key])
    assert len(list(wt.stream(dataset, on_damage="skip"))) == COUNT - 1


def test_a_shard_cut_while_it_is_read_gives_what_is_left_of_it(shard: str, where: str) -> None:
    stream = iter(wt.stream(wt.open_dataset(where), shuffle=None, on_damage="skip"))
    first = next(stream)
    with open(shard, "rb") as file:
        os.truncate(shard, file.read().index(SAMPLES["0030"]["bin"]) + 10)
    left = {sample.key: dict(sample) for sample in (first, *stream)}
    assert left == {key: sample for key, sample in SAMPLES.items() if key < "0030"}


def test_each_sample_has_its_own_members_where_names_repeat_across_samples(tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    names = ["a.bin", "a.txt", "b.bin", "c.txt", "c.bin", "c.txt"]
    tar = tar_bytes([(name, b"%d" % number) for number, name in enumerate(names)])
    (tmp_path / "tars/train-000000.tar").write_bytes(tar)
    dataset = wt.adopt(str(tmp_path / "tars"), str(tmp_path / "adopted")).dataset
    wanted = {"a": {"bin": b"0", "txt": b"1"}, "b": {"bin": b"2"}, "c": {"txt": b"5", "bin": b"4"}}
    train = dataset["train"]
    assert {sample.key: dict(sample) for sample in (train[0], train[1], train[2])} == wanted
    assert {sample.key: dict(sample) for sample in train} == wanted


@pytest.mark.parametrize("shuffle", [None, "full"])
@pytest.mark.parametrize("members", [("bin",), ("txt",), ("txt", "bin"), ("json", "txt")])
def test_members_are_read_alone(members: tuple[str, ...], shuffle: str | None, where: str) -> None:
    dataset = wt.open_dataset(where)
    wanted = {key: {n: data for n, data in sample.items() if n in members} for key, sample in SAMPLES.items()}
    found = {sample.key: dict(sample) for sample in wt.stream(dataset, members=members, shuffle=shuffle)}
    assert found == wanted
    if "txt" in members:
        loaded = wt.loader(dataset, members=members, shuffle=shuffle, batch_size=8)
        texts = {key: text for batch in loaded for key, text in zip(batch.keys, batch.captions, strict=True)}
        assert texts == {key: sample.get("txt", b"").decode() for key, sample in wanted.items()}


@pytest.mark.parametrize("key", ["0000", "0006", f"{LONG:04d}", f"{COUNT - 1:04d}"])
def test_of_members_that_are_read_alone_only_the_damaged_one_is_told(key: str, shard: str, where: str) -> None:
    flip(shard, key)
    dataset = wt.open_dataset(where)
    texts = {sample.key: sample.get("txt") for sample in wt.stream(dataset, members=["txt"], shuffle=None)}
    assert texts == {name: sample.get("txt") for name, sample in SAMPLES.items()}
    for members in (["bin"], ["txt", "bin"]):
        stream = wt.stream(dataset, members=members, shuffle=None, on_damage="skip")
        assert {sample.key: sample["bin"] for sample in stream} == {k: s["bin"] for k, s in SAMPLES.items() if k != key}
        assert [(finding.key, finding.member) for finding in stream.report().findings] == [(key, "bin")]
    with pytest.raises(wt.IntegrityError, match=f"sample {key}, member bin"):
        list(wt.stream(dataset, members=["bin"], shuffle=None))


def test_with_a_root_digest_members_are_proved_by_their_whole_samples(tmp_path: Path) -> None:
    root = packed(tmp_path, train=12, val=0).root
    dataset = wt.open_dataset(str(tmp_path / "shards"), root=root)
    flip_member(dataset, "train", 3, "txt")
    images = wt.stream(dataset, members=["jpg"], on_damage="skip")
    assert {tuple(sample) for sample in images} == {("jpg",)}
    assert (len(images.report().findings), images.report().proved) == (1, "forger")
    assert len(list(wt.stream(str(tmp_path / "shards"), members=["jpg"]))) == 12


@pytest.mark.parametrize("members", [(), ("jpg",), ("bin", "none"), "bin"])
def test_members_that_no_sample_has_are_refused(members: tuple[str, ...], where: str) -> None:
    with pytest.raises(wt.UsageError) as caught:
        wt.stream(where, members=members)
    assert caught.value.where.lstrip("-") == "members"


def test_asking_for_a_member_that_no_sample_has_does_not_look_through_the_shard_each_time(where: str) -> None:
    class Counted(list[str]):
        looks = 0

        def __iter__(self) -> Iterator[str]:
            Counted.looks += 1
            return super().__iter__()

    dataset = wt.open_dataset(where)
    reader: Any = dataset["train"][0]._places
    reader.spans._rows = replace(reader.spans._rows, extensions=Counted(reader.spans._rows.extensions))
    assert ["cls" in dataset["train"][number] for number in range(COUNT)] == [False] * COUNT
    assert Counted.looks == 1


@pytest.mark.parametrize("way", WAYS)
def test_what_a_sample_lacks_is_a_key_error(way: str, where: str) -> None:
    samples = {sample.key: sample for sample in WAYS[way](wt.open_dataset(where))}
    bare = samples["0005"]
    assert (list(bare), len(bare), "txt" in bare, bare.get("txt")) == (["bin", "json"], 2, False, None)
    for read in (bare.__getitem__, bare.view):
        for name in ("txt", "jpg"):
            with pytest.raises(KeyError, match=name):
                read(name)
    assert repr(bare).startswith("Sample('0005', bin: ")
