"""Croissant (MLCommons), JSON-LD 1.0: every shard with its SHA-256, and a record set per member of each split."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError
from wdstools.formats.image_types import MEDIA_TYPE_OF, is_image_extension

if TYPE_CHECKING:
    from wdstools.formats.manifest import Manifest, ShardEntry

CROISSANT_PATH = "croissant.json"
# The context from the specification, http://mlcommons.org/croissant/1.0
_CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract",
    "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
    "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace", "sc": "https://schema.org/",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
#: The media type of a member, by the last part of its extension.
_MEDIA_TYPES = {
    **MEDIA_TYPE_OF,
    "jpeg": MEDIA_TYPE_OF["jpg"],
    "txt": "text/plain",
    "cls": "text/plain",
    "json": "application/json",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
}
_NAME_RE = re.compile(r"[^A-Za-z0-9_-]+")


def croissant_files(manifest: Manifest, license_name: str | None) -> dict[str, bytes]:
    """``croissant.json`` at the root. Raises UsageError if shards have no SHA-256."""
    without = next((entry.path for _, entry in manifest.shards if not entry.sha256), None)
    if without is not None:
        raise UsageError(
            "Croissant needs the SHA-256 of each file, but these shards were adopted without it",
            where=without,
            hint="wdstools adopt SHARDS --digests all --replace",
        )
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": _NAME_RE.sub("-", manifest.name) or "dataset",
        "description": f"{manifest.totals['samples']} samples in {manifest.totals['shards']} WebDataset shards.",
        "version": f"{manifest.version}.0.0",
        "license": license_name or "unknown",
        "url": "./",
        "identifier": f"sha256:{manifest.root}",
        "distribution": [
            part for split, entries in manifest.splits.items() for part in _distribution(split, entries, manifest)
        ],
        "recordSet": [_record_set(split, member) for split in manifest.splits for member in manifest.members],
    }
    return {CROISSANT_PATH: (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()}


def _distribution(split: str, entries: tuple[ShardEntry, ...], manifest: Manifest) -> list[dict[str, Any]]:
    files = [
        {
            "@type": "cr:FileObject",
            "@id": entry.path,
            "name": entry.path,
            "contentUrl": entry.path,
            "contentSize": f"{entry.bytes} B",
            "encodingFormat": "application/x-tar",
            "sha256": entry.sha256,
        }
        for entry in entries
    ]
    sets = [
        {
            "@type": "cr:FileSet",
            "@id": f"{split}-{member}",
            "name": f"{split}-{member}",
            "containedIn": [{"@id": entry.path} for entry in entries],
            "encodingFormat": _mime(member),
            "includes": f"*.{member}",
        }
        for member in manifest.members
    ]
    return [*files, *sets]


def _mime(member: str) -> str:
    return _MEDIA_TYPES.get(member.rpartition(".")[2], "application/octet-stream")


def _data_type(member: str) -> str | None:
    """The type of a member's content; None for bytes, which have no type."""
    if is_image_extension(member):
        return "sc:ImageObject"
    kinds = {"text": "sc:Text", "audio": "sc:AudioObject", "video": "sc:VideoObject"}
    return "sc:Text" if member == "json" else kinds.get(_mime(member).partition("/")[0])


def _record_set(split: str, member: str) -> dict[str, Any]:
    """The record set of one member of a split: file name (the key is the name without its extension) and content."""
    name, files = f"{split}_{member}", {"@id": f"{split}-{member}"}

    def field(label: str, kind: str, extract: str) -> dict[str, Any]:
        source = {"fileSet": files, "extract": {"fileProperty": extract}}
        return {
            "@type": "cr:Field",
            "@id": f"{name}/{label}",
            "name": f"{name}/{label}",
            "dataType": kind,
            "source": source,
        }

    kind = _data_type(member)
    fields = [field("name", "sc:Text", "fullpath"), *([field("content", kind, "content")] if kind else [])]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}
