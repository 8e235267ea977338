"""The manifest: what a dataset is, in canonical JSON whose SHA-256 (the root digest) names the dataset.

Canonical form: UTF-8, keys sorted by code point, separators ``,`` and ``:``, integers below 2**53, no floats, one shard
per line, a final newline. Unknown fields are kept. Laws: ``loads(dumps(m)) == m``, and ``dumps(loads(b)) == b`` for
every ``b`` that ``loads`` accepts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from wdstools.errors import FormatError, UnsupportedVersionError
from wdstools.formats.digest import DIGEST_HEX_DIGITS, sha256_hex
from wdstools.formats.image_types import STORABLE_TYPES, is_image_extension
from wdstools.formats.sample import MEMBER_ORDER, image_member, is_further_member, member_order

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The newest format that can be read. A manifest has the lowest number whose rules it needs.
FORMAT_VERSION = 2
#: From this format on, bytes may follow the end of a sample's image.
TRAILING_BYTES_FORMAT = 2
#: The path of the manifest in a dataset.
MANIFEST_PATH = ".wdstools/manifest.json"
#: Next to it: how the dataset was made, and what was not packed and why.
PROVENANCE_PATH = ".wdstools/provenance.json"
SKIPPED_PATH = ".wdstools/skipped.jsonl"
#: The folder of the shards' indexes.
INDEX_FOLDER = ".wdstools/index/"
#: The folder of perceptual hashes of their images.
HASHES_FOLDER = ".wdstools/hashes/"
#: The folder of columns that were added later, and the list of the files of their sets.
COLUMNS_FOLDER = ".wdstools/columns/"
COLUMNS_LIST = f"{COLUMNS_FOLDER}SHA256SUMS"
_MAX_INT = 2**53
#: The size of a manifest of two and a half million shards, which takes about eight times as much memory.
MAX_MANIFEST_BYTES = 1 << 30
_PATH_PART_RE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.%~-]*")
_CANONICAL_RE = re.compile(r"(?P<split>[^/]+)/((?P=split)-[0-9]{6,})\.tar")
_FOREIGN_PART_RE = re.compile(r"[^\x00-\x1f\x7f/\\:\ud800-\udfff.~-][^\x00-\x1f\x7f/\\:\ud800-\udfff]*")
#: Texts that JSON writes without escapes.
_PLAIN_RE = re.compile(r"[A-Za-z0-9_./-]*")
_SPLIT_RE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard as the manifest lists it. Digests are lower-case hexadecimal; ``rows`` is ``index.rows_digest``.

    ``values`` is ``index.values_digest``, or "" in a manifest by an older writer: then nothing proves these columns. In
    a foreign dataset a digest that was not computed is "" (without ``xxh3_128`` the index's digests are 0), and
    ``encoding`` may be ``tar.gz`` or ``tar.zst``: offsets then refer to the unpacked tar.
    """

    path: str
    bytes: int
    samples: int
    sha256: str
    xxh3_128: str
    crc32c: str
    crc64nvme: str
    rows: str
    encoding: str = "tar"
    values: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def index_path(self) -> str:
        """The path of this shard's index in a dataset."""
        return index_path(self.path)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A dataset's content. ``splits`` maps each split to its shards, in shard order.

    The number of shards of a split is also the S of the order rule (``sample.shard_of``). ``members`` are the
    extensions of every sample in tar order; ``labels`` are in ``cls`` order; ``seed`` is that of the order hash.
    ``authenticated_ranges`` says that the index holds a SHA-256 of each sample. ``format`` is the version of the format
    whose rules apply.
    """

    #: Every item of work holds the manifest: see ``executors.shared``.
    travels_once: ClassVar[bool] = True

    name: str
    version: int
    labels: tuple[str, ...]
    members: tuple[str, ...]
    seed: int
    splits: dict[str, tuple[ShardEntry, ...]]
    profile: str = "canonical"
    authenticated_ranges: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    format: int = 1

    @property
    def has_values(self) -> bool:
        """Whether every shard has the digest of its index's labels, captions and sizes."""
        return all(shard.values for _, shard in self.shards)

    @property
    def shards(self) -> list[tuple[str, ShardEntry]]:
        """Every (split, shard), in manifest order."""
        return [(split, shard) for split, shards in self.splits.items() for shard in shards]

    def split_of(self, shard: ShardEntry) -> str:
        """The split of one of its shards."""
        if self.profile == "canonical":
            return shard.path.partition("/")[0]
        return next(split for split, other in self.shards if other.path == shard.path)

    @property
    def totals(self) -> dict[str, int]:
        """The total numbers of bytes, samples and shards."""
        shards = [shard for _, shard in self.shards]
        return {
            "bytes": sum(shard.bytes for shard in shards),
            "samples": sum(shard.samples for shard in shards),
            "shards": len(shards),
        }

    @property
    def image_extension(self) -> str:
        """The extension of the image member; in a foreign dataset, that of most images. "" without images."""
        if self.profile == "canonical":
            return image_member(self.members)
        return self.members[0] if self.members and is_image_extension(self.members[0]) else ""

    @property
    def beside_image(self) -> tuple[str, ...]:
        """The members other than the image; all members without images."""
        return tuple(member for member in self.members if member != self.image_extension)

    @property
    def root(self) -> str:
        """The root digest: SHA-256 of the manifest's canonical bytes."""
        return sha256_hex(dumps(self))


