"""map_columns: a value for each sample whatever works on it, shards that were finished once, and errors of the function told as its own."""

from __future__ import annotations

import json
import shutil
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wdstools as wt
from tests.support.added_columns import keys_of, pack_cities, values_of
from tests.support.outcome import contents
from wdstools.errors import BusyError, UsageError
from wdstools.ops.columns.function import digest_of

KINDS = {"size": "int64", "half": "float32", "text": "string", "pair": "float32[2]", "long": "bool"}


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_cities(tmp_path_factory.mktemp("columns"), train=12, val=4)


@pytest.fixture(name="dataset")
def _dataset(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "dataset"))


def values(sample: wt.Sample) -> dict[str, Any] | None:
    """Some of each type; nothing of a sample whose caption is short."""
    text = sample["txt"].decode()
    if len(text) < 20:
        return None
    size = len(sample["jpg"])
    return {
        "size": size,
        "half": np.float64(size) / 2,
        "text": text[:4],
        "pair": [size, -1],
        "long": np.bool_(len(text) > 99),
    }


def many(samples: list[wt.Sample]) -> dict[str, Any]:
    """The sizes of some samples at once."""
    assert 1 <= len(samples) <= 3
    return {"size": np.array([len(sample["jpg"]) for sample in samples])}


def whole(dataset: Path) -> dict[str, dict[str, Any]]:
    """What the function gives of each sample."""
    opened = wt.open_dataset(dataset)
    return {key: values(opened.sample(key)) or dict.fromkeys(KINDS) for key in keys_of(dataset)}


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_every_sample_has_what_the_function_gives(dataset: Path, kind: Any) -> None:
    executor = wt.open_executor(kind, 2)
    try:
        result = wt.map_columns(dataset, values, columns=KINDS, name="made", executor=executor)
    finally:
        executor.close()
    assert isinstance(result, wt.ColumnsResult)
    assert (result.samples, dict(result.fields)) == (16, dict(sorted(KINDS.items())))
    assert values_of(dataset, "made") == whole(dataset)
    assert wt.verify(dataset).ok
    assert not (dataset / ".wdstools/computing").exists()


def test_samples_may_come_in_batches(dataset: Path) -> None:
    wt.map_columns(dataset, many, columns={"size": "int64"}, name="sizes", batch_size=3)
    opened = wt.open_dataset(dataset)
    assert values_of(dataset, "sizes") == {key: {"size": len(opened.sample(key)["jpg"])} for key in keys_of(dataset)}


_SEEN: list[str] = []
_STOP = [9]


def counted(sample: wt.Sample) -> dict[str, Any]:
    """The size of a sample; stopped at some call."""
    if len(_SEEN) == _STOP[0]:
        raise KeyboardInterrupt
    _SEEN.append(sample.key)
    return {"size": len(sample["jpg"])}


def scaled(factor: Any, sample: wt.Sample) -> dict[str, Any]:
    """A multiple of the size."""
    return {"size": counted(sample)["size"] * int(factor)}


@pytest.fixture(autouse=True)
def _counted_anew() -> None:
    _SEEN.clear()
    _STOP[0] = 9


def interrupt(dataset: Path, function: Any) -> None:
    """Compute sizes, and stop when some shards are finished."""
    with pytest.raises(KeyboardInterrupt):
        wt.map_columns(dataset, function, columns={"size": "int64"}, name="sizes")
    _STOP[0] = -1


def journal_of(dataset: Path) -> Path:
    """Where it is noted which shards are finished."""
    return dataset / ".wdstools/computing/sizes/journal.jsonl"


def sizes_of(dataset: Path, factor: int = 1) -> dict[str, dict[str, Any]]:
    """The sizes of all samples."""
    opened = wt.open_dataset(dataset)
    return {key: {"size": factor * len(opened.sample(key)["jpg"])} for key in keys_of(dataset)}


def test_what_was_finished_is_not_computed_again(dataset: Path) -> None:
    before = contents(dataset)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            wt.map_columns(dataset, counted, columns={"size": "int64"}, name="sizes")
        assert {path: data for path, data in contents(dataset).items() if "/computing/" not in path} == before
        assert wt.list_columns(dataset) == ()
        _STOP[0] = len(_SEEN) + 1
    _STOP[0] = -1
    wt.map_columns(dataset, counted, columns={"size": "int64"}, name="sizes")
    assert set(values_of(dataset, "sizes")) == set(_SEEN)
    first = next(iter(wt.open_dataset(dataset).manifest.shards))[1].samples
    assert all(_SEEN.count(key) == 1 for key in _SEEN[:first])
    assert len(_SEEN) < 32
    assert not (dataset / ".wdstools/computing").exists()


