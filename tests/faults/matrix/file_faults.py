"""Faults of whole files: shards that are others, indexes, and what is written about the data."""

from __future__ import annotations

import json
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.faults.matrix.scene import Expected, Fault, about
from tests.support.damaged_dataset import flipped, other_regions
from wdstools.formats.card import CARD_PATH
from wdstools.formats.manifest import MANIFEST_PATH, index_path
from wdstools.formats.sums import SUMS_PATH

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.faults.matrix.scene import Scene

PROVENANCE = ".wdstools/provenance.json"
SKIPPED = ".wdstools/skipped.jsonl"
#: The sample that the other version has another image in.
CHANGED = {"oslo/4"}


def _two_shards(scene: Scene, draw: Random) -> tuple[str, str]:
    one, two = draw.sample([shard for shard in scene.shards if shard.startswith("train")], 2)
    return one, two


def _exchanged(scene: Scene, draw: Random) -> Expected:
    one, two = _two_shards(scene, draw)
    scene.write(one, scene.read(two))
    scene.write(two, scene.read(one))
    return about(one, two, kind="swapped", says=two)


def _copied_over(scene: Scene, draw: Random) -> Expected:
    one, two = _two_shards(scene, draw)
    scene.write(one, scene.read(two))
    return about(one, kind="swapped", says=two)


def _of_other_split(scene: Scene, draw: Random) -> Expected:
    one, two = draw.choice(scene.shards[:-1]), scene.shards[-1]
    scene.write(one, scene.read(two))
    return about(one, kind="swapped", says=two)


def _missing(scene: Scene, draw: Random) -> Expected:
    shard = draw.choice(scene.shards)
    (scene.dataset / shard).unlink()
    return about(shard, kind="missing")


def _surplus(scene: Scene, draw: Random) -> Expected:
    shard = draw.choice(scene.shards)
    extra = shard.replace("0000", "0009")
    shutil.copy(scene.whole / shard, scene.dataset / extra)
    return about(extra, kind="extra")


def _folder(scene: Scene, draw: Random) -> Expected:
    shard = draw.choice(scene.shards)
    (scene.dataset / shard).unlink()
    (scene.dataset / shard).mkdir()
    return about(shard, kind="missing unreadable")


def changed_shard(scene: Scene) -> str:
    """The one shard that differs between the two versions."""
    (shard,) = [name for name in scene.shards if (scene.other / name).read_bytes() != scene.read(name)]
    return shard


def _of_other_version(scene: Scene, draw: Random) -> Expected:
    shard = changed_shard(scene)
    scene.write(shard, (scene.other / shard).read_bytes())
    return about(shard, kind="payload header truncated", keys=CHANGED)


def _mixed_versions(scene: Scene, draw: Random) -> Expected:
    shard = changed_shard(scene)
    for path in (shard, index_path(shard)):
        scene.write(path, (scene.other / path).read_bytes())
    return about(shard, index_path(shard), kind="swapped index")


def _flip(kind: str, scene: Scene, draw: Random) -> Expected:
    region = draw.choice([region for region in other_regions(scene.whole) if region.what == kind])
    at, bit = draw.randrange(region.start, region.end), draw.randrange(8)
    scene.write(region.path, flipped(scene.read(region.path), at, bit))
    keys = {key for shard in scene.shards for key in scene.groups(shard)}
    return about(region.path, kind=region.kind, may=keys)


def _gone(path: str, scene: Scene, draw: Random) -> Expected:
    (scene.dataset / path).unlink()
    return about(path, kind="missing")


def _index_gone(scene: Scene, draw: Random) -> Expected:
    return _gone(index_path(draw.choice(scene.shards)), scene, draw)


def _half(path: str, kind: str, scene: Scene, draw: Random) -> Expected:
    data = scene.read(path)
    scene.write(path, data[: draw.randrange(1, len(data))])
    return about(path, kind=kind)


def _index_half(scene: Scene, draw: Random) -> Expected:
    return _half(index_path(draw.choice(scene.shards)), "index", scene, draw)


