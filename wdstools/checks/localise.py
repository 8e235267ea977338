"""Where a shard is damaged: it is compared with its index group by group, down to the member and the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wdstools.checks.stream import span_of_nonzero
from wdstools.formats.digest import sha256_digest, xxh3_64_intdigest, xxh3_128_digest
from wdstools.formats.tar import BLOCK, padding, render_header, trailer_bytes
from wdstools.results import Finding
from wdstools.units import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from wdstools.stores.base import Store

#: How far to look for a sample if bytes before it were inserted or lost.
_SHIFT_BYTES = 1 << 16


class Localiser:
    """Compares a shard group by group with its index, which the manifest proves."""

    def __init__(self, store: Store, path: str, size: int, table: pa.Table) -> None:
        self._store = store
        self._path = path
        self._size = size
        self._rows = table.select(["key", "offset", "length", "xxh3_128", "sha256", "members"]).to_pylist()
        self._shift = 0
        self._number_of: dict[bytes, int] = {}
        self.findings: list[Finding] = []

    def run(self) -> list[Finding]:
        """Every finding, in byte order."""
        for number, row in enumerate(self._rows):
            if row["offset"] + self._shift >= self._size:
                self._truncated(number)
                return self.findings
            data = self._read(row)
            while xxh3_128_digest(data) != row["xxh3_128"] and self._out_of_place(data, number):
                data = self._read(row)
            if xxh3_128_digest(data) != row["xxh3_128"]:
                self._group(row, data, number)
            elif row["sha256"] is not None and sha256_digest(data) != row["sha256"]:
                self._find(
                    "payload",
                    "forged",
                    "a sample has the XXH3 of what was packed but not its SHA-256: it was forged",
                    (row["key"], None),
                    (row["offset"] + self._shift, row["length"]),
                    (f"sha256:{row['sha256'].hex()}", f"sha256:{sha256_digest(data).hex()}"),
                )
            if len(data) < row["length"]:
                return self.findings  # the file ends here
        self._trailer()
        return self.findings

    def _read(self, row: dict[str, Any]) -> bytes:
        return self._store.get(self._path, row["offset"] + self._shift, row["length"])

    def _out_of_place(self, data: bytes, number: int) -> bool:
        """Whether an intact sample that belongs before this one is here: repeated, or swapped with others."""
        if not self._number_of:
            self._number_of = {self._landmark(n): n for n in range(len(self._rows))}
        earlier = self._number_of.get(data[:BLOCK], number)
        if earlier >= number:
            return False
        row, start = self._rows[earlier], self._rows[number]["offset"] + self._shift
        if xxh3_128_digest(self._store.get(self._path, start, row["length"])) != row["xxh3_128"]:
            return False
        self._find(
            "payload",
            "sample-moved",
            "a sample is out of place; everything after it has moved",
            (row["key"], None),
            (start, row["length"]),
        )
        self._shift += row["length"]
        return True

    def _truncated(self, number: int) -> None:
        lost = len(self._rows) - number
        row = self._rows[number]
        self._find(
            "truncated",
            "samples-lost",
            f"the shard ends here; lost from this one on: {counted(lost, 'sample')}",
            (row["key"], None),
            (self._size, row["offset"] + self._shift - self._size + row["length"]),
        )

    def _group(self, row: dict[str, Any], data: bytes, number: int) -> None:
        """Find the damaged members of a damaged group, and the damaged part of each."""
        start = row["offset"] + self._shift
        if len(data) < row["length"]:
            lost = len(self._rows) - number
            self._find(
                "truncated",
                "payload-cut",
                f"the shard ends inside a sample; damaged or lost from this one on: {counted(lost, 'sample')}",
                (row["key"], None),
                (self._size, row["length"] - len(data)),
            )
            return
        if self._moved(row, data, number):
            return
        for member in row["members"]:
            at = member["offset"] - row["offset"]
            header = render_header(f"{row['key']}.{member['ext']}".encode(), member["size"], member["xxh3_64"])
            stored = data[at - BLOCK : at]
            if stored != header:
                first, length = _span_of_difference(stored, header)
                self._find(
                    "header",
                    "header-differs",
                    f"a header differs in {_field_at(first)}",
                    (row["key"], member["ext"]),
                    (start + at - BLOCK + first, length),
                )
            payload = data[at : at + member["size"]]
            digest = xxh3_64_intdigest(payload)
            if digest != member["xxh3_64"]:
                self._find(
                    "payload",
                    "payload-differs",
                    "a payload differs from what was packed",
                    (row["key"], member["ext"]),
                    (start + at, member["size"]),
                    (f"xxh3:{member['xxh3_64']:016x}", f"xxh3:{digest:016x}"),
                )
            pad = data[at + member["size"] : at + member["size"] + padding(member["size"])]
            if pad.strip(b"\0"):
                first, length = span_of_nonzero(pad)
                self._find(
                    "padding",
                    "padding-not-zero",
                    "padding is not zero",
                    (row["key"], member["ext"]),
                    (start + at + member["size"] + first, length),
                )

    def _moved(self, row: dict[str, Any], data: bytes, number: int) -> bool:
        """Whether bytes were inserted or lost inside this group, so that everything after it has moved."""
        end = row["offset"] + row["length"] + self._shift
        first = max(0, end - _SHIFT_BYTES)
        around, place = self._store.get(self._path, first, 2 * _SHIFT_BYTES), end - first
        if number + 1 < len(self._rows):
            wanted = self._landmark(number + 1)
            found = [around.find(wanted), around.find(wanted, place)]
        elif self._ends_in_place(row, data, around[place:]):
            return False
        else:  # zeros follow, to the end of the file; how many this sample ends with itself, nobody knows
            pad = padding(row["members"][-1]["size"])
            wanted, place = bytes(pad + trailer_bytes(end - self._shift)), place - pad
            at = around.rfind(wanted)
            found = [at if first + at + len(wanted) == self._size else -1]
        if around[place : place + len(wanted)] == wanted:
            return False
        candidates = [at for at in found if at >= 0]
        if not candidates:
            return False
        moved = min((at - place for at in candidates), key=abs)
        self._shift += moved
        what = f"{counted(abs(moved), 'byte')} {'inserted' if moved > 0 else 'lost'}"
        member = self._first_bad(row, data)
        self._find(
            "payload",
            "sample-moved",
            f"{what} in this sample; everything after it has moved",
            (row["key"], member),
            (end - row["length"], row["length"] + moved),
        )
        return True

    def _ends_in_place(self, row: dict[str, Any], data: bytes, behind: bytes) -> bool:
        """Whether only padding of the last sample is damaged: members and end are in place, and at most whole blocks follow."""
        end = row["offset"] + row["length"]
        zeros = bytes(trailer_bytes(end))
        more = self._size - self._shift - end - len(zeros)
        return behind.startswith(zeros) and more % BLOCK == 0 and self._first_bad(row, data) is None

    def _first_bad(self, row: dict[str, Any], data: bytes) -> str | None:
        for member in row["members"]:
            at = member["offset"] - row["offset"]
            header = render_header(f"{row['key']}.{member['ext']}".encode(), member["size"], member["xxh3_64"])
            if (
                data[at - BLOCK : at] != header
                or xxh3_64_intdigest(data[at : at + member["size"]]) != member["xxh3_64"]
            ):
                return str(member["ext"])
        return None

    def _landmark(self, number: int) -> bytes:
        """The header with which a group begins."""
        row = self._rows[number]
        first = row["members"][0]
        return render_header(f"{row['key']}.{first['ext']}".encode(), first["size"], first["xxh3_64"])

    def _trailer(self) -> None:
        end = (self._rows[-1]["offset"] + self._rows[-1]["length"] if self._rows else 0) + self._shift
        expected = trailer_bytes(end - self._shift)
        data = self._store.get(self._path, end, expected)
        if data.strip(b"\0"):
            first, length = span_of_nonzero(data)
            self._find(
                "trailer",
                "archive-end-damaged",
                "the end-of-archive blocks are not zero",
                (None, None),
                (end + first, length),
            )
        if self._size > end + expected:
            self._find(
                "trailer",
                "bytes-follow",
                "bytes follow the end of the archive",
                (None, None),
                (end + expected, self._size - end - expected),
            )
        elif len(data) < expected:
            self._find(
                "truncated",
                "archive-end-missing",
                "the end-of-archive blocks are incomplete",
                (None, None),
                (end + len(data), expected - len(data)),
            )

    def _find(
        self,
        kind: str,
        cause: str,
        message: str,
        sample: tuple[str | None, str | None],
        span: tuple[int, int],
        digests: tuple[str, str] | None = None,
    ) -> None:
        """Note a finding: ``sample`` is key and member, ``span`` start and length, ``digests`` expected and got."""
        expected, got = digests or (None, None)
        self.findings.append(Finding(kind, self._path, message, *sample, *span, expected, got, cause=cause))


def _span_of_difference(a: bytes, b: bytes) -> tuple[int, int]:
    different = [at for at, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
    return different[0], different[-1] - different[0] + 1


_FIELDS = (
    (100, "name"),
    (108, "mode"),
    (116, "uid"),
    (124, "gid"),
    (136, "size"),
    (148, "mtime"),
    (156, "chksum"),
    (157, "typeflag"),
    (257, "linkname"),
    (263, "magic"),
    (265, "version"),
    (297, "uname"),
    (329, "gname"),
    (337, "devmajor"),
    (345, "devminor"),
    (500, "prefix"),
    (512, "the unused end"),
)


def _field_at(offset: int) -> str:
    return next(name for end, name in _FIELDS if offset < end)
