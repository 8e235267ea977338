"""A PackSite driven step by step, and a process that is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.outcome import contents
from wdstools.formats.manifest import MANIFEST_PATH, index_path
from wdstools.landing.site import PackSite
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path


SHARD = "train/train-000000.tar"
INDEX = index_path(SHARD)
FILES = {MANIFEST_PATH: b"a manifest", "README.md": b"a card"}
WHOLE = {SHARD: b"a shard", INDEX: b"an index", **FILES}
PLAN = "0" * 32
LINE = {"entry": {"path": SHARD}, "samples": 5}


def begun(dest: Path, plan: str = PLAN, *, restart: bool = False) -> tuple[PackSite, list[dict[str, Any]]]:
    """A site that was entered and begun in, and what an earlier run had finished."""
    site = PackSite(str(dest))
    site.__enter__()
    try:
        return site, site.begin(plan, [SHARD, INDEX], restart=restart)
    except BaseException:
        site.__exit__(None, None, None)
        raise


def made(site: PackSite) -> None:
    """Make the shard and its index, and note them."""
    for path in (SHARD, INDEX):
        LocalStore(site.work).put(path, WHOLE[path])
    site.record(LINE)


def killed(site: PackSite) -> None:
    """Act as if the process were killed: its lock is gone, and nothing is cleaned up."""
    site._stack.close()


def destination(kind: str, folder: Path) -> Path:
    """A destination that does not exist yet (``new``), or one that cannot be replaced (``link``)."""
    if kind == "link":
        (folder / "held").mkdir()
        (folder / "out").symlink_to(folder / "held")
    return folder / "out"


def published(dest: Path) -> PackSite:
    """A dataset that has just appeared; its work is still there."""
    site, lines = begun(dest)
    assert lines == []
    made(site)
    site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    return site


def visible(dest: Path) -> dict[str, bytes]:
    """What is at a destination apart from the work."""
    return {path: data for path, data in contents(dest).items() if not path.startswith(".wdstools/partial/")}
