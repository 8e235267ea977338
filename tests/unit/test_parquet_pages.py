"""What pages of a Parquet file claim: every value of Thrift's compact protocol is read, and claims of nonsense are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.laws import SHORT_LAW
from wdstools.formats import parquet_pages as pages
from wdstools.formats.parquet_pages import Claim, TooMuchError, groups_of
from wdstools.units import size as shown

if TYPE_CHECKING:
    from collections.abc import Callable

#: A value with its kind of the protocol: 1 truth, 3 byte, 4 to 6 number, 7 eight bytes, 8 bytes, 9 list, 12 structure.
Value = tuple[int, Any]
Fields = dict[int, Value]


def _varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def _number(number: int) -> bytes:
    return _varint(number << 1 if number >= 0 else (-number << 1) - 1)


def _value(kind: int, value: Any) -> bytes:
    match kind:
        case 1 | 3:
            return bytes([value])
        case 4 | 5 | 6:
            return _number(value)
        case 7:
            return bytes(value)
        case 8:
            return _varint(len(value)) + bytes(value)
        case 9:
            of, values = value
            head = bytes([len(values) << 4 | of]) if len(values) < 15 else bytes([0xF0 | of]) + _varint(len(values))
            return head + b"".join(_value(of, each) for each in values)
        case _:
            return written(value)


def written(fields: Fields) -> bytes:
    """A structure in the compact protocol."""
    data, before = b"", 0
    for number, (kind, value) in sorted(fields.items()):
        code = (1 if value else 2) if kind == 1 else kind
        step = number - before
        data += bytes([step << 4 | code]) if step < 16 else bytes([code]) + _number(number)
        data += b"" if kind == 1 else _value(kind, value)
        before = number
    return data + b"\0"


def plain(kind: int, value: Any) -> Any:
    """What a reader gives for a value."""
    if kind == 9:
        return [plain(value[0], each) for each in value[1]]
    return {number: plain(*each) for number, each in value.items()} if kind == 12 else value


_INT64 = st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 200)
_LEAVES: dict[int, st.SearchStrategy[Any]] = {
    1: st.booleans(),
    3: st.integers(0, 255),
    4: st.integers(-(2**15), 2**15 - 1),
    5: _INT64,
    6: _INT64,
    7: st.binary(min_size=8, max_size=8),
    8: st.binary(max_size=200),
}


def _values(deeper: st.SearchStrategy[Fields]) -> st.SearchStrategy[Value]:
    kinds = {**_LEAVES, 12: deeper}
    lists = st.sampled_from(sorted(kinds)).flatmap(lambda of: st.tuples(st.just(of), st.lists(kinds[of], max_size=20)))
    return st.one_of(
        *(st.tuples(st.just(kind), values) for kind, values in kinds.items()), st.tuples(st.just(9), lists)
    )


_NONE: Fields = {}
_FIELDS: st.SearchStrategy[Fields] = st.recursive(
    st.just(_NONE), lambda deeper: st.dictionaries(st.integers(1, 60), _values(deeper), max_size=5), max_leaves=6
)


@SHORT_LAW
@given(_FIELDS, st.binary(max_size=3))
@example({1: (4, 1000), 2: (9, (4, [1, -1])), 3: (1, True), 4: (1, False)}, b"")
def test_what_is_written_in_the_compact_protocol_is_read(fields: Fields, behind: bytes) -> None:
    reader = pages._Thrift(written(fields) + behind, 10_000)
    assert reader.structure() == plain(12, fields)
    assert reader.at == len(written(fields))


@SHORT_LAW
@given(_FIELDS, st.data())
def test_a_structure_that_is_cut_is_refused(fields: Fields, data: st.DataObject) -> None:
    whole = written(fields)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises((IndexError, ValueError)):
        pages._Thrift(cut, 10_000).structure()


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_truths_and_bytes_in_lists_take_a_byte_each(kind: int) -> None:
    for list_or_set in (0x19, 0x1A):
        data = bytes([list_or_set, 2 << 4 | kind, 1, 0]) + b"\0"
        assert pages._Thrift(data, 10).structure() == {1: [1, 0]}


def test_more_fields_or_depth_than_any_file_has_is_refused() -> None:
    for count in (5, 6):
        many = written(dict.fromkeys(range(1, count + 1), (5, 1)))
        assert len(pages._Thrift(many, count).structure()) == count
        with pytest.raises(TooMuchError):
            pages._Thrift(many, count - 1).structure()
    long = written({1: (8, b"a"), 2: (8, b"b"), 3: (5, 1000)})
    assert len(pages._Thrift(long, 3).structure()) == 3
    with pytest.raises(TooMuchError):
        pages._Thrift(long, 2).structure()

    def nested(depth: int) -> bytes:
        return b"\x1c" * depth + b"\0" * (depth + 1)

    deepest = pages._MAX_DEPTH + 1
    assert pages._Thrift(nested(deepest), 100).structure()
    in_lists = b"\x19" * deepest + b"\x15\2\0"
    assert pages._Thrift(in_lists, 100).structure()
    with pytest.raises(ValueError, match="nested"):
        pages._Thrift(b"\x19" + in_lists, 100).structure()
    for data in (nested(deepest + 1), b"\x19" + b"\x19" * 100, b"\x1d\0", b"\x15" + b"\xff" * 10 + b"\0\0"):
        with pytest.raises(ValueError, match=r"nested|contains|claims"):
            pages._Thrift(data, 1000).structure()


def _page(kind: int, values: int, taken: int, *, encoding: int = 0, head: Fields | None = None) -> bytes:
    about = {0: 5, 2: 7, 3: 8}.get(kind)
    more = {1: (5, values), (4 if kind == 3 else 2): (5, encoding)}
    own = {} if about is None else {about: (12, more)}
    return written({1: (5, kind), 2: (5, taken), 3: (5, 10), **own, **(head or {})}) + bytes(10)


_TEXT: Fields = {1: (5, 6)}


def _file(
    *made: bytes,
    values: int = 4,
    leaf: Fields = _TEXT,
    depth: int = 0,
    columns: int = 1,
    change: Callable[[Fields], Fields] | None = None,
) -> bytes:
    """A file of one column, ``a``, of these pages: as a footer says it, so far as it is looked at."""
    body = b"PAR1" + b"".join(made)
    column: Fields = {5: (5, values), 7: (5, len(body) - 4), 9: (5, 4)}
    column = column if change is None else change(column)
    footer = written(
        {
            2: (
                9,
                (
                    12,
                    [
                        {4: (8, b"root"), **({5: (5, columns)} if columns else {})},
                        *[{4: (8, b"a"), 5: (5, 1)}] * depth,
                        {**leaf, 4: (8, b"a")},
                    ],
                ),
            ),
            3: (5, values),
            4: (9, (12, [{1: (9, (12, [{3: (12, column)}])), 3: (5, values)}])),
        }
    )
    return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def test_claims_are_those_of_all_pages() -> None:
    data = _file(_page(2, 2, 30), _page(0, 1, 100, encoding=7), _page(3, 3, 60), _page(1, 9, 5))
    (group,) = groups_of(data, len(data))
    (claim,) = group.claims
    assert (group.rows, claim.name, claim.leaf, claim.lists, claim.width) == (4, "a", 0, False, 0)
    assert (claim.values, claim.bytes, claim.largest, claim.dense, claim.dictionary) == (4, 200, 100, 100, 30)
    assert claim.prefixed
    assert groups_of(data, len(data), names=["b"])[0].claims == ()
    fixed = _file(_page(0, 4, 16), leaf={1: (5, 7), 2: (5, 12), 3: (5, 1)})
    assert groups_of(fixed, len(fixed))[0].claims[0].width == 12
    plainer = _file(_page(0, 4, 16), leaf={1: (5, 1)})
    (claim,) = groups_of(plainer, len(plainer))[0].claims
    assert (claim.width, claim.values, claim.dense, claim.prefixed) == (4, 4, 4, False)
    for encoding in (7, 0):
        newer = _file(_page(3, 4, 16, encoding=encoding))
        assert groups_of(newer, len(newer))[0].claims[0].prefixed == (encoding == 7)


def test_a_footer_of_ours_has_few_fields_and_any_other_as_many_as_it_has_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _file(_page(0, 4, 16))
    monkeypatch.setattr(pages, "_MAX_SMALL_ELEMENTS", 12)
    assert groups_of(data, len(data), small=False)[0].claims[0].values == 4
    with pytest.raises(TooMuchError, match="too many fields"):
        groups_of(data, len(data))


@pytest.mark.parametrize(("small", "limit"), [(True, "_MAX_SMALL_FOOTER_BYTES"), (False, "_MAX_FOOTER_BYTES")])
def test_a_footer_may_take_the_limit_and_no_byte_more(
    *, small: bool, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _file(_page(0, 4, 16))
    length = int.from_bytes(data[-8:-4], "little")
    monkeypatch.setattr(pages, limit, length)
    assert groups_of(data, len(data), small=small)[0].rows == 4
    longer = data[:-8] + (length + (1 << 24)).to_bytes(4, "little") + data[-4:]
    for told, most, file in ((length, length - 1, data), (length + (1 << 24), length, longer)):
        monkeypatch.setattr(pages, limit, most)
        with pytest.raises(TooMuchError, match=f"^its footer takes {shown(told)}, and the limit is {shown(most)}$"):
            groups_of(file, len(file), small=small)


def test_columns_may_be_nested_as_deeply_as_the_limit_and_no_deeper() -> None:
    deepest = _file(_page(0, 4, 16), depth=16)
    assert groups_of(deepest, len(deepest))[0].claims[0].name == "a"
    deeper = _file(_page(0, 4, 16), depth=17)
    with pytest.raises(ValueError, match=r"^it is nested too deeply$"):
        groups_of(deeper, len(deeper))


@pytest.mark.parametrize(("kind", "width"), [(0, 1), (1, 4), (2, 8), (3, 12), (4, 4), (5, 8), (6, 0)])
def test_values_of_every_type_have_their_width(kind: int, width: int) -> None:
    data = _file(_page(0, 4, 48), leaf={1: (5, kind)})
    assert groups_of(data, len(data))[0].claims[0].width == width


def test_a_column_of_no_rows_has_no_pages() -> None:
    empty = _file(values=0, change=lambda column: {**column, 9: (5, 0), 7: (5, 0)})
    (claim,) = groups_of(empty, len(empty))[0].claims
    assert claim == Claim(
        "a", 0, lists=False, width=0, values=0, bytes=0, largest=0, dense=0, dictionary=0, prefixed=False
    )


@pytest.mark.parametrize(("width", "most"), [(0, 400), (1, 50), (2, 200), (8, 800)])
def test_values_take_at_least_what_their_type_does(width: int, most: int) -> None:
    """Eight booleans take a byte; of a text, at least where it begins."""
    assert Claim("a", 0, lists=False, width=width, values=100, bytes=50).most == most


@pytest.mark.parametrize(
    "data",
    [
        _file(_page(0, 5, 16)),  # more values than rows
        _file(_page(0, -1, 16)),
        _file(_page(0, 4, -1)),
        _file(_page(0, 4, 16, head={3: (5, -1)})),
        _file(_page(2, 8, 31), _page(0, 4, 16)),  # a dictionary of eight texts takes 32 bytes
        _file(_page(0, 4, 16), change=lambda column: {**column, 7: (5, 1 << 20)}),
        _file(_page(0, 4, 16), change=lambda column: {**column, 7: (5, -1)}),
        _file(_page(0, 4, 16), change=lambda column: {**column, 9: (5, 0)}),
        _file(_page(0, 4, 16), change=lambda column: {**column, 9: (5, -4)}),
        _file(_page(0, 4, 16), change=lambda column: {**column, 11: (5, 1)}),  # a dictionary within the first mark
        _file(_page(0, 4, 16), leaf={1: (5, 7), 2: (5, -1)}),  # values of less than no byte
        _file(_page(0, 4, 16), columns=0),  # a column of no table
        _file(_page(0, 4, 16))[:-1] + b"E",  # the mark of an encrypted footer
        _file(_page(0, 4, 16), leaf={1: (5, 9)}),
        _file(b"\xff" * 50),
        b"PAR1" + bytes(20),
        b"PAR1",
        b"",
    ],
)
def test_claims_that_cannot_be_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"it |its |column|a page|a value|a dictionary"):
        groups_of(data, len(data))


def test_a_dictionary_may_be_as_dense_as_its_values_are() -> None:
    data = _file(_page(2, 8, 32), _page(0, 4, 16))
    assert groups_of(data, len(data))[0].claims[0].dictionary == 32
    at_first = _file(_page(2, 4, 32), _page(0, 4, 16), change=lambda column: {**column, 9: (5, 30), 11: (5, 4)})
    assert groups_of(at_first, len(at_first))[0].claims[0].dictionary == 32


@pytest.mark.parametrize("size", [1 << 10, 1 << 16])
def test_a_long_head_of_a_page_is_read_and_one_that_never_ends_is_refused(size: int) -> None:
    for extra in (-100, 0, 100):
        data = _file(_page(0, 4, 16, head={60: (8, b"x" * (size + extra))}))
        assert groups_of(data, len(data))[0].claims[0].values == 4
    data = _file(_page(0, 4, 16, head={60: (8, b"x" * (1 << 22))}))
    with pytest.raises(ValueError, match="claims more bytes than it has"):
        groups_of(data, len(data))
