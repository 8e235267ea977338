"""Added columns in training: in batches, in mixes, with buckets, and in what a saved state is bound to."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import add_scores, keys_of, pack_cities, score_of
from tests.support.came import came
from wdstools.columns.kept import KeptValues
from wdstools.errors import FormatError, UsageError
from wdstools.reader import added

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = ("score", "recaption", "vector", "people", "is_good")


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_cities(tmp_path_factory.mktemp("columns"), train=24, val=6, shard_samples=6)


@pytest.fixture(scope="module", name="scored")
def _scored(packed: Path) -> Path:
    place = Path(shutil.copytree(packed, packed.with_name("scored")))
    add_scores(place)
    return place


def check(batch: wt.Batch) -> None:
    """Each value is that of its key."""
    keys = list(batch.keys)
    assert batch["score"].dtype == np.float32
    assert batch["score"].tolist() == [score_of(key) for key in keys]
    assert batch["recaption"] == [f"again {key}" for key in keys]
    assert batch["vector"].dtype == np.float32
    assert batch["vector"].tolist() == [[score_of(key), -1.0, 2.5] for key in keys]
    assert (batch["people"].dtype, batch["people"].tolist()) == (np.int64, [len(key) for key in keys])
    assert (batch["is_good"].dtype, batch["is_good"].tolist()) == (np.bool_, [score_of(key) >= 0.5 for key in keys])


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "chosen": {"where": "score < 0.9 and people > 1", "shuffle": "block"},
    "buckets": {"buckets": wt.aspect_buckets(256, step=8), "remainder": "keep"},
    "transformed": {"transform": lambda sample: {**sample, "double": np.float32(2) * sample["score"]}, "image_size": 8},
    "without images": {"members": ["txt"]},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_every_value_is_that_of_its_sample(scored: Path, options: str) -> None:
    chosen = OPTIONS[options]
    more = {} if {"buckets", "members", "image_size"} & chosen.keys() else {"decode": "bytes"}
    loader = wt.loader(scored, batch_size=5, columns=FIELDS, threads=2, **{**more, **chosen})
    seen = []
    for batch in came(loader):
        check(batch)
        seen += [key for key, mine in zip(batch.keys, batch.mask, strict=True) if mine]
        if options == "transformed":
            assert (batch["double"] == 2 * batch["score"]).all()
    train = set(wt.open_dataset(scored)["train"].keys())
    assert set(seen) == ({key for key in train if score_of(key) < 0.9} if options == "chosen" else train)
    assert len(seen) == len(set(seen))


def test_values_that_are_not_there_are_nan_or_none_in_every_batch(packed: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(packed, tmp_path / "some"))
    keys = keys_of(place)
    add_scores(place, keys=keys[::3])
    there = set(keys[::3])
    kinds = set()
    for batch in came(wt.loader(place, batch_size=2, columns=FIELDS, decode="bytes", remainder="keep")):
        known = np.array([key in there for key in batch.keys])
        kinds |= {(name, batch[name].dtype.name) for name in ("score", "vector", "people", "is_good")}
        for name in ("score", "people", "is_good"):
            assert (np.isnan(batch[name]) == ~known).all()
        assert (np.isnan(batch["vector"]).all(axis=1) == ~known).all()
        assert [text is not None for text in batch["recaption"]] == known.tolist()
    assert kinds == {("score", "float32"), ("vector", "float32"), ("people", "float64"), ("is_good", "float64")}


def test_worker_processes_have_the_same_values(scored: Path) -> None:
    made = [
        [(list(batch.keys), batch["score"].tolist()) for batch in came(loader)]
        for loader in (
            wt.loader(scored, batch_size=6, columns=["score"], decode="bytes", workers=kind, threads=2)
            for kind in ("threads", "processes")
        )
    ]
    assert made[0] == made[1]


def test_a_mix_has_the_values_of_each_source(scored: Path, packed: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(packed, tmp_path / "other"))
    keys = keys_of(other)
    wt.add_columns(other, pa.table({"key": keys, "score": pa.array([-1.0] * len(keys), pa.float32())}), name="less")
    mix = wt.mix({"a": wt.source(scored, weight=2, where="score >= 0.25"), "b": other}, stop="all")
    sources = set()
    for batch in came(wt.loader(mix, batch_size=6, columns=["score"], decode="bytes")):
        for key, score, source in zip(batch.keys, batch["score"].tolist(), batch["sources"], strict=True):
            assert score == (score_of(key) if source == "a" else -1.0)
            sources.add(source)
    assert sources == {"a", "b"}
    with pytest.raises(UsageError) as caught:
        wt.loader(wt.mix({"a": scored, "b": other}), batch_size=6, columns=["people"], decode="bytes")
    assert caught.value.code == "column-missing"
    assert "in source 'b'" in str(caught.value.__notes__)


def test_a_column_that_is_not_there_or_damaged_is_told(scored: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as missing:
        wt.loader(scored, batch_size=2, columns=["scores"])
    assert missing.value.code == "column-missing"
    assert "score" in missing.value.expected
    place = Path(shutil.copytree(scored, tmp_path / "damaged"))
    (place / ".wdstools/columns/scores/train-000000.parquet").write_bytes(b"PAR1")
    with pytest.raises(FormatError) as damaged:
        list(wt.loader(place, batch_size=2, columns=["score"], decode="bytes"))
    assert damaged.value.code == "columns-damaged"


def test_a_state_goes_on_with_another_number_of_ranks_and_never_with_other_scores(scored: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"where": "score < 0.9", "columns": ["score"], "decode": "bytes", "seed": 3}
    whole = [
        key
        for batch in came(wt.loader(scored, global_batch_size=4, rank=0, world_size=1, **options))
        for key in batch.keys
    ]
    first = wt.loader(scored, global_batch_size=4, rank=0, world_size=2, **options)
    second = wt.loader(scored, global_batch_size=4, rank=1, world_size=2, **options)
    done = [[*one.keys, *other.keys] for _, one, other in zip(range(2), first, second, strict=False)]
    state = first.state_dict()
    alone = wt.loader(scored, global_batch_size=4, rank=0, world_size=1, **options)
    alone.load_state_dict(state)
    rest = [key for batch in came(alone) for key in batch.keys]
    assert [key for keys in done for key in keys] + rest == whole
    place = Path(shutil.copytree(scored, tmp_path / "other"))
    wt.remove_columns(place, "scores")
    keys = keys_of(place)
    wt.add_columns(place, pa.table({"key": keys, "score": [score_of(key) for key in keys]}), name="scores")
    with pytest.raises(UsageError) as caught:
        wt.loader(place, global_batch_size=4, rank=0, world_size=1, **options).load_state_dict(state)
    assert caught.value.code == "state-refused"


def test_streams_give_the_values_beside_each_sample(scored: Path) -> None:
    made = wt.stream(scored, columns=["score", "recaption"], seed=4, where="people > 1")
    for sample in came(made):
        assert dict(sample.columns) == {"score": score_of(sample.key), "recaption": f"again {sample.key}"}
        again = pickle.loads(pickle.dumps(sample))  # noqa: S301  our own
        assert (again.columns, dict(again)) == (sample.columns, dict(sample))
    assert next(iter(wt.stream(scored))).columns == {}
    rows = list(wt.webdataset(scored, columns=["score"]))
    assert {row["__key__"]: row["score"] for row in rows} == {row["__key__"]: score_of(row["__key__"]) for row in rows}
    with pytest.raises(UsageError) as caught:
        wt.stream(scored, columns=["nothing"])
    assert caught.value.code == "column-missing"


def batches_of(place: Path) -> Iterator[wt.Batch]:
    return came(wt.loader(place, batch_size=5, columns=FIELDS, decode="bytes", remainder="keep", threads=1))


def test_values_that_are_too_many_to_hold_are_read_from_files_of_the_cache(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(shutil.copytree(scored, tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(added, "HELD_BYTES", 0)
    for batch in batches_of(place):
        check(batch)
    files = sorted((tmp_path / "cache/wdstools/values").iterdir())
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert len(files) == len(FIELDS) * len(wt.open_dataset(place).manifest.splits["train"])
    with monkeypatch.context() as patched:
        patched.setattr(added, "shard_values", None)  # nothing but the files is read
        for batch in batches_of(place):
            check(batch)
    for path, data in ((path, bytearray(path.read_bytes())) for path in files):
        data[-1] ^= 1
        path.write_bytes(data)
    for batch in wt.loader(place, batch_size=5, columns=FIELDS, decode="bytes", threads=1, prefetch=1):
        check(batch)
        for path in files:
            path.unlink(missing_ok=True)
    for batch in batches_of(place):
        check(batch)
    assert all(path.exists() for path in files)
    wt.remove_columns(place, "scores")
    assert not [path for path in files if path.exists()]


def test_values_whose_files_were_removed_are_kept_again(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(added, "HELD_BYTES", 0)
    opened = wt.open_dataset(scored)
    fields = added.AddedFields(opened, "train", ["score", "recaption"])
    rows = np.arange(sum(entry.samples for entry in opened.manifest.splits["train"]))
    first = fields.take(rows)
    files = sorted((tmp_path / "cache/wdstools/values").iterdir())
    for _ in range(2):
        for path in files:
            path.unlink()
        np.testing.assert_equal(fields.take(rows), first)
        assert sorted((tmp_path / "cache/wdstools/values").iterdir()) == files
        assert {type(values) for shard in fields._shards.values() for values in shard.values()} == {KeptValues}
    monkeypatch.setattr(added, "has_room", lambda *_: False)  # the first room is used up, and there is no other
    for path in files:
        path.unlink()
    fields._room = 0
    np.testing.assert_equal(fields.take(rows), first)
    assert not list((tmp_path / "cache/wdstools/values").iterdir())


def test_values_are_held_where_there_is_no_room_for_files(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").write_text("in the way")
    monkeypatch.setattr(added, "HELD_BYTES", 0)
    for batch in batches_of(scored):
        check(batch)


def test_a_takedown_takes_kept_values_along(scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path(shutil.copytree(scored, tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(added, "HELD_BYTES", 0)
    list(batches_of(place))
    assert len(list((tmp_path / "cache").rglob("*.v1"))) > 0
    wt.remove(place, wt.Selection(keys=frozenset(keys_of(place)[:1])))
    assert list((tmp_path / "cache").rglob("*.v1")) == []


def test_a_vector_that_somebody_changes_is_the_same_the_next_time(scored: Path) -> None:
    def first() -> wt.Sample:
        return next(iter(wt.stream(opened, columns=["vector"], shuffle=None)))

    opened = wt.open_dataset(scored)
    before = first().columns["vector"].tolist()
    first().columns["vector"][:] = 0
    assert first().columns["vector"].tolist() == before == [score_of(first().key), -1.0, 2.5]
