"""The list of what ``emit`` wrote: ``.wdstools/emitted.json``. It lies outside the root and outside SHA256SUMS."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from wdstools.errors import FormatError, NotFoundError
from wdstools.formats.manifest import is_plain_path
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from wdstools.stores.base import Store

EMITTED_PATH = ".wdstools/emitted.json"
_MAX_BYTES = 1 << 28
_HIDDEN = (".wdstools/dali/", ".wdstools/webshart/", ".nv-meta/.", ".nv-meta/")


@dataclass(frozen=True, slots=True)
class Emitted:
    """``files`` maps each path to its consumer and SHA-256; ``card_keys`` are those written to the card.

    ``links`` are symbolic links to shards that lie elsewhere: of tars that others made nothing is written beside them.
    ``root`` is the digest of the manifest that they were made of; ``new_card`` tells that there was no card before.
    """

    root: str = ""
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    card_keys: tuple[str, ...] = ()
    new_card: bool = False
    links: tuple[str, ...] = ()

    def dumps(self) -> bytes:
        """The list's bytes."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @property
    def consumers(self) -> frozenset[str]:
        """Whom files are there for."""
        return frozenset(consumer for consumer, _ in self.files.values()) | (
            {"huggingface"} if self.card_keys else set()
        )


def read_emitted(store: Store) -> Emitted:
    """The list of a dataset; empty where there is none. Raises FormatError (``emitted-damaged``)."""
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
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError("the list of emitted files is damaged", code="emitted-damaged", where=EMITTED_PATH) from error
    # what it names may be deleted: nothing outside, and nothing hidden but what is for consumers
    if not all(map(_is_plain, files)) or not all(map(is_plain_path, emitted.links)):
        raise FormatError("the list of emitted files names other files", code="emitted-damaged", where=EMITTED_PATH)
    return emitted


def _is_plain(path: str) -> bool:
    folder = next((folder for folder in _HIDDEN if path.startswith(folder)), "")
    return is_plain_path(path.removeprefix(folder))
