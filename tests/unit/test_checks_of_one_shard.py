"""One shard, looked at alone: what each check says of it, of whom it believes what, and how far it says it has come."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.laws import SHORT_LAW
from wdstools.checks.batch import BatchTask, Look, Manner, batches, check_batch
from wdstools.checks.manifest_line import DescribeTask, describe_shard
from wdstools.checks.remote import NOTED_PATH, RemoteCheckTask, check_remote, noted_md5
from wdstools.checks.shard import ShardCheckTask, check_shard
from wdstools.checks.signature import read_public_key
from wdstools.checks.trust import trusted
from wdstools.checks.unread import UNREAD, set_apart
from wdstools.dataset import open_dataset
from wdstools.errors import StoreError, UsageError
from wdstools.results import Finding
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote
from wdstools.stores.wrapper import Wrapper

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.stores.base import ObjectInfo

GOLDEN = Path(__file__).parents[1] / "golden/v2/dataset"


class Ticks:
    """How far a check says that it has come."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, count: int) -> None:
        self.bytes += count


class Provider(Wrapper):
    """A store that gives digests of its objects, or fails at them."""

    def __init__(self, held: bytes | None, digests: dict[str, str], code: str = "") -> None:
        super().__init__(remote(MemoryStore()))
        self._digests, self._code = digests, code
        if held is not None:
            self.put_data(ENTRY.path, held)

    def head(self, key: str) -> ObjectInfo:
        """Fails, if it is to."""
        if self._code:
            raise StoreError("no", code=self._code)
        return super().head(key)

    def remote_digests(self, key: str) -> dict[str, str]:
        """The digests that were given."""
        del key
        return self._digests


def _dataset(store: Wrapper | None = None) -> Dataset:
    dataset = open_dataset(str(GOLDEN))
    return dataset if store is None else replace(dataset, shards=store, readers={})


_, ENTRY = next(iter(_dataset().manifest.shards))
DATA = (GOLDEN / ENTRY.path).read_bytes()
SPLIT = ENTRY.path.partition("/")[0]


def _remote(store: Provider, md5: str | None = None, believed: tuple[str, ...] | None = None) -> tuple[list[str], int]:
    ticks = Ticks()
    check = check_remote(RemoteCheckTask(_dataset(store), ENTRY, md5, believed), ticks)
    assert ticks.bytes == ENTRY.bytes
    return [finding.cause for finding in check.findings], len(check.unproved)


@pytest.mark.parametrize(
    ("digests", "md5", "believed", "said"),
    [
        ({"sha256": ENTRY.sha256}, None, None, ([], 0)),
        ({"sha256": "0" * 64}, None, None, (["store-differs"], 0)),
        ({"md5": "a", "crc32c": ENTRY.crc32c}, "a", None, ([], 0)),
        ({"md5": "a", "crc32c": "00000000"}, "a", None, (["store-differs"], 0)),
        ({"md5": "b"}, "a", None, (["store-differs"], 0)),
        ({"md5": "b"}, None, None, ([], 1)),  # nobody has noted it
        ({}, "a", None, ([], 1)),
        ({"sha256": ENTRY.sha256}, None, ("crc32c",), ([], 1)),  # a digest that is not believed proves nothing
        ({"sha256": "0" * 64, "crc32c": ENTRY.crc32c}, None, ("crc32c",), ([], 0)),
    ],
)
def test_a_provider_proves_by_what_it_is_believed(
    digests: dict[str, str], md5: str | None, believed: tuple[str, ...] | None, said: tuple[list[str], int]
) -> None:
    assert _remote(Provider(DATA, digests), md5, believed) == said


def test_a_digest_that_differs_is_a_finding_of_the_whole_shard() -> None:
    check = check_remote(
        RemoteCheckTask(_dataset(Provider(DATA, {"sha256": "0" * 64})), ENTRY, None, None), lambda _: None
    )
    (finding,) = check.findings
    assert (finding.start, finding.length, finding.field) == (0, len(DATA), "sha256")
    for given_digests, word in (({}, "no digest"), ({"md5": "a", "etag": "b"}, "etag, md5")):
        check = check_remote(
            RemoteCheckTask(_dataset(Provider(DATA, given_digests)), ENTRY, None, None), lambda _: None
        )
        assert word in check.unproved[0]


