"""A new folder that appears complete or not at all; the next run removes what a killed run left of it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from wdstools.errors import StoreError
from wdstools.landing.inside import refuse_elsewhere
from wdstools.landing.scratch import Scratch, is_marked
from wdstools.stores.abilities import TEMP_SUFFIX, sync_folder
from wdstools.stores.folders import named
from wdstools.stores.local import storage_error

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def new_folder(dest: str) -> Iterator[Scratch]:
    """Yield a scratch place whose ``new`` becomes ``dest`` if the block succeeds, and is removed if it raises.

    It is next to ``dest``, under a name that ends in TEMP_SUFFIX. Whatever is written must be noted first (``note``),
    and be durable at the end of the block. Raises StoreError (``destination-not-empty``) if ``dest`` exists or its
    scratch place contains something that is not ours, and BusyError if another process is making it.
    """
    refuse_elsewhere(dest)
    dest = named(dest)
    if os.path.lexists(dest):
        _tidy(dest)
    _refuse_taken(dest)
    try:
        with Scratch(dest + TEMP_SUFFIX, dest) as scratch:
            _refuse_taken(dest)  # another process may have finished it in the meantime
            try:
                scratch.clear()
                os.mkdir(scratch.new)
                yield scratch
                scratch.gather_receipts()
                os.rename(scratch.new, dest)
            finally:
                scratch.remove()
        sync_folder(os.path.dirname(os.path.abspath(dest)))
    except OSError as error:
        raise storage_error(error, dest) from None


def _tidy(dest: str) -> None:
    """Remove the scratch place of a run that was killed just after its folder had appeared."""
    place = dest + TEMP_SUFFIX
    if is_marked(place) and not os.path.lexists(os.path.join(place, "new")):
        with Scratch(place, dest) as scratch:
            scratch.remove()


def _refuse_taken(path: str) -> None:
    if os.path.lexists(path):
        raise StoreError(
            "the place for the new folder is taken",
            code="destination-not-empty",
            where=path,
            hint="choose another place, or move this one away; nothing was changed",
        )
