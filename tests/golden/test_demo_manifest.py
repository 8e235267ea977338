"""The committed demo manifest: today's pack reproduces it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from tests.support.tools import missing
from wdstools.executors.open import open_executor
from wdstools.ops.demo import pack_demo
from wdstools.ops.demo.source import make_source
from wdstools.progress import Silent

MANIFESTS = Path(__file__).parents[2] / "manifests"


def test_todays_pack_reproduces_the_golden_manifest(tmp_path: Path) -> None:
    codecs = json.loads((MANIFESTS / "wdstools-demo.provenance.json").read_text())["codecs"]
    if version("pillow") != codecs["pillow"]:
        missing(f"the golden JPEGs hold for Pillow {codecs['pillow']}, here is {version('pillow')}")
    executor = open_executor("processes", 2)
    try:
        make_source(str(tmp_path / "source"), 2_000, executor=executor, progress=Silent())
        pack_demo(str(tmp_path / "source"), str(tmp_path / "shards"), executor=executor, progress=Silent())
    finally:
        executor.close()
    packed = (tmp_path / "shards" / ".wdstools" / "manifest.json").read_bytes()
    assert packed == (MANIFESTS / "wdstools-demo.json").read_bytes()
