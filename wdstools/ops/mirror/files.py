"""The files of a mirror: which files of a dataset are mirrored, and the digest that each must have."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from wdstools.checks.signature import bundles_of
from wdstools.dataset import CLAIM_PATH
from wdstools.errors import IntegrityError, UsageError
from wdstools.formats.card import CARD_PATH
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import HASHES_FOLDER, MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH
from wdstools.formats.sums import SUMS_PATH, parse_sums
from wdstools.formats.tar_names import encoding_of
from wdstools.interop.emitted import EMITTED_PATH, read_emitted
from wdstools.landing.inside import read_inside, refuse_outside
from wdstools.transfer.columns import column_files
from wdstools.transfer.compare import Wanted, holder, shard_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dataset import Dataset
    from wdstools.stores.base import ObjectInfo

PROBE_PATH = ".wdstools/probe"
#: The suffix of the file that emit writes for a shard.
_EMITTED_SUFFIX = ".idx"
#: Files that are not mirrored, or belong to the mirror itself.
_OWN = (CLAIM_PATH, PROBE_PATH, HASHES_FOLDER)


def emitted_files(dataset: Dataset) -> list[Wanted]:
    """What was emitted for other readers, and the list of it."""
    listed = read_emitted(dataset.metadata, dataset.manifest)
    if listed.root != dataset.root:
        raise UsageError(
            "the files emitted for other readers are of another version" if listed.root else "nothing has been emitted",
            code="not-emitted",
            where=dataset.metadata.url,
            hint=f"wdstools emit {quote(dataset.metadata.url)} --for all",
        )
    data = read_inside(dataset.metadata, EMITTED_PATH)
    files = [Wanted(path, _size_of(dataset, path), {"sha256": digest}) for path, (_, digest) in listed.files.items()]
    return [*files, Wanted(EMITTED_PATH, len(data), {"sha256": sha256_hex(data)})]


def wanted_files(dataset: Dataset, emitted: list[Wanted]) -> list[Wanted]:
    """Every file of a mirror, in the order of storing: the manifest last."""
    data = {path: read_inside(dataset.metadata, path) for path in (SUMS_PATH, CARD_PATH, MANIFEST_PATH)}
    listed = {line.path: line.digest for line in parse_sums(data[SUMS_PATH])}
    shards = [shard_file(entry) for _, entry in dataset.manifest.shards]
    files = [(entry.index_path, listed.get(entry.index_path)) for _, entry in dataset.manifest.shards]
    files += [(path, listed[path]) for path in (PROVENANCE_PATH, SKIPPED_PATH) if path in listed]
    refuse_outside(dataset.metadata, (path for path, _ in files))
    refuse_outside(dataset.metadata, (file.path for file in emitted))
    others = []
    for path, digest in files:
        if digest is None:
            raise _damaged_here(dataset, f"it has no line for {path}")
        others.append(Wanted(path, _size_of(dataset, path), {"sha256": digest}))
    if listed.get(MANIFEST_PATH) != sha256_hex(data[MANIFEST_PATH]):
        raise _damaged_here(dataset, f"its line for {MANIFEST_PATH} is not the file's SHA-256")
    others += [Wanted(path, len(made), {"sha256": sha256_hex(made)}) for path, made in bundles_of(dataset).items()]
    others += column_files(dataset)
    last = [Wanted(path, len(data[path]), {"sha256": sha256_hex(data[path])}) for path in data]
    return [*shards, *others, *emitted, *last]


def _size_of(dataset: Dataset, path: str) -> int:
    return holder(dataset, path).head(path).bytes


def _damaged_here(dataset: Dataset, message: str) -> IntegrityError:
    dataset.refuse_replaced()
    return IntegrityError(
        f"the checksum list is damaged: {message}",
        code="source-damaged",
        where=f"{dataset.metadata.url}/{SUMS_PATH}",
        hint=f"{dataset.verify_command}    then repair it from another copy",
    )


def extra_files(found: Mapping[str, ObjectInfo], wanted: set[str], folders: set[str]) -> tuple[ObjectInfo, ...]:
    """Files at the target that readers would take for parts of the dataset; other files there are not our concern."""
    return tuple(
        info
        for path, info in found.items()
        if path not in wanted
        and not path.startswith(_OWN)
        and (path.startswith(".wdstools/") or _is_taken(path, folders))
    )


def _is_taken(path: str, folders: set[str]) -> bool:
    """Whether readers look for shards in a file's folder and would take it for one, or for the index of one."""
    folder, _, name = path.rpartition("/")
    return folder in folders and encoding_of(name.removesuffix(_EMITTED_SUFFIX)) is not None