def compiled(body: str, *, name: str = "edited") -> Any:
    """A function as it stands in a module: edited, it has the same name."""
    names: dict[str, Any] = {"counted": counted, "__name__": "somewhere"}
    exec(f"LIMIT = 1\ndef helper(size): return size\n{body}", names)  # noqa: S102  a module of this test
    return names[name]


def enclosing(factor: int) -> Any:
    """A function that encloses a number."""
    return lambda sample: {"size": counted(sample)["size"] * factor}


_BODY = "def edited(s): return {'size': helper(counted(s)['size']) * LIMIT}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (partial(scaled, 1), partial(scaled, 2)),
        (enclosing(1), enclosing(2)),
        (compiled(_BODY), compiled(_BODY.replace("* LIMIT", "+ LIMIT"))),
        (compiled(_BODY), compiled(f"{_BODY}\nLIMIT = 2")),
        (compiled(_BODY), compiled(f"{_BODY}\ndef helper(size): return size + 1")),
        (compiled("def edited(s, n=1): return counted(s)"), compiled("def edited(s, n=2): return counted(s)")),
    ],
)
def test_shards_of_another_function_are_not_taken_for_its_own(dataset: Path, one: Any, other: Any) -> None:
    interrupt(dataset, one)
    with pytest.raises(BusyError) as caught:
        wt.map_columns(dataset, other, columns={"size": "int64"}, name="sizes")
    assert caught.value.code == "partial-of-other-plan"
    assert "another function" in caught.value.message
    wt.map_columns(dataset, one, columns={"size": "int64"}, name="sizes")
    assert len(_SEEN) < 9 + 16, "what the same function has finished was computed again"


def test_neither_the_order_of_sets_nor_lines_make_a_function_another() -> None:
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    assert digest_of(partial(scaled, one)) == digest_of(partial(scaled, other))
    assert digest_of(compiled(_BODY)) == digest_of(compiled(f"\n\n{_BODY}"))
    assert digest_of(partial(scaled, {0})) != digest_of(partial(scaled, {8}))
    assert digest_of(Scorer(1).score) != digest_of(Scorer(2).score)
    assert digest_of(Scorer(1)) == digest_of(Scorer(1)) != digest_of(Scorer(2))


class Scorer:
    """A function with a state."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def score(self, sample: wt.Sample) -> dict[str, Any]:
        """A multiple of the size."""
        return scaled(self.factor, sample)

    __call__ = score


class Opaque:
    """What cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("not this")

    def __int__(self) -> int:
        return 1


def test_a_function_that_cannot_be_told_from_others_keeps_nothing(dataset: Path) -> None:
    before = contents(dataset)
    interrupt(dataset, partial(scaled, Opaque()))
    assert contents(dataset) == before
    wt.map_columns(dataset, partial(scaled, Opaque()), columns={"size": "int64"}, name="sizes")
    assert values_of(dataset, "sizes") == sizes_of(dataset)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: {},
        lambda line: {"shard": {**line["shard"], "nulls": [1]}},
        lambda line: {"shard": {**line["shard"], "rows": 1}},
        lambda line: {"shard": {**line["shard"], "path": "../../../other.tar"}},
        lambda line: {**line, "path": "../../../MANIFEST.json"},
    ],
)
def test_a_damaged_line_means_computing_again(dataset: Path, change: Any) -> None:
    interrupt(dataset, counted)
    path = journal_of(dataset)
    head, *lines = map(json.loads, path.read_text().splitlines())
    path.write_text("".join(json.dumps(line) + "\n" for line in [head, *map(change, lines)]))
    wt.map_columns(dataset, counted, columns={"size": "int64"}, name="sizes")
    assert values_of(dataset, "sizes") == sizes_of(dataset)
    assert wt.verify(dataset).ok