def manifest_identity(manifest: Manifest) -> dict[str, Any]:
    """What a manifest says beyond its shards; kept in provenance, so that a lost manifest can be rebuilt from shards."""
    return {
        "authenticated_ranges": manifest.authenticated_ranges,
        "format": manifest.format,
        "labels": list(manifest.labels),
        "name": manifest.name,
        "seed": manifest.seed,
        "values": manifest.has_values,
        "version": manifest.version,
    }


def index_path(shard_path: str) -> str:
    """The path of a shard's index in a dataset: by its file name or, if its path is not canonical, by the whole path."""
    match = _CANONICAL_RE.fullmatch(shard_path)
    return f"{INDEX_FOLDER}{match[2] if match else shard_path}.parquet"


def like_index(shard_path: str, folder: str) -> str:
    """The path of another file for a shard: below ``folder``, like that of its index below the folder of indexes."""
    return folder + index_path(shard_path).removeprefix(INDEX_FOLDER)


def is_packed(path: str) -> bool:
    """Whether a path is that of a canonical shard or of its index."""
    if _CANONICAL_RE.fullmatch(path):
        return True
    name = path.removeprefix(INDEX_FOLDER).removesuffix(".parquet")
    shard = f"{name.rpartition('-')[0]}/{name}.tar"
    return _CANONICAL_RE.fullmatch(shard) is not None and index_path(shard) == path


def shard_path(split: str, number: int) -> str:
    """The path of a canonical shard."""
    return f"{split}/{split}-{number:06d}.tar"


