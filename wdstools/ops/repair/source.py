"""The original source as a copy: packing is deterministic, so samples that are packed again have the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from wdstools.errors import StoreError, WdsError
from wdstools.executors.open import open_executor
from wdstools.formats.arrow import to_array, to_ipc, to_list
from wdstools.formats.manifest import shard_path
from wdstools.formats.sample import key_bytes
from wdstools.planning.made_with import MadeWith
from wdstools.planning.options import make_options
from wdstools.planning.plan import make_plan
from wdstools.planning.samples import drop_repeated, keep_type, with_keys
from wdstools.progress import Silent
from wdstools.sources.open import open_source
from wdstools.writer.assembly import Assembly, ShardSettings
from wdstools.writer.buffer import Nowhere
from wdstools.writer.rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.formats.manifest import Manifest, ShardEntry
    from wdstools.images.rules import ImageRules
    from wdstools.ops.repair.copies import Wanted
    from wdstools.sources.base import Listing, Source
    from wdstools.writer.buffer import BlockSink

#: How many samples are packed again at once: their tar is held in memory.
_BATCH_SAMPLES = 256


class _Memory:
    """A sink that keeps the blocks of a tar."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, block: memoryview) -> None:
        """Append a block."""
        self.data += block


@dataclass(slots=True)
class SourceCopy:
    """The images and captions that the dataset was packed from; ``made`` is its provenance, as far as known."""

    local_paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str
    manifest: Manifest
    made: Mapping[str, Any]
    #: Kept for as long as its listing is used: what it has unpacked is removed with it.
    _source: Source | None = field(default=None, repr=False, compare=False)
    _listed: tuple[Listing, pa.Table] | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Its location."""
        return self.path

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without the listing."""
        return SourceCopy, (self.path, self.manifest, self.made)

    def holds(self, entry: ShardEntry) -> bool:
        """False: a source holds no shards."""
        del entry
        return False

    def file(self, path: str) -> bytes | None:
        """A source has no files of the dataset."""
        del path
        return None

    def groups(self, wanted: Wanted) -> Iterator[tuple[int, bytes, int]]:
        """Groups packed again from the images and captions with the same keys."""
        number_of = {row["key"].encode(): number for number, row in enumerate(wanted.rows)}
        try:
            listing, samples = self._list()
        except WdsError:
            return
        mask = [key in number_of for key in to_list(samples.column("key"))]
        found = samples.filter(to_array(mask, pa.bool_()))
        for start in range(0, found.num_rows, _BATCH_SAMPLES):
            try:
                made = self._pack(listing, found.slice(start, _BATCH_SAMPLES), wanted.split)
            except StoreError:
                continue
            for key, group in made:
                yield number_of[key], group, len(group)

    def _list(self) -> tuple[Listing, pa.Table]:
        if self._listed is None:
            listing = self._list_source()
            samples = with_keys(listing, self.manifest.seed, key_bytes(self.manifest.members)).samples
            only = self._made_with.options.get("only")
            if only is not None and len(listing.image_types) > 1:
                samples, _ = keep_type(samples, only)
            samples, _ = drop_repeated(samples)
            self._listed = listing, samples.table
        return self._listed

    def _list_source(self) -> Listing:
        if self._source is None:
            self._source = open_source(self.path, **self._made_with.layout(self.manifest.beside_image))
        return replace(self._source.list(), split_in_key=self._made_with.split_in_key)

    @property
    def _made_with(self) -> MadeWith:
        return MadeWith.told_by(self.made)

    def _images(self) -> ImageRules:
        return replace(self._made_with.images(max_pixels=1 << 31), check="header")

    def index(self, split: str, entry: ShardEntry) -> pa.Table | None:
        """A shard's index, made by packing the whole shard again as the dataset was packed."""
        try:
            listing = self._list_source()
            usual = make_options()
            options = replace(
                usual,
                layout=replace(usual.layout, like=self.manifest, seed=self.manifest.seed),
                splits=self._made_with.splits,
                images=self._images(),
                only=self._made_with.options.get("only"),
            )
            plan, _ = make_plan(listing, options, open_executor("serial"), Silent())
        except WdsError:
            return None
        for name, number, start, stop in plan.bounds:
            if name == split and shard_path(name, number) == entry.path:
                return self._assemble(listing, plan.rows(start, stop), split, Nowhere()).table()
        return None

    def _pack(self, listing: Listing, samples: pa.Table, split: str) -> list[tuple[bytes, bytes]]:
        memory = _Memory()
        table = self._assemble(listing, samples, split, memory).table()
        places = zip(*(table.column(name).to_pylist() for name in ("key", "offset", "length")), strict=True)
        return [(key.encode(), bytes(memory.data[offset : offset + length])) for key, offset, length in places]

    def _assemble(self, listing: Listing, samples: pa.Table, split: str, sink: BlockSink) -> Assembly:
        members, authenticated = self.manifest.members, self.manifest.authenticated_ranges
        settings = ShardSettings.of(listing, self._images(), members, authenticated=authenticated)
        # what was packed once met all requirements; label numbers are the manifest's
        settings = replace(settings, labels=self.manifest.labels, image_template="", captions="optional")
        reader = listing.opener.open()
        try:
            assembly = Assembly(settings, split, reader, sink)
            assembly.run(rows_of(to_ipc(samples), split, "", self.manifest.members), lambda _: None)
            assembly.buffer.finish()
        finally:
            reader.close()
        return assembly