def _indexes_exchanged(scene: Scene, draw: Random) -> Expected:
    one, two = (index_path(shard) for shard in _two_shards(scene, draw))
    scene.write(one, scene.read(two))
    scene.write(two, scene.read(one))
    return about(one, two, kind="index", may={key for shard in scene.shards for key in scene.groups(shard)})


def _stale_manifest(scene: Scene, draw: Random) -> Expected:
    scene.write_manifest((scene.other / MANIFEST_PATH).read_bytes())
    return about(MANIFEST_PATH, kind="manifest", also={CARD_PATH})


def _stale_manifest_and_list(scene: Scene, draw: Random) -> Expected:
    """The manifest and the list of another version over these shards: as a half-finished copy leaves them."""
    shard = changed_shard(scene)
    for path in (MANIFEST_PATH, SUMS_PATH, CARD_PATH, PROVENANCE):
        scene.write(path, (scene.other / path).read_bytes())
    return about(shard, index_path(shard), kind="swapped index")


def _entry(scene: Scene, draw: Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest as plain values, and one of its shards."""
    document = json.loads(scene.read(MANIFEST_PATH))
    return document, draw.choice(document["splits"]["train"])


def _render(document: dict[str, Any]) -> bytes:
    """The canonical bytes, without asking whether the values may be."""

    def dump(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    splits = ",".join(
        f"{dump(name)}:[\n" + ",\n".join(map(dump, entries)) + "\n]" for name, entries in document["splits"].items()
    )
    parts = (
        f"{dump(k)}:{{{splits}}}" if k == "splits" else f"{dump(k)}:{dump(v)}" for k, v in sorted(document.items())
    )
    return ("{" + ",".join(parts) + "}\n").encode()


def _wrong_total(name: str, amount: int, scene: Scene, draw: Random, *, listed: bool = False) -> Expected:
    """A size that is wrong for its shard and right in the totals."""
    document, entry = _entry(scene, draw)
    entry[name] += amount
    document["totals"][name] += amount
    scene.write_manifest(_render(document), listed=listed)
    if not listed:
        return about(MANIFEST_PATH, kind="manifest")
    # the card and the index say otherwise too
    return about(MANIFEST_PATH, kind="manifest", says=f"field {name}", also={CARD_PATH, index_path(entry["path"])})


def _changed_entry(change: Callable[[dict[str, Any]], None], says: str, scene: Scene, draw: Random) -> Expected:
    document, entry = _entry(scene, draw)
    change(entry)
    scene.write_manifest(_render(document), listed=True)
    return about(MANIFEST_PATH, kind="manifest", says=says)


def _only_a_crc(entry: dict[str, Any]) -> None:
    for name in ("sha256", "xxh3_128", "crc64nvme"):
        del entry[name]


def _unknown_field(scene: Scene, draw: Random) -> Expected:
    document, entry = _entry(scene, draw)
    entry["note"] = "added by hand"
    scene.write_manifest(_render(document))
    return about(MANIFEST_PATH, kind="manifest")


def _field_twice(scene: Scene, draw: Random) -> Expected:
    data = scene.read(MANIFEST_PATH)
    scene.write_manifest(data.replace(b'{"bytes":', b'{"bytes":1,"bytes":', 1), listed=True)
    return about(MANIFEST_PATH, kind="manifest", says="bytes")


def _line_of(scene: Scene, change: Callable[[str, str], str], draw: Random) -> Expected:
    lines = scene.read(SUMS_PATH).decode().splitlines()
    number, other = draw.sample(range(len(lines)), 2)
    lines[number] = change(lines[number], lines[other])
    scene.write(SUMS_PATH, "".join(f"{line}\n" for line in lines if line).encode())
    return about(SUMS_PATH, kind="sums")


def _line_gone(scene: Scene, draw: Random) -> Expected:
    return _line_of(scene, lambda line, other: "", draw)


def _line_of_another(scene: Scene, draw: Random) -> Expected:
    lines = scene.read(SUMS_PATH).decode().splitlines()
    shards = [line for line in lines if line.endswith(".tar")]
    one, two = draw.sample(shards, 2)
    text = scene.read(SUMS_PATH).decode().replace(one, two[:64] + one[64:])
    scene.write(SUMS_PATH, text.encode())
    return about(SUMS_PATH, kind="sums", says=one[66:])


def _card_of_other_version(scene: Scene, draw: Random) -> Expected:
    scene.write(CARD_PATH, (scene.other / CARD_PATH).read_bytes())
    return about(CARD_PATH, kind="card")


BITS = "one bit flipped"
SHARDS = "shards"
INDEXES = "index"
MANIFESTS = "manifest"
OTHERS = "other files"

FILE_FAULTS = [
    *(
        Fault(name, BITS, partial(_flip, name))
        for name in ("index", "manifest", "provenance", "skipped", "sums", "card")
    ),
    Fault("two exchanged", SHARDS, _exchanged),
    Fault("one copied over another", SHARDS, _copied_over),
    Fault("one of the other split", SHARDS, _of_other_split),
    Fault("one missing", SHARDS, _missing),
    Fault("one too many", SHARDS, _surplus),
    Fault("a folder in its place", SHARDS, _folder),
    Fault("one of another version", SHARDS, _of_other_version, many=False),
    Fault("one of another version, with its index", SHARDS, _mixed_versions, many=False),
    Fault("missing", INDEXES, _index_gone),
    Fault("cut", INDEXES, _index_half),
    Fault("two exchanged", INDEXES, _indexes_exchanged),
    Fault("missing", MANIFESTS, partial(_gone, MANIFEST_PATH), many=False),
    Fault("cut", MANIFESTS, partial(_half, MANIFEST_PATH, "manifest")),
    Fault("of another version", MANIFESTS, _stale_manifest, many=False),
    Fault("of another version, with its list and card", MANIFESTS, _stale_manifest_and_list, many=False),
    Fault("wrong bytes, totals agree", MANIFESTS, partial(_wrong_total, "bytes", 512)),
    Fault("wrong samples, totals agree", MANIFESTS, partial(_wrong_total, "samples", 1)),
    Fault("wrong bytes, totals and list agree", MANIFESTS, partial(_wrong_total, "bytes", 512, listed=True)),
    Fault("too few bytes, totals and list agree", MANIFESTS, partial(_wrong_total, "bytes", -512, listed=True)),
    Fault("wrong samples, totals and list agree", MANIFESTS, partial(_wrong_total, "samples", 1, listed=True)),
    Fault("a field twice", MANIFESTS, _field_twice, many=False),
    Fault("an unknown field", MANIFESTS, _unknown_field),
    Fault("an integer out of range", MANIFESTS, partial(_changed_entry, lambda e: e.update(bytes=2**53), str(2**53))),
    Fault("a negative integer", MANIFESTS, partial(_changed_entry, lambda e: e.update(samples=-1), "-1")),
    Fault("a path that leads outside", MANIFESTS, partial(_changed_entry, lambda e: e.update(path="../x.tar"), "path")),
    Fault("only a CRC left of the digests", MANIFESTS, partial(_changed_entry, _only_a_crc, "sha256")),
    Fault("provenance missing", OTHERS, partial(_gone, PROVENANCE), many=False),
    Fault("provenance cut", OTHERS, partial(_half, PROVENANCE, "provenance")),
    Fault("list of skips missing", OTHERS, partial(_gone, SKIPPED), many=False),
    Fault("checksum list missing", OTHERS, partial(_gone, SUMS_PATH), many=False),
    Fault("checksum list cut", OTHERS, partial(_half, SUMS_PATH, "sums")),
    Fault("a line of the list gone", OTHERS, _line_gone),
    Fault("a line with another's digest", OTHERS, _line_of_another),
    Fault("card missing", OTHERS, partial(_gone, CARD_PATH), many=False),
    Fault("card of another version", OTHERS, _card_of_other_version, many=False),
]