def dumps(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest."""
    document = dict(manifest.extra)
    document |= {
        "authenticated_ranges": manifest.authenticated_ranges,
        "dataset": {"name": manifest.name, "version": manifest.version},
        "format": manifest.format,
        "labels": list(manifest.labels),
        "members": list(manifest.members),
        "profile": manifest.profile,
        "seed": manifest.seed,
        "splits": None,
        "totals": manifest.totals,
    }
    parts = [
        f"{_json(name)}:{_splits_json(manifest.splits) if name == 'splits' else _json(value)}"
        for name, value in sorted(document.items())
    ]
    return ("{" + ",".join(parts) + "}\n").encode()


def loads(data: bytes, *, where: str = MANIFEST_PATH) -> Manifest:
    """Read a manifest strictly: only the canonical form is accepted.

    Raises FormatError (``manifest-damaged``), naming the field, and UnsupportedVersionError for a newer format.
    """
    reader = _Reader(where)
    document = reader.parse(data)
    version = reader.integer(document, "format")
    if not 1 <= version <= FORMAT_VERSION:
        raise UnsupportedVersionError(
            "this manifest has another format version",
            where=where,
            expected=f"1 to {FORMAT_VERSION}",
            got=str(version),
            hint="pip install -U wdstools",
        )
    identity = reader.mapping(document, "dataset")
    foreign = document.get("profile") == "foreign"
    manifest = Manifest(
        name=reader.text(identity, "name"),
        version=reader.integer(identity, "version"),
        labels=tuple(reader.texts(document, "labels")),
        members=tuple(reader.texts(document, "members")),
        seed=reader.integer(document, "seed"),
        splits={
            reader.split(split): tuple(
                reader.shard(entry, f"splits.{split}[{i}]", foreign=foreign)
                for i, entry in enumerate(reader.shards(split, entries))
            )
            for split, entries in reader.mapping(document, "splits").items()
        },
        profile=reader.text(document, "profile"),
        authenticated_ranges=reader.value(document, "authenticated_ranges", bool),
        extra={k: v for k, v in document.items() if k not in _KNOWN},
        format=version,
    )
    reader.check_consistency(manifest, document)
    try:
        canonical = dumps(manifest) == data
    except (UnicodeEncodeError, RecursionError):  # lone surrogates; an unknown field nested too deep
        canonical = False
    if not canonical:
        raise reader.error("the JSON is not in canonical form", "(whole file)")
    return manifest


_SHARD_FIELDS = [f.name for f in fields(ShardEntry) if f.name != "extra"]
_KNOWN = {"authenticated_ranges", "dataset", "format", "labels", "members", "profile", "seed", "splits", "totals"}
#: The fields of a shard as written today, and the form of all its texts, joined by spaces.
_USUAL_FIELDS = set(_SHARD_FIELDS)
_USUAL_DIGITS = {**DIGEST_HEX_DIGITS, "rows": 64, "values": 64}
_USUAL_TEXTS = ("path", "encoding", *_USUAL_DIGITS)
_USUAL_RE = re.compile(
    rf"({_SPLIT_RE.pattern})/\1-[0-9]{{6,}}\.tar tar" + "".join(f" [0-9a-f]{{{n}}}" for n in _USUAL_DIGITS.values())
)


_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def _json(value: object) -> str:
    return _encode(value)


def _splits_json(splits: dict[str, tuple[ShardEntry, ...]]) -> str:
    """The splits with one shard per line, so that a diff of two manifests shows the shards that differ."""
    rendered = (
        f"{_json(split)}:[\n" + ",\n".join(map(_shard_json, shards)) + "\n]" for split, shards in sorted(splits.items())
    )
    return "{" + ",".join(rendered) + "}"


def _shard_json(shard: ShardEntry) -> str:
    """A shard as one line; formatted directly if nothing needs an escape, which takes a fifth of the time."""
    one = shard
    texts = (one.crc32c, one.crc64nvme, one.encoding, one.path, one.rows, one.sha256, one.values, one.xxh3_128)
    if one.extra or not _PLAIN_RE.fullmatch("".join(texts)):
        given = {name: getattr(shard, name) for name in _SHARD_FIELDS}
        if not shard.values:
            del given["values"]
        return _json({**shard.extra, **given})
    values = f'"values":"{one.values}",' if one.values else ""
    return (
        f'{{"bytes":{one.bytes},"crc32c":"{one.crc32c}","crc64nvme":"{one.crc64nvme}","encoding":"{one.encoding}",'
        f'"path":"{one.path}","rows":"{one.rows}","samples":{one.samples},"sha256":"{one.sha256}",'
        f'{values}"xxh3_128":"{one.xxh3_128}"}}'
    )


class _Reader:
    """Typed access to the parsed JSON; every error names the field."""

    def __init__(self, where: str) -> None:
        self.where = where

    def error(self, message: str, field_name: str, *, expected: str = "", got: str = "") -> FormatError:
        return FormatError(
            f"{message} (field {field_name})",
            code="manifest-damaged",
            where=self.where,
            expected=expected,
            got=got,
            hint="get the manifest again from the dataset's origin or from another copy",
        )

    def parse(self, data: bytes) -> dict[str, Any]:
        if len(data) > MAX_MANIFEST_BYTES:
            raise self.error("the manifest is too large", "(whole file)", got=f"{len(data)} bytes")
        try:
            document: object = json.loads(
                data.decode("utf-8"),
                object_pairs_hook=self._object,
                parse_float=self._no_float,
                parse_int=self._whole,
                parse_constant=self._no_float,
            )
        except (ValueError, RecursionError) as error:
            if isinstance(error, FormatError):
                raise
            raise self.error(f"not JSON: {error}", "(whole file)") from None
        if not isinstance(document, dict):
            raise self.error("not a JSON object", "(whole file)")
        return dict(document)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) != len(pairs):
            raise self.error("a field appears twice", ", ".join(sorted({k for k, _ in pairs})))
        return mapping

    def _whole(self, text: str) -> int:
        if len(text) > len(str(_MAX_INT)) or not 0 <= int(text) < _MAX_INT:
            raise self.error("an integer is out of range", text[:40], expected="0 to 2**53 - 1")
        return int(text)

    def _no_float(self, text: str) -> None:
        raise self.error("a number is not an integer", text)

    def value(self, mapping: dict[str, Any], name: str, kind: type, prefix: str = "") -> Any:
        value = mapping.get(name)
        if type(value) is not kind:
            raise self.error(
                "a field is missing or has another type",
                prefix + name,
                expected=kind.__name__,
                got=type(value).__name__,
            )
        return value

    def integer(self, mapping: dict[str, Any], name: str, prefix: str = "") -> int:
        value: int = self.value(mapping, name, int, prefix)  # ``parse`` has refused those that are out of range
        return value

    def text(self, mapping: dict[str, Any], name: str, prefix: str = "") -> str:
        value: str = self.value(mapping, name, str, prefix)
        return value

    def mapping(self, mapping: dict[str, Any], name: str) -> dict[str, Any]:
        value: dict[str, Any] = self.value(mapping, name, dict)
        return value

    def texts(self, mapping: dict[str, Any], name: str) -> list[str]:
        values: list[str] = self.value(mapping, name, list)
        if not all(isinstance(value, str) for value in values) or len(set(values)) != len(values):
            raise self.error("not a list of distinct strings", name)
        return values

    def split(self, name: str) -> str:
        if not is_split_name(name):
            raise self.error("not a split name", f"splits.{name}")
        return name

    def shards(self, split: str, entries: object) -> list[object]:
        if not isinstance(entries, list):
            raise self.error("a split is not a list of shards", f"splits.{split}")
        return entries

    def shard(self, entry: object, prefix: str, *, foreign: bool) -> ShardEntry:
        if not isinstance(entry, dict):
            raise self.error("a shard is not an object", prefix)
        if (usual := _usual_shard(entry)) is not None:
            return usual
        prefix += "."
        known: dict[str, Any] = {name: self.text(entry, name, prefix) for name in ("path", "rows", "encoding")}
        known |= {name: self.integer(entry, name, prefix) for name in ("bytes", "samples")}
        proved = {"rows": 64} | ({"values": 64} if "values" in entry else {})
        for name, digits in {**DIGEST_HEX_DIGITS, **proved}.items():
            known[name] = self.text(entry, name, prefix)
            if foreign and name not in proved and not known[name]:
                continue  # not computed
            if len(known[name]) != digits or known[name].strip("0123456789abcdef"):
                raise self.error("not a digest", prefix + name, expected=f"{digits} hex digits", got=known[name][:80])
        if not (is_plain_path if foreign else is_safe_path)(known["path"]):
            raise self.error("a shard path is not plain and relative", prefix + "path", got=known["path"][:200])
        return ShardEntry(**known, extra={k: v for k, v in entry.items() if k not in _SHARD_FIELDS})

    def check_consistency(self, manifest: Manifest, document: dict[str, Any]) -> None:
        if document.get("totals") != manifest.totals:
            raise self.error(
                "the totals are not the sums over the shards",
                "totals",
                expected=str(manifest.totals),
                got=str(document.get("totals"))[:200],
            )
        paths = [shard.path for _, shard in manifest.shards]
        if len(set(paths)) != len(paths) or len({index_path(path) for path in paths}) != len(paths):
            raise self.error("a shard is listed twice", "splits")
        if manifest.profile not in ("canonical", "foreign"):
            raise self.error("an unknown profile", "profile", expected="canonical or foreign", got=manifest.profile)
        if manifest.profile == "canonical":
            if not manifest.members or manifest.members != member_order(manifest.members):
                raise self.error(
                    "the members are not in the fixed order", "members", got=",".join(manifest.members)[:200]
                )
            if not _are_members(manifest.members, manifest.format):
                raise self.error(
                    f"some members are not allowed in format {manifest.format}",
                    "members",
                    got=",".join(manifest.members)[:200],
                )
            for split, shards in manifest.splits.items():
                for number, shard in enumerate(shards):
                    if shard.path != shard_path(split, number):
                        raise self.error(
                            "a shard path is not canonical",
                            f"splits.{split}[{number}].path",
                            expected=shard_path(split, number),
                            got=shard.path[:200],
                        )


def _usual_shard(entry: dict[str, Any]) -> ShardEntry | None:
    """A shard whose fields are all as canonical datasets have them, by one match; None if a fault has to be named."""
    if entry.keys() != _USUAL_FIELDS or not type(entry["bytes"]) is type(entry["samples"]) is int:
        return None
    try:
        text = " ".join([entry[name] for name in _USUAL_TEXTS])
    except TypeError:  # not all of them are texts
        return None
    return ShardEntry(**entry) if _USUAL_RE.fullmatch(text) else None


def needed_format(members: Sequence[str], *, trailing: bool, before: int = 1) -> int:
    """The lowest format, at least ``before``, whose rules allow a dataset that wdstools packs.

    Format 1 has an image and no further members. ``trailing`` says that bytes follow the end of some image.
    """
    usual = not set(members).difference(MEMBER_ORDER) and image_member(members)
    return max(before, 1 if usual else 2, TRAILING_BYTES_FORMAT if trailing else 1)


def _are_members(members: Sequence[str], version: int) -> bool:
    further = set(members).difference(MEMBER_ORDER)
    if version == 1:
        return not further
    return all(map(is_further_member, further)) and len(set(members).intersection(STORABLE_TYPES)) <= 1


def is_safe_path(path: str) -> bool:
    """Whether a path from a manifest is plain: relative, without ``..``, hidden parts or unusual characters."""
    return all(_PATH_PART_RE.fullmatch(part) for part in path.split("/"))


def is_plain_path(path: str) -> bool:
    """Whether a path of a foreign shard is relative, inside its root and not hidden; it may have any letters and spaces."""
    return all(_FOREIGN_PART_RE.fullmatch(part) for part in path.split("/"))


def is_split_name(name: str) -> bool:
    """Whether a split may have this name: a plain word without "tar" in it (timm reads that as a file pattern)."""
    return _SPLIT_RE.fullmatch(name) is not None and "tar" not in name and len(name) <= 64 and name != "SHA256SUMS"
