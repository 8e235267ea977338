"""The public entry point of packing: keyword options in, a dataset out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wdstools.dataset import Dataset, open_dataset
from wdstools.ops.pack import default_executor, run_pack, scratch_of
from wdstools.ops.pack_options import make_options
from wdstools.ops.scan import open_source, refuse_inside

if TYPE_CHECKING:
    from wdstools.progress import Progress
    from wdstools.sources.base import Source


def pack(
    source: Source | str,
    dest: str,
    *,
    jobs: int = 1,
    restart: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Dataset:
    """Pack a source (or a path, whose layout is recognised) into ``dest``; options are those of ``make_options``.

    The same source and options give the same bytes for any number of ``jobs``. Interrupted at any moment, ``dest`` does
    not exist, and the same call goes on where it was. Samples that cannot be packed are listed in
    ``.wdstools/skipped.jsonl``. Raises UsageError, StoreError, BusyError, FormatError, SkippedError.
    """
    made = make_options(**options)
    if isinstance(source, str):
        refuse_inside(source, dest)
    executor = default_executor(jobs)
    try:
        result = run_pack(
            open_source(source, scratch=scratch_of(dest)) if isinstance(source, str) else source,
            dest,
            made,
            executor=executor,
            restart=restart,
            progress=progress,
        )
    finally:
        executor.close()
    return open_dataset(result.path)
