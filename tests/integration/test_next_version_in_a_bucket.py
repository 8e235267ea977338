"""The next version of a dataset under a prefix of an object store: what is said of it is so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.added_columns import keys_of, pack_cities
from tests.support.city_pairs import write_city_pairs
from wdstools.columns import kept
from wdstools.dataset import PACK_CLAIM_PATH
from wdstools.errors import BusyError
from wdstools.executors.local import Serial
from wdstools.landing.bucket_site import BucketSite
from wdstools.ops.next_version import in_bucket
from wdstools.reader.select import Selection
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote

if TYPE_CHECKING:
    from collections.abc import Callable

NEW = "s3://bucket/new"


@pytest.fixture(scope="module", name="old")
def _old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_cities(tmp_path_factory.mktemp("old"), train=6, val=2)


@pytest.fixture(name="store")
def _store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryStore:
    """What lies at NEW."""
    store = MemoryStore()
    monkeypatch.setattr(in_bucket, "site_at", lambda _: BucketSite(remote(store)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return store


def removed(old: Path) -> wt.RemoveResult:
    result = wt.remove(old, Selection(keys=frozenset(keys_of(old)[:1])), output=NEW, executor=Serial())
    assert isinstance(result, wt.RemoveResult)
    return result


def appended(old: Path) -> wt.AppendResult:
    more = old.parent / "more"
    if not more.exists():
        write_city_pairs(more, train=7, val=2)
    result = wt.append(old, more, output=NEW, executor=Serial())
    assert isinstance(result, wt.AppendResult)
    return result


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("change", [removed, appended])
def test_cached_values_that_are_said_to_be_deleted_are(
    old: Path, change: Callable[[Path], wt.RemoveResult | wt.AppendResult]
) -> None:
    cached = Path(kept.folder(), f"{wt.open_dataset(old).root}-{'0' * 64}-x.v1")
    cached.parent.mkdir(parents=True)
    cached.write_text("captions of people")
    said = str(cached) in change(old).deleted
    assert (said, cached.exists()) == (True, False)


@pytest.mark.parametrize("change", [removed, appended])
def test_where_other_work_is_unfinished_no_option_is_named_that_there_is_not(
    old: Path, store: MemoryStore, change: Callable[[Path], object]
) -> None:
    claim = json.dumps({"owner": "wdstools", "plan": "another"}).encode()
    store.put(PACK_CLAIM_PATH, claim)
    with pytest.raises(BusyError) as caught:
        change(old)
    assert caught.value.code == "partial-of-other-plan"
    assert "restart" not in caught.value.hint
    assert "another prefix" in caught.value.hint
    assert {info.key: store.get(info.key) for info in store.list()} == {PACK_CLAIM_PATH: claim}


def test_a_pack_has_one_key_where_none_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    monkeypatch.delenv("WDSTOOLS_PACK_SECRET", raising=False)
    site = BucketSite(remote(MemoryStore()))
    with site:
        site.begin("0" * 32, [], restart=False)
        assert site.home.key == site.home.key != b""