@pytest.mark.parametrize("key", ["manifest.json", "a/b/manifest.json"])
def test_what_a_mirror_noted_lies_beside_the_manifest_and_counts_where_it_is_text(key: str) -> None:
    store = remote(MemoryStore())
    dataset = replace(_dataset(), metadata=store, manifest_key=key)
    assert noted_md5(dataset) == {}
    for data, found in [
        (b'{"md5": {"x": "y", "z": 5}}', {"x": "y"}),
        (b'{"md5": ["x"]}', {}),
        (b'["md5"]', {}),
        (b"{}", {}),
        (b"no JSON", {}),
        (b"[" * 100_000, {}),
    ]:
        store.put_data(key.replace("manifest.json", NOTED_PATH), data)
        assert noted_md5(dataset) == found


def test_a_length_is_a_proof_of_its_own() -> None:
    good = {"sha256": ENTRY.sha256}
    assert _remote(Provider(DATA[:-1], good)) == (["shard-shorter"], 0)
    assert _remote(Provider(DATA + b"x", good)) == (["shard-longer"], 0)
    assert _remote(Provider(None, good)) == (["shard-missing"], 0)
    assert _remote(Provider(DATA, good, "denied")) == ([], 1)


@pytest.mark.parametrize("level", ["size", "digest"])
def test_a_shard_that_is_missing_has_no_bytes_and_one_that_is_there_has_its_own(level: str) -> None:
    for held, causes, read in ((DATA, [], len(DATA)), (None, ["shard-missing"], 0)):
        ticks = Ticks()
        dataset = _dataset(Provider(held, {}))
        check = check_shard(ShardCheckTask(dataset, SPLIT, ENTRY, level, "sha256"), ticks)
        assert [finding.cause for finding in check.findings] == causes
        assert (check.bytes, check.samples) == (0 if level == "size" else read, ENTRY.samples if held else 0)
        assert ticks.bytes == ENTRY.bytes


class FailingDisk(LocalStore):
    """A disk that cannot say how long a file is."""

    def head(self, key: str) -> ObjectInfo:
        """Fails."""
        raise StoreError("no", code="input-output")


def test_what_a_disk_cannot_read_is_a_finding_and_counts_no_bytes() -> None:
    dataset = replace(_dataset(), shards=FailingDisk(str(GOLDEN)), readers={})
    check = check_shard(ShardCheckTask(dataset, SPLIT, ENTRY, "digest", "sha256"), Ticks())
    assert ([finding.kind for finding in check.findings], check.bytes) == (["unreadable"], 0)


def test_a_store_that_fails_proves_nothing_and_says_so() -> None:
    dataset = _dataset(Provider(DATA, {}, "denied"))
    with pytest.raises(StoreError):  # the place itself, more likely than this shard
        check_shard(ShardCheckTask(dataset, SPLIT, ENTRY, "digest", "sha256"), Ticks())


@pytest.mark.parametrize(("may_lack", "held", "whole"), [(True, True, True), (True, False, False), (False, True, True)])
def test_the_index_of_a_shard_that_may_lack_is_checked_where_the_shard_is(
    may_lack: bool, held: bool, whole: bool
) -> None:
    dataset = _dataset(Provider(DATA if held else None, {}))
    index = remote(MemoryStore())  # the index is not here
    look = Look(SPLIT, ENTRY, None, None)
    manner = Manner("digest", "sha256", None, may_lack)
    (looked,) = check_batch(BatchTask(dataset, manner, (look,)), Ticks())
    assert (looked.missing, looked.whole) == (not held, whole)
    alone = replace(dataset, metadata=index, readers={})
    (looked,) = check_batch(BatchTask(alone, manner, (look,)), Ticks())
    assert [finding.cause for finding in looked.index] == ([] if may_lack else ["index-missing"])
    damaged = remote(MemoryStore())
    damaged.put_data(ENTRY.index_path, b"no index")
    (looked,) = check_batch(BatchTask(replace(alone, metadata=damaged), manner, (look,)), Ticks())
    assert bool(looked.index) is held


