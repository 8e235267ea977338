"""The list of files that ``emit`` wrote: ``.wdstools/emitted.json``. Neither the root digest nor SHA256SUMS covers it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from wdstools.errors import FormatError, NotFoundError
from wdstools.formats.card import CARD_PATH
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH, is_plain_path
from wdstools.formats.sums import SUMS_PATH
from wdstools.interop.croissant import CROISSANT_PATH
from wdstools.interop.huggingface import CARD_KEYS
from wdstools.interop.sizes import open_clip_files, timm_files
from wdstools.interop.tarindexes import ENERGON_DATABASE, dali_path, energon_files, energon_path, webshart_path
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.formats.manifest import Manifest
    from wdstools.stores.base import Store

EMITTED_PATH = ".wdstools/emitted.json"
_MAX_BYTES = 1 << 28
_HINT = "delete this list: the files remain, and emit writes a new list"
_HIDDEN = (".wdstools/dali/", ".wdstools/webshart/", ".nv-meta/.", ".nv-meta/")


@dataclass(frozen=True, slots=True)
class Emitted:
    """``files`` maps each path to its consumer and SHA-256; ``card_keys`` are those written to the card.

    ``links`` are symbolic links to shards in another place: nothing is written next to foreign tars.
    ``root`` is the digest of the manifest from which they were made; ``new_card``: there was no card before.
    ``earlier`` has the digests of files that were being replaced when this was written. ``others`` are paths that the list
    of another version named and that do not belong to this one: they are not ours to change, and are never written.
    """

    root: str = ""
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    card_keys: tuple[str, ...] = ()
    new_card: bool = False
    links: tuple[str, ...] = ()
    earlier: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = field(default=(), compare=False)

    def dumps(self) -> bytes:
        """The list's bytes."""
        document = asdict(self)
        del document["others"]
        if not self.earlier:
            del document["earlier"]
        return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def made(self, path: str, digest: str) -> bool:
        """Whether a file with this SHA-256 was emitted as ``path``."""
        return path in self.files and digest in (self.files[path][1], self.earlier.get(path))

    @property
    def consumers(self) -> frozenset[str]:
        """The consumers for which there are files."""
        return frozenset(consumer for consumer, _ in self.files.values()) | (
            {"huggingface"} if self.card_keys else set()
        )


def read_emitted(store: Store, manifest: Manifest) -> Emitted:
    """The list of a dataset; empty if there is none. Raises FormatError (``emitted-damaged``).

    Files that it names may be deleted, replaced and published, and anybody may have written it: so it may only name files that ``emit``
    makes from this manifest. The list of another version may name files made from that one; these go into ``others``.
    """
    try:
        data = get_whole(store, EMITTED_PATH, _MAX_BYTES)
    except NotFoundError:
        return Emitted()
    try:
        document = json.loads(data)
        files = {str(path): (str(consumer), str(digest)) for path, (consumer, digest) in document["files"].items()}
        emitted = Emitted(
            str(document["root"]),
            files,
            tuple(map(str, document["card_keys"])),
            document["new_card"] is True,
            tuple(map(str, document.get("links", ()))),
            {str(path): str(digest) for path, digest in document.get("earlier", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FormatError(
            "the list of emitted files is damaged", code="emitted-damaged", where=EMITTED_PATH, hint=_HINT
        ) from None
    return _only_ours(emitted, manifest)


def _only_ours(emitted: Emitted, manifest: Manifest) -> Emitted:
    """The list without files of another version; raises FormatError for a file that ``emit`` never writes."""
    own = emitted_paths(manifest)
    odd_files = {path for path, (consumer, _) in emitted.files.items() if path not in own.get(consumer, ())}
    shards = {entry.path for _, entry in manifest.shards} if manifest.profile == "foreign" else set()
    odd = odd_files | (set(emitted.links) - shards)
    wrong = next((key for key in emitted.card_keys if key not in CARD_KEYS), None)
    if emitted.root == manifest.root or not all(map(_is_plain, odd)):
        wrong = min(odd, default=wrong)
    if wrong is not None:
        raise FormatError(
            "the list of emitted files names a file that emit does not write",
            code="emitted-damaged",
            where=EMITTED_PATH,
            got=wrong,
            hint=_HINT,
        )
    return replace(
        emitted,
        files={path: entry for path, entry in emitted.files.items() if path not in odd},
        links=tuple(path for path in emitted.links if path not in odd),
        others=tuple(sorted(odd)),
    )


def emitted_paths(manifest: Manifest) -> dict[str, frozenset[str]]:
    """Each consumer's files, under the names that ``emit`` gives them; never a file of the dataset itself."""
    entries = [entry for _, entry in manifest.shards]
    dataset = {MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH, SUMS_PATH, CARD_PATH, EMITTED_PATH}
    dataset |= {path for entry in entries for path in (entry.path, entry.index_path)}
    paths: dict[str, Iterable[str]] = {
        "open_clip": open_clip_files(manifest),
        "timm": timm_files(manifest),
        "croissant": (CROISSANT_PATH,),
        "energon": (*energon_files(manifest), ENERGON_DATABASE, *map(energon_path, entries)),
        "dali": map(dali_path, entries),
        "webshart": (webshart_path(entry.path) for entry in entries),
    }
    return {consumer: frozenset(made) - dataset for consumer, made in paths.items()}


def _is_plain(path: str) -> bool:
    folder = next((folder for folder in _HIDDEN if path.startswith(folder)), "")
    return is_plain_path(path.removeprefix(folder))
