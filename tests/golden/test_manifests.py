"""Every manifest in ``manifests/`` is what its line in ``datasets.json`` says."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from wdstools.formats.manifest import dumps, loads

MANIFESTS = Path(__file__).parents[2] / "manifests"
LINES: list[dict[str, Any]] = json.loads((MANIFESTS / "datasets.json").read_text())
#: What lies beside the manifests: the lines, and how the demo was encoded.
OTHERS = {"datasets.json", "wdstools-demo.provenance.json"}


def test_every_manifest_has_a_line_and_every_line_a_manifest() -> None:
    files = {path.name for path in MANIFESTS.glob("*.json") if not path.name.endswith(".sigstore.json")} - OTHERS
    assert LINES
    assert sorted(files) == sorted(line["file"] for line in LINES)
    for bundle in MANIFESTS.glob("*.sigstore.json"):
        assert bundle.name.removesuffix(".sigstore.json") in files


@pytest.mark.parametrize("line", LINES, ids=[line["file"] for line in LINES])
def test_a_manifest_is_what_its_line_says(line: dict[str, Any]) -> None:
    assert sorted(line) == ["file", "name", "root", "signer", "version", "where"]
    data = (MANIFESTS / line["file"]).read_bytes()
    manifest = loads(data, where=line["file"])
    assert dumps(manifest) == data
    assert (manifest.name, manifest.version) == (line["name"], line["version"])
    assert hashlib.sha256(data).hexdigest() == line["root"]
    assert line["file"] in (f"{manifest.name}.json", f"{manifest.name}-v{manifest.version}.json")
    assert all(entry.sha256 for _, entry in manifest.shards)
    assert line["where"]
    assert all(isinstance(where, str) and where for where in line["where"])
    bundle = MANIFESTS / f"{line['file']}.sigstore.json"
    assert bundle.exists() == (line["signer"] is not None)
    if line["signer"] is not None:
        envelope = json.loads(bundle.read_bytes())["dsseEnvelope"]
        (resource,) = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["resources"]
        assert resource["digest"] == line["root"]