MOST = {"digest": 4 << 30, "samples": 2 << 30, "decode": 512 << 20}


@SHORT_LAW
@given(st.lists(st.integers(0, 3 << 30), max_size=12), st.sampled_from([*MOST, "size"]), st.integers(1, 3))
@example([1 << 30] * 40, "digest", 1)
@example([1 << 30] * 40, "samples", 1)
@example([1 << 28] * 40, "decode", 1)
def test_shards_are_shared_out_by_their_bytes(sizes: list[int], level: str, jobs: int) -> None:
    looks = [Look(SPLIT, replace(ENTRY, bytes=size)) for size in sizes]
    most = min(MOST.get(level, 1 << 62), sum(sizes) // (8 * jobs))
    tasks = list(batches(looks, level, total=sum(sizes), jobs=jobs, near=True))
    assert [look for task in tasks for look in task] == looks
    for task, following in itertools.zip_longest(tasks, tasks[1:]):
        size = sum(look.entry.bytes for look in task)
        assert len(task) == 1 or size <= most
        assert following is None or size + following[0].entry.bytes > most


@pytest.mark.parametrize(("near", "most"), [(True, 2000), (False, 250)])
def test_very_many_small_shards_are_shared_out_by_their_number(near: bool, most: int) -> None:
    looks = [Look(SPLIT, replace(ENTRY, bytes=0))] * (2 * most + 1)
    assert [len(task) for task in batches(looks, "size", total=0, jobs=1, near=near)] == [most, most, 1]


def test_a_shard_describes_itself_and_says_how_far_it_is_read() -> None:
    store, ticks = MemoryStore(), Ticks()
    store.put(ENTRY.path, DATA)
    made = describe_shard(DescribeTask(store, SPLIT, ENTRY.path, _dataset().manifest.labels, True, True), ticks)
    assert (made.entry.sha256, made.entry.samples, made.findings, made.trailing) == (
        ENTRY.sha256,
        ENTRY.samples,
        (),
        False,
    )
    assert ticks.bytes == len(DATA)


def test_the_end_of_an_archive_that_is_cut_is_told_from_where_it_is_cut() -> None:
    last = len(DATA.rstrip(b"\0"))
    body = last + -last % 512
    for cut in range(body + 512, len(DATA), 512):
        store = MemoryStore()
        store.put(ENTRY.path, DATA[:cut])
        found = describe_shard(DescribeTask(store, SPLIT, ENTRY.path, (), True, True), lambda _: None).findings
        assert [(finding.cause, finding.start, finding.length) for finding in found] == [
            ("archive-end-missing", cut, len(DATA) - cut)
        ]


def test_what_could_not_be_read_is_no_damage() -> None:
    cannot = [Finding("unreadable", "a", "no", cause=cause) for cause in UNREAD]
    damage = [Finding("unreadable", "a", "no", cause="input-output"), Finding("payload", "b", "no", cause=UNREAD[0])]
    found, unread = set_apart([*cannot, *damage])
    assert found == tuple(damage)
    assert len(unread) == len(cannot)
    assert all(cause in text for cause, text in zip(UNREAD, unread, strict=True))


def test_one_is_trusted_by_a_key_or_by_authorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dataset = _dataset()
    assert trusted(dataset, None, dataset.manifest.version, None) is dataset
    with pytest.raises(UsageError, match="cannot be combined"):
        trusted(dataset, tmp_path / "key", None, tmp_path / "authorities")
    monkeypatch.setitem(sys.modules, "model_signing", None)  # as where the extra is not installed
    with pytest.raises(UsageError) as caught:
        read_public_key(str(tmp_path / "key"))
    assert caught.value.code == "extra-missing"
