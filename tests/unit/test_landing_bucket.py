"""A prefix that a dataset is packed into, driven step by step: whose claim counts, and what is somebody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wdstools.dataset import PACK_CLAIM_PATH
from wdstools.errors import BusyError, StoreError
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, index_path
from wdstools.landing.bucket_site import BucketSite
from wdstools.landing.notes import BEGUN, PACKING, note_path, read_note, write_note
from wdstools.stores.base import ABSENT, ANYTHING
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote
from wdstools.stores.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.stores.base import Body, ObjectInfo, RemoteStore

PLAN, OTHER = "0" * 32, "1" * 32
SHARD = "train/train-000000.tar"
INDEX = index_path(SHARD)
FILES = {MANIFEST_PATH: b"a manifest", "README.md": b"a card"}
WHOLE = {SHARD: b"a shard", INDEX: b"an index", **FILES}


class Odd(Wrapper):
    """A store that refuses conditional PUTs with a code, or takes them without keeping to them; it loses what it is told to."""

    def __init__(self, code: str = "", loses: str = "") -> None:
        super().__init__(remote(MemoryStore()))
        self.code, self.loses = code, loses

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """As said above."""
        if only_if == ABSENT and self.code == "takes":
            only_if = ANYTHING
        elif only_if == ABSENT and self.code:
            raise StoreError("no", code=self.code)
        info = super().put_data(key, data, only_if=only_if)
        if key == self.loses:
            self.delete(key)
        return info


def _held(store: RemoteStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list()}


def _begun(store: RemoteStore, plan: str = PLAN, *, restart: bool = False) -> BucketSite:
    site = BucketSite(store)
    with site:
        assert site.begin(plan, [SHARD, INDEX], restart=restart) == []
    return site


def _made(store: RemoteStore, plan: str = PLAN) -> None:
    """A shard with its index, as workers store them."""
    sums = {path: sha256_hex(WHOLE[path]) for path in (SHARD, INDEX)}
    write_note(store, note_path(plan, SHARD), sums)
    for path in sums:
        store.put_data(path, WHOLE[path])


@pytest.mark.parametrize("code", ["", "takes", "store-cannot"])
def test_a_dataset_appears_and_no_note_of_its_making_stays(code: str) -> None:
    store = Odd(code)
    site = _begun(store)
    assert bool(site.notes) is bool(code)
    assert site.home.conditions is (not code)
    _made(store)
    site.add("more", "SHA256SUMS", b"sums")
    site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    assert _held(store) == {**WHOLE, "SHA256SUMS": b"sums"}
    with pytest.raises(StoreError) as caught:
        _begun(store)
    assert caught.value.code == "destination-not-empty"


def test_a_claim_that_fails_is_told_and_not_got_round() -> None:
    store = Odd("denied")
    with pytest.raises(StoreError) as caught:
        _begun(store)
    assert caught.value.code == "denied"
    assert _held(store) == {}


def test_the_claim_of_another_plan_counts_until_one_begins_anew() -> None:
    store = remote(MemoryStore())
    _begun(store, OTHER)
    _made(store, OTHER)
    before = _held(store)
    with pytest.raises(BusyError) as caught:
        _begun(store)
    assert (caught.value.code, _held(store)) == ("partial-of-other-plan", before)
    assert "restart=True" in str(caught.value.hint)
    _begun(store, restart=True)
    assert _held(store).keys() == {PACK_CLAIM_PATH}
    _begun(store)
    with pytest.raises(BusyError):
        _begun(store, OTHER)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"owner": "me", "plan": "x"}', b'{"owner": "wdstools", "plan": 5}']
)
def test_a_claim_that_nobody_of_us_has_written_is_refused(data: bytes) -> None:
    store = remote(MemoryStore())
    store.put_data(PACK_CLAIM_PATH, data)
    for restart in (False, True):
        with pytest.raises(StoreError) as caught:
            _begun(store, restart=restart)
        assert (caught.value.code, _held(store)) == ("scratch-not-ours", {PACK_CLAIM_PATH: data})


@pytest.mark.parametrize("key", ["mine.txt", "train/train-000001.tar", f"{PACKING}{OTHER}/x.json", f"{PACKING}x"])
def test_what_somebody_else_stored_is_named_and_stays(key: str) -> None:
    store = remote(MemoryStore())
    store.put_data(key, b"mine")
    with pytest.raises(StoreError) as caught:
        _begun(store)
    assert (caught.value.code, "a new prefix" in caught.value.hint) == ("destination-not-empty", True)
    store.delete(key)
    site = _begun(store)
    _made(store)
    store.put_data(key, b"mine")
    before = _held(store)
    with pytest.raises(StoreError) as caught:
        _begun(store)
    assert caught.value.code == "scratch-not-ours"
    with pytest.raises(StoreError):
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    assert _held(store) == before


def test_bytes_that_are_not_as_noted_are_not_cleared() -> None:
    store = remote(MemoryStore())
    site = _begun(store)
    _made(store)
    store.put_data(SHARD, b"of somebody")
    before = _held(store)
    for restart in (lambda: _begun(store, restart=True), site.discard):
        with pytest.raises(StoreError) as caught:
            restart()
        assert (caught.value.code, _held(store)) == ("scratch-not-ours", before)
    store.put_data(SHARD, WHOLE[SHARD])
    site.discard()
    assert _held(store) == {}


def test_a_landing_that_nobody_saw_goes_on_and_is_a_dataset_to_others() -> None:
    for plan in (PLAN, OTHER):
        store = remote(MemoryStore())
        site = _begun(store)
        _made(store)
        sums = {path: sha256_hex(data) for path, data in FILES.items()}
        write_note(store, note_path(PLAN, "files"), sums)
        for path, data in FILES.items():
            store.put_data(path, data)  # killed before the notes were gone
        if plan == PLAN:
            _begun(store).publish(FILES, {SHARD: len(WHOLE[SHARD])})
        else:
            with pytest.raises(StoreError) as caught:
                _begun(store, plan)
            assert caught.value.code == "destination-not-empty"
        assert _held(store) == WHOLE
        del site


def test_notes_that_a_killed_run_left_beside_its_dataset_go() -> None:
    store = remote(MemoryStore())
    _begun(store)
    _made(store)
    for path, data in FILES.items():
        store.put_data(path, data)
    store.delete(PACK_CLAIM_PATH)  # the first to go
    with pytest.raises(StoreError):
        _begun(store)
    assert _held(store) == WHOLE


def test_a_look_refuses_what_entering_does_and_changes_nothing() -> None:
    store = remote(MemoryStore())
    BucketSite(store).refuse_taken()
    write_note(store, note_path(OTHER, SHARD), {})
    for key, code, got in (
        ("", "destination-not-empty", note_path(OTHER, SHARD)),
        ("mine.txt", "destination-not-empty", "mine.txt"),
        (PACK_CLAIM_PATH, "scratch-not-ours", "a claim that wdstools did not write"),
    ):
        if key:
            store.put_data(key, b"mine")
        before = _held(store)
        with pytest.raises(StoreError) as caught:
            BucketSite(store).refuse_taken()
        assert (caught.value.code, caught.value.got, _held(store)) == (code, got, before)


def test_a_manifest_that_nobody_noted_is_a_strangers_and_the_notes_stay() -> None:
    store = remote(MemoryStore())
    _begun(store)
    _made(store)
    store.put_data(MANIFEST_PATH, b"of somebody")
    before = _held(store)
    for plan in (PLAN, OTHER):
        with pytest.raises(StoreError) as caught:
            _begun(store, plan)
        assert (caught.value.code, _held(store)) == ("destination-not-empty", before)
        assert "wdstools verify" in caught.value.hint  # it may be a dataset


@pytest.mark.parametrize("lost", [SHARD, INDEX])
def test_nothing_is_published_over_a_shard_that_is_gone_or_has_another_size(lost: str) -> None:
    for data in (None, b"other"):
        store = remote(MemoryStore())
        site = _begun(store)
        _made(store)
        store.delete(lost)
        if data is not None and lost == SHARD:
            store.put_data(lost, data)
        with pytest.raises(StoreError) as caught:
            site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
        assert caught.value.got == ("5 bytes" if data is not None and lost == SHARD else "nothing")
        assert MANIFEST_PATH not in _held(store)


def test_a_store_that_loses_a_manifest_is_not_believed() -> None:
    store = Odd(loses="README.md")
    site = _begun(store)
    _made(store)
    with pytest.raises(StoreError):
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    assert MANIFEST_PATH not in _held(store)


def test_who_lost_the_claim_publishes_nothing() -> None:
    store = remote(MemoryStore())
    site = _begun(store)
    _made(store)
    store.delete(PACK_CLAIM_PATH)
    with pytest.raises(BusyError):
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    store.put_data(PACK_CLAIM_PATH, b'{"owner": "wdstools", "plan": "%s"}' % OTHER.encode())
    with pytest.raises(BusyError):
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    assert MANIFEST_PATH not in _held(store)
    assert read_note(store, note_path(PLAN, SHARD))[BEGUN].keys() == {SHARD, INDEX}


class Meddled(Odd):
    """A store where somebody else acts just before the claim is read for the last time."""

    def __init__(self) -> None:
        super().__init__()
        self.act: Callable[[RemoteStore], None] | None = None

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """As said above."""
        if key == PACK_CLAIM_PATH and self.act is not None:
            self.act(self.within)
            self.act = None
        return super().open_body(key, start, length, etag=etag)


@pytest.mark.parametrize("manifest", [FILES[MANIFEST_PATH], b"of somebody", b"A MANIFEST"])
@pytest.mark.parametrize("claim", [True, False])
def test_who_published_meanwhile_is_another_unless_it_is_the_same_dataset(manifest: bytes, claim: bool) -> None:
    store = Meddled()
    site = _begun(store)
    _made(store)

    def publish_first(within: RemoteStore) -> None:
        within.put_data(MANIFEST_PATH, manifest)
        if not claim:
            within.delete(PACK_CLAIM_PATH)

    store.act = publish_first
    if manifest == FILES[MANIFEST_PATH]:
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
        assert _held(store) == WHOLE
        return
    with pytest.raises(BusyError) as caught:
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    assert "another process" in str(caught.value)
    assert _held(store)[MANIFEST_PATH] == manifest
    assert note_path(PLAN, SHARD) in _held(store)


def test_a_manifest_that_may_not_be_written_is_told_as_that() -> None:
    class Denying(Odd):
        def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
            if key == MANIFEST_PATH:
                raise StoreError("no", code="denied")
            return super().put_data(key, data, only_if=only_if)

    site = _begun(store := Denying())
    _made(store)
    with pytest.raises(StoreError) as caught:
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    assert caught.value.code == "denied"


def test_a_manifest_that_is_another_when_all_is_done_is_told() -> None:
    class Replacing(Odd):
        def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
            return super().put_data(key, data.swapcase() if key == MANIFEST_PATH else data, only_if=only_if)

    store = Replacing()
    site = _begun(store)
    _made(store)
    with pytest.raises(BusyError):
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    assert PACK_CLAIM_PATH in _held(store)


def test_small_files_of_an_earlier_run_are_replaced_and_noted_before_they_are_stored() -> None:
    store = Odd()
    site = _begun(store)
    _made(store)
    for data in (b"first", b"second"):
        site.add("more", "SHA256SUMS", data)
        assert read_note(store, note_path(PLAN, "more"))[BEGUN] == {"SHA256SUMS": sha256_hex(data)}
        assert store.get("SHA256SUMS") == data
    write_note(store, note_path(PLAN, "files"), {"README.md": sha256_hex(b"an older card")})
    store.put_data("README.md", b"an older card")
    site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    assert _held(store) == {**WHOLE, "SHA256SUMS": b"second"}


def test_what_came_at_the_last_moment_and_is_no_note_stays() -> None:
    key = f"{PACKING}{OTHER}/train-000000.json"

    class Late(Odd):
        def put_data(self, path: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
            if path == MANIFEST_PATH:
                self.put_data(key, b"mine")
            return super().put_data(path, data, only_if=only_if)

    store = Late()
    site = _begun(store)
    _made(store)
    with pytest.raises(StoreError) as caught:
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    assert (caught.value.code, store.get(key)) == ("scratch-not-ours", b"mine")
