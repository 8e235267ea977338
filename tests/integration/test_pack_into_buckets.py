"""pack into object stores: the bytes that a disk gets, whoever dies when; what is somebody else's stays as it is."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.came import came
from tests.support.city_pairs import write_city_pairs
from tests.support.killed import KilledError
from tests.support.outcome import contents
from wdstools.dataset import PACK_CLAIM_PATH, Dataset
from wdstools.errors import BusyError, StoreError, UsageError
from wdstools.executors.local import Serial, Threads
from wdstools.executors.processes import Processes
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, index_path, loads
from wdstools.landing.homes import BucketHome
from wdstools.landing.notes import PACKING, seal_key
from wdstools.ops.mirror import mirror
from wdstools.ops.pack import PackResult, pack
from wdstools.ops.pack_plan import plan_pack
from wdstools.ops.verify import verify
from wdstools.stores.base import ABSENT, ANYTHING
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote
from wdstools.stores.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wdstools.executors.base import Executor
    from wdstools.options.pack import PackChoices
    from wdstools.stores.base import ObjectInfo, RemoteStore

OPTIONS: PackChoices = {"shard_samples": 3, "name": "pairs", "check": "header"}
SHARD = "train/train-000000.tar"


class Watched(Wrapper):
    """A store that calls ``act`` at its write number ``stop``, or that is called ``at``, before it is done or after it."""

    def __init__(
        self,
        store: RemoteStore,
        stop: int = 0,
        act: Callable[[], None] | None = None,
        *,
        at: str = "",
        after: bool = False,
    ) -> None:
        super().__init__(store)
        self.writes: list[str] = []
        self._lock = threading.Lock()
        self._stop = stop
        self._at = at
        self._act = act or self._die
        self._after = after

    @staticmethod
    def _die() -> None:
        raise KilledError

    def _counted(self, name: str, key: str, work: Callable[[], Any]) -> Any:
        with self._lock:
            self.writes.append(f"{name} {key}")
            hit = len(self.writes) == self._stop or self.writes[-1] == self._at
        if hit and not self._after:
            self._act()
        try:
            return work()
        finally:
            if hit and self._after:
                self._act()

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Counted."""
        done: ObjectInfo = self._counted("put", key, lambda: super(Watched, self).put_data(key, data, only_if=only_if))
        return done

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Counted."""
        done: ObjectInfo = self._counted(
            "put", key, lambda: super(Watched, self).put_file(key, path, digests, only_if=only_if)
        )
        return done

    def delete(self, key: str) -> None:
        """Counted."""
        self._counted("delete", key, lambda: super(Watched, self).delete(key))


class WithoutConditions(Wrapper):
    """A store that takes "only if nothing is there" and does not keep to it, as some gateways do."""

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Whatever is there is replaced."""
        return super().put_data(key, data, only_if=ANYTHING if only_if == ABSENT else only_if)

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Whatever is there is replaced."""
        return super().put_file(key, path, digests, only_if=ANYTHING if only_if == ABSENT else only_if)


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_city_pairs(tmp_path_factory.mktemp("pairs") / "source", train=6, val=2)


@pytest.fixture(scope="module", name="on_disk")
def _on_disk(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    dest = tmp_path_factory.mktemp("disk") / "out"
    pack(source, dest, **OPTIONS)
    return contents(dest)


@pytest.fixture(name="store")
def _store() -> RemoteStore:
    return remote(MemoryStore())


def packed(source: Path, store: RemoteStore, executor: Executor | None = None, **more: Any) -> PackResult:
    return pack(source, store, executor=executor or Serial(), **{**OPTIONS, **more})


def held(store: RemoteStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list()}


def cut_off(source: Path, store: RemoteStore, at: str, **more: Any) -> None:
    """A pack that is killed right after its first write of this name."""
    with pytest.raises(KilledError):
        packed(source, Watched(store, at=at, after=True), **more)


@pytest.mark.parametrize("executor", [Serial(), Threads(3)])
def test_a_bucket_gets_what_a_disk_gets(
    source: Path, store: RemoteStore, on_disk: dict[str, bytes], executor: Executor
) -> None:
    result = packed(source, store, executor)
    assert held(store) == on_disk
    assert result.root == sha256_hex(on_disk[MANIFEST_PATH])
    assert (result.kept_shards, result.notes) == (0, ())
    dataset = Dataset(loads(store.get(MANIFEST_PATH)), result.root, store, store)
    assert verify(dataset, level="decode").findings == ()


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_whoever_dies_when_the_same_command_finishes(source: Path, on_disk: dict[str, bytes], step: int) -> None:
    whole = Watched(remote(MemoryStore()))
    packed(source, whole)
    assert len(whole.writes) > 20
    for after in (False, True):
        for stop in range(1 + after, len(whole.writes) + 1, step):
            store = remote(MemoryStore())
            watched = Watched(store, stop, after=after)
            with pytest.raises(KilledError):
                packed(source, watched)
            there = MANIFEST_PATH in held(store)
            noted = sum(b'"done"' in data for key, data in held(store).items() if key.startswith(PACKING))
            try:
                assert packed(source, store).kept_shards == noted or there, whole.writes[stop - 1]
            except StoreError as error:
                assert (error.code, there) == ("destination-not-empty", True)  # noqa: PT017  # which, the next line says
            assert held(store) == on_disk, (whole.writes[stop - 1], after)


def test_what_was_finished_is_not_stored_again(source: Path, store: RemoteStore, on_disk: dict[str, bytes]) -> None:
    cut_off(source, store, "put README.md")
    again = Watched(store)
    assert packed(source, again).kept_shards == 3
    assert [name for name in again.writes if name.endswith((".tar", ".parquet"))] == []
    assert held(store) == on_disk


def test_a_source_that_changed_meanwhile_is_packed_as_it_is_now(
    source: Path, store: RemoteStore, tmp_path: Path
) -> None:
    changed = tmp_path / "source"
    shutil.copytree(source, changed)
    cut_off(changed, store, f"put {SHARD}")
    for caption in changed.rglob("*.txt"):
        caption.write_text("another caption")
    pack(changed, tmp_path / "out", **OPTIONS)
    packed(changed, store)
    assert held(store) == contents(tmp_path / "out")


def test_other_options_are_refused_until_the_user_begins_anew(
    source: Path, store: RemoteStore, on_disk: dict[str, bytes]
) -> None:
    for place in (f"put {SHARD}", "put .wdstools/index/train-000000.parquet", "put README.md"):
        cut_off(source, store, place, seed=5)
        before = held(store)
        with pytest.raises(BusyError) as caught:
            packed(source, store)
        assert caught.value.code == "partial-of-other-plan"
        assert held(store) == before
        packed(source, store, restart=True)
        assert held(store) == on_disk
        for info in list(store.list()):
            store.delete(info.key)


@pytest.mark.parametrize("key", ["notes.txt", SHARD, MANIFEST_PATH, f"{PACKING}x.json", "README.md"])
def test_what_somebody_else_has_stored_stays(source: Path, store: RemoteStore, key: str) -> None:
    store.put_data(key, b"theirs")
    with pytest.raises(StoreError) as caught:
        packed(source, store, restart=True)
    assert caught.value.code == "destination-not-empty"
    assert held(store) == {key: b"theirs"}


@pytest.mark.parametrize(
    "key", ["notes.txt", "train/train-000001.tar", MANIFEST_PATH, "README.md", f"{PACKING}{'0' * 32}/train-000000.json"]
)
@pytest.mark.parametrize("restart", [False, True])
def test_what_somebody_stores_while_a_pack_is_stopped_stays(
    source: Path, store: RemoteStore, key: str, *, restart: bool
) -> None:
    cut_off(source, store, "put .wdstools/index/train-000000.parquet")
    store.put_data(key, b"theirs")
    with pytest.raises((StoreError, BusyError)) as caught:
        packed(source, store, restart=restart)
    assert caught.value.code in ("scratch-not-ours", "destination-not-empty", "busy")
    assert caught.value.hint
    assert store.get(key) == b"theirs"
    assert MANIFEST_PATH not in held(store) or key == MANIFEST_PATH


def test_a_shard_that_was_replaced_is_refused_and_stays(source: Path, store: RemoteStore) -> None:
    cut_off(source, store, "put README.md")
    store.put_data(SHARD, b"theirs")
    for restart in (False, True):
        with pytest.raises(StoreError) as caught:
            packed(source, store, restart=restart)
        assert caught.value.code == "scratch-not-ours"
        assert SHARD in caught.value.where
        assert store.get(SHARD) == b"theirs"
    store.delete(SHARD)
    assert packed(source, store).kept_shards == 2


@pytest.mark.parametrize("key", ["my/photo.jpg", "train/train-000007.tar"])
def test_a_note_of_a_stranger_deletes_nothing(source: Path, store: RemoteStore, key: str) -> None:
    cut_off(source, store, "put README.md")
    store.put_data(key, b"theirs")
    etag = next(info.etag for info in store.list() if info.key == key)
    forged = {"begun": {key: "0" * 64}, "done": {"stored": {"shard": etag}}}
    plan = next(name for name in held(store) if name.endswith("train-000000.json")).rpartition("/")[0]
    store.put_data(f"{plan}/train-000007.json", json.dumps(forged).encode())
    with pytest.raises(StoreError) as caught:
        packed(source, store, restart=True)
    assert caught.value.code == "scratch-not-ours"
    assert store.get(key) == b"theirs"


def test_a_note_is_believed_only_of_what_the_store_holds(
    source: Path, store: RemoteStore, on_disk: dict[str, bytes]
) -> None:
    """Whoever may write under the prefix may write notes too."""
    cut_off(source, store, "put README.md")
    notes = sorted(key for key in held(store) if key.endswith("train-000000.json"))
    note = json.loads(store.get(notes[0]))
    wrong: list[Any] = [
        {"entry": {"path": "../x"}},
        {"entry": None},
        {"entry": 5},
        {"index_sha256": "0" * 64},
        {"skips": [1]},
    ]
    for lie in wrong:
        store.put_data(notes[0], json.dumps({**note, "done": {**note["done"], **lie}}).encode())
        store.delete("README.md")
        cut_off(source, store, "put README.md")
        assert json.loads(store.get(notes[0])) == note
    store.put_data(notes[0], json.dumps({**note, "done": {**note["done"], "index_sha256": "0" * 64}}).encode())
    assert packed(source, store).kept_shards == 2
    assert held(store) == on_disk


def test_a_shard_that_somebody_put_there_with_a_note_to_match_is_made_again(
    source: Path, store: RemoteStore, on_disk: dict[str, bytes], tmp_path: Path
) -> None:
    """All agrees: shard, index, the digests in the note, sizes and times of the source. Only the seal cannot be made."""
    other = shutil.copytree(source, tmp_path / "other")
    for caption in other.rglob("*.txt"):
        caption.write_bytes(b"x" * caption.stat().st_size)
    theirs = remote(MemoryStore())
    packed(other, Watched(theirs))
    forged = remote(MemoryStore())
    cut_off(other, forged, "put README.md")
    cut_off(source, store, "put README.md")
    (note,) = (key for key in held(store) if key.endswith("train-000000.json"))
    (their_note,) = (key for key in held(forged) if key.endswith("train-000000.json"))
    mine, lie = json.loads(store.get(note)), json.loads(forged.get(their_note))
    for key in (SHARD, index_path(SHARD)):
        store.put_data(key, forged.get(key))
    for seal in (mine["done"]["seal"], lie["done"]["seal"], "", None, "é", "\ud800"):
        done = {**lie["done"], "sources": mine["done"]["sources"], "stored": {}, "seal": seal}
        store.put_data(note, json.dumps({**lie, "done": done}).encode())
        store.put_data(SHARD, forged.get(SHARD))
        store.delete("README.md")
        cut_off(source, store, "put README.md")
        assert store.get(SHARD) == on_disk[SHARD]
    store.put_data(SHARD, forged.get(SHARD))
    store.put_data(note, json.dumps({**lie, "done": done}).encode())
    result = packed(source, store)
    assert (result.kept_shards, result.remade_shards) == (2, 1)
    assert held(store) == on_disk


def test_the_secret_of_the_packer_is_in_nothing_that_is_stored_or_shown(
    source: Path, store: RemoteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WDSTOOLS_PACK_SECRET", "CANARY7f3a90")
    caplog.set_level("DEBUG", "wdstools")
    cut_off(source, store, "put README.md")
    home = BucketHome(store, "plan", seal_key("plan"), conditions=True)
    assert repr(home.key) not in repr(home)
    shown = b"".join(held(store).values()) + caplog.text.encode() + repr(home).encode() + pickle.dumps(home.key)
    assert b"seal" in shown
    assert b"CANARY7f3a90" not in shown


def test_hosts_without_a_common_home_believe_each_other_by_a_secret(
    source: Path, on_disk: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(home: str, secret: str) -> None:
        monkeypatch.setenv("WDSTOOLS_PACK_SECRET", secret)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))

    for first, others in {
        ("a", "one"): {("b", "one"): (3, 0), ("a", "two"): (0, 3), ("a", ""): (0, 3)},
        ("a", ""): {("a", ""): (3, 0), ("b", ""): (0, 3)},
    }.items():
        left = remote(MemoryStore())
        at(*first)
        cut_off(source, left, "put README.md")
        for other, counts in came(others.items()):
            store = remote(MemoryStore())
            for key, data in held(left).items():
                store.put_data(key, data)
            at(*other)
            result = packed(source, store)
            assert (result.kept_shards, result.remade_shards) == counts
            assert held(store) == on_disk


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_two_that_pack_the_same_at_once_help_each_other(source: Path, on_disk: dict[str, bytes], step: int) -> None:
    whole = Watched(remote(MemoryStore()))
    packed(source, whole)
    assert len(whole.writes) > 20
    for stop in range(1, len(whole.writes) + 1, step):
        store = remote(MemoryStore())
        other: list[str] = []

        def run_other(store: RemoteStore = store, other: list[str] = other) -> None:
            try:
                other.append(packed(source, store).root)
            except StoreError as error:
                other.append(error.code)

        try:
            root = packed(source, Watched(store, stop, run_other)).root
        except StoreError as error:
            root = error.code
        assert {root, *other} <= {sha256_hex(on_disk[MANIFEST_PATH]), "destination-not-empty"}
        assert (root == "destination-not-empty") + (other == ["destination-not-empty"]) < 2
        assert held(store) == on_disk


def test_of_two_that_pack_other_things_one_is_refused(source: Path, on_disk: dict[str, bytes]) -> None:
    for stop in (1, 2, 5, 9):
        store = remote(MemoryStore())
        refused: list[str] = []

        def run_other(store: RemoteStore = store, refused: list[str] = refused) -> None:
            try:
                packed(source, store, seed=9)
            except (BusyError, StoreError) as error:
                refused.append(error.code)

        try:
            packed(source, Watched(store, stop, run_other))
        except (BusyError, StoreError) as error:
            refused.append(error.code)
        assert len(refused) == 1
        assert refused[0] in ("partial-of-other-plan", "scratch-not-ours", "busy", "destination-not-empty")
        if stop > 1:
            assert held(store) == on_disk


def test_no_mirror_goes_where_a_pack_is_unfinished(source: Path, store: RemoteStore, tmp_path: Path) -> None:
    pack(source, tmp_path / "out", **OPTIONS)
    cut_off(source, store, "put .wdstools/packing/claim.json")
    for replace in (False, True):
        with pytest.raises(BusyError) as caught:
            mirror(tmp_path / "out", store, replace=replace)
        assert caught.value.code == "pack-unfinished"
    assert [*held(store)] == [PACK_CLAIM_PATH]


def test_a_store_that_keeps_to_no_conditions_is_looked_at_first(
    source: Path, store: RemoteStore, on_disk: dict[str, bytes]
) -> None:
    lax = WithoutConditions(store)
    cut_off(source, lax, "put .wdstools/index/train-000000.parquet")
    store.put_data("train/train-000001.tar", b"theirs")
    with pytest.raises(StoreError) as caught:
        packed(source, lax)
    assert caught.value.code == "scratch-not-ours"
    assert store.get("train/train-000001.tar") == b"theirs"
    store.delete("train/train-000001.tar")
    result = packed(source, lax)
    assert "If-None-Match" in result.notes[-1]
    assert held(store) == on_disk


def test_memory_is_refused_to_other_processes(source: Path, store: RemoteStore) -> None:
    workers = Processes(2)
    try:
        with pytest.raises(UsageError) as caught:
            packed(source, store, workers)
    finally:
        workers.close()
    assert caught.value.code == "store-not-shared"
    assert pack(source, MemoryStore(), jobs=2, **OPTIONS).shards == 3
    with pytest.raises(UsageError) as caught:
        pack(source, "memory:", **OPTIONS)
    assert caught.value.code == "destination-elsewhere"


def test_a_pack_of_which_nothing_is_left_leaves_nothing(
    source: Path, store: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(source, broken)
    for image in broken.rglob("*.jpg"):
        image.write_bytes(image.read_bytes()[:-30])
    with pytest.raises(UsageError) as caught:
        packed(broken, store)
    assert caught.value.code == "source-empty"
    assert held(store) == {}
    assert PACK_CLAIM_PATH not in held(store)


class Flipping(Wrapper):
    """A store that keeps an object with one bit turned, and truthfully tells the digest of what it keeps."""

    def __init__(self, store: RemoteStore, key: str, times: int) -> None:
        super().__init__(store)
        self._key = key
        self._left = times

    def _flipped(self, key: str, data: bytes) -> bytes:
        if key != self._key or not self._left:
            return data
        self._left -= 1
        return data[:100] + bytes([data[100] ^ 1]) + data[101:]

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Perhaps otherwise than it came."""
        return super().put_data(key, self._flipped(key, data), only_if=only_if)

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Perhaps otherwise than it came."""
        del digests
        return self.put_data(key, LocalStore("/").get(path), only_if=only_if)


@pytest.mark.parametrize("key", [SHARD, index_path(SHARD)])
def test_what_a_store_says_it_holds_otherwise_is_sent_again_and_then_refused(
    source: Path, store: RemoteStore, on_disk: dict[str, bytes], key: str
) -> None:
    with pytest.raises(StoreError) as caught:
        packed(source, Flipping(store, key, times=2))
    assert caught.value.code == "upload-damaged"
    assert key in caught.value.where
    assert "delete" in caught.value.hint
    assert MANIFEST_PATH not in held(store)
    store.delete(key)
    packed(source, Flipping(store, key, times=1))
    assert held(store) == on_disk


def test_a_dry_run_deletes_no_note(source: Path, store: RemoteStore) -> None:
    with pytest.raises(KilledError):
        packed(source, Watched(store, at=f"delete {PACK_CLAIM_PATH}", after=True))
    before = held(store)
    assert any(key.startswith(PACKING) for key in before)
    with pytest.raises(StoreError) as caught:
        plan_pack(source, store, executor=Serial(), **OPTIONS)
    assert caught.value.code == "destination-not-empty"
    assert held(store) == before


def test_a_note_with_anything_for_an_etag_is_read_by_its_digests(
    source: Path, store: RemoteStore, on_disk: dict[str, bytes]
) -> None:
    cut_off(source, store, "put README.md", seed=5)
    key = next(key for key in held(store) if key.endswith("train-000000.json"))
    note = json.loads(store.get(key))
    store.put_data(key, json.dumps({**note, "done": {**note["done"], "stored": {"shard": [1]}}}).encode())
    packed(source, store, restart=True)
    assert held(store) == on_disk