class Heavy:
    """A number that is large in memory."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(3)


@pytest.mark.parametrize("batch_size", [None, 1])
def test_what_a_function_gave_is_not_kept(dataset: Path, batch_size: int | None) -> None:
    given: list[weakref.ref[Heavy]] = []

    def heavy(_: Any) -> dict[str, Any]:
        assert not any(one() for one in given[:-1])
        value = Heavy()
        given.append(weakref.ref(value))
        return {"size": value if batch_size is None else [value]}

    wt.map_columns(dataset, heavy, columns={"size": "int64"}, name="sizes", batch_size=batch_size)
    assert len(given) == 16


@pytest.mark.parametrize(("batch_size", "given"), [(None, "x"), (2, "xy"), (2, 5), (2, ["x", "y"])])
def test_a_wrong_type_is_told_at_the_first_sample(dataset: Path, batch_size: int | None, given: Any) -> None:
    calls: list[Any] = []

    def wrong(sample: Any) -> dict[str, Any]:
        calls.append(sample)
        return {"size": given}

    with pytest.raises(UsageError) as caught:
        wt.map_columns(dataset, wrong, columns={"size": "int64"}, name="sizes", batch_size=batch_size)
    assert caught.value.code == "columns-unsupported"
    assert len(calls) == 1


def test_only_samples_with_a_value_are_covered(dataset: Path) -> None:
    nothing = wt.map_columns(dataset, lambda _: None, columns={"size": "int64"}, name="none")
    assert isinstance(nothing, wt.ColumnsResult)
    assert (nothing.samples, nothing.covered) == (16, 0)
    _STOP[0] = -1
    half = {key for number, key in enumerate(keys_of(dataset)) if number % 2}
    first = keys_of(dataset)[0]
    some = wt.map_columns(
        dataset,
        lambda s: {"a": 1, "b": None} if s.key in half else {"b": 1 if s.key == first else None},
        columns={"a": "int64", "b": "int64"},
        name="some",
    )
    assert isinstance(some, wt.ColumnsResult)
    assert some.covered == len(half) + 1
    for value, wanted in ((None, len(half) + 1), (2, 16)):  # samples whose values stay are covered, too
        filled = wt.map_columns(
            dataset,
            partial(lambda given, _: {"a": given, "b": given}, value),
            columns={"a": "int64", "b": "int64"},
            name="some",
            existing="fill",
        )
        assert isinstance(filled, wt.ColumnsResult)
        assert filled.covered == wanted
    again = wt.map_columns(dataset, lambda _: {"a": 3}, columns={"a": "int64"}, name="some", existing="fill")
    assert isinstance(again, wt.ColumnsResult)
    assert again.covered == 16


def test_an_address_is_refused_before_its_server_is_asked() -> None:
    with pytest.raises(UsageError) as caught:
        wt.map_columns("http://127.0.0.1:9/set", counted, columns={"size": "int64"}, name="sizes")
    assert "in a folder or bucket" in caught.value.message


def test_other_columns_of_a_name_that_was_begun_need_a_word(dataset: Path) -> None:
    done: list[str] = []

    def breaks(sample: wt.Sample) -> dict[str, Any]:
        done.append(sample.key)
        if len(done) > 8:
            raise KeyboardInterrupt
        return {"size": 1}

    with pytest.raises(KeyboardInterrupt):
        wt.map_columns(dataset, breaks, columns={"size": "int64"}, name="made")
    with pytest.raises(BusyError) as caught:
        wt.map_columns(dataset, values, columns=KINDS, name="made")
    assert caught.value.code == "partial-of-other-plan"
    wt.map_columns(dataset, values, columns=KINDS, name="made", restart=True)
    assert values_of(dataset, "made") == whole(dataset)


def fails(sample: wt.Sample) -> dict[str, Any]:
    """A mistake of its author."""
    return {"size": len(sample["jpg"]) // 0}


@pytest.mark.parametrize("kind", ["serial", "processes"])
def test_an_error_of_the_function_is_told_as_its_own(dataset: Path, kind: Any) -> None:
    before = contents(dataset)
    executor = wt.open_executor(kind, 2)
    try:
        with pytest.raises(UsageError) as caught:
            wt.map_columns(dataset, fails, columns={"size": "int64"}, name="made", executor=executor)
    finally:
        executor.close()
    assert caught.value.code == "function-failed"
    assert "fails, sample " in caught.value.where
    assert "ZeroDivisionError" in caught.value.got
    assert f"{Path(__file__).name}, line " in caught.value.got
    assert contents(dataset) == before


def test_a_function_that_other_processes_cannot_import_is_refused(dataset: Path) -> None:
    executor = wt.open_executor("processes", 2)
    try:
        with pytest.raises(UsageError) as caught:
            wt.map_columns(dataset, lambda _: {"x": 1}, columns={"x": "int64"}, name="made", executor=executor)
    finally:
        executor.close()
    assert caught.value.code == "function-unnamed"


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        *(("int64", value) for value in (1.5, "x", True, 2**63, [1, 2], b"x")),
        *(("float32", value) for value in ("1", [1.0, 2.0], object())),
        *(("bool", value) for value in (1, "True", [True, False])),
        *(("string", value) for value in (1, b"x", "\ud800")),
        *(("float32[2]", value) for value in ([1.0], [1.0, "x"], 3, [[1, 2], [3, 4]])),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_sample(dataset: Path, kind: str, given: Any) -> None:
    with pytest.raises(UsageError) as caught:
        wt.map_columns(dataset, lambda _: {"x": given}, columns={"x": kind}, name="made")
    assert caught.value.code == "columns-unsupported"
    assert "x, sample " in caught.value.where


@pytest.mark.parametrize(
    "columns", [{}, ["x"], {"x": "int32"}, {"x": "float32[0]"}, {"jpg": "int64"}, {"a b": "int64"}, {1: "bool"}]
)
def test_columns_are_declared_with_names_and_types(dataset: Path, columns: Any) -> None:
    with pytest.raises(UsageError):
        wt.map_columns(dataset, values, columns=columns, name="made")
