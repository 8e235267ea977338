"""Metadata of an image in a separate JSON file, as gallery downloaders write it; some compress it with xz."""

from __future__ import annotations

import json
import lzma

from wdstools.sources.columns import CAPTION_COLUMNS, captions_in
from wdstools.sources.rows import as_json
from wdstools.sources.source_words import JSON_SUFFIXES

_MAX_XZ_MEMORY = 1 << 28
_MAX_JSON_BYTES = 1 << 26
#: The names that downloaders of posts give to the text of a post.
_POSTS = ("content", "full_text", "tweet_text", "body")


def is_json(path: str) -> bool:
    """Whether a file that belongs to an image is metadata."""
    return path.lower().endswith(JSON_SUFFIXES)


def caption_in_json(data: bytes, path: str, key: str | None = None) -> str | None:
    """The caption in the JSON that a gallery downloader wrote for an image; raises ValueError if it is not such JSON.

    ``key`` is the name of the caption in it; by default the usual ones.
    """
    document = load_json(data, path)
    if key is not None:
        named = captions_in({name.lower(): value for name, value in document.items()}.get(key.lower()))
        return named[0] if named else None
    for node in (document, document.get("node"), document.get("post")):
        if not isinstance(node, dict):
            continue
        edges = node.get("edge_media_to_caption")
        if isinstance(edges, dict):
            listed = edges.get("edges")
            texts = [edge.get("node", {}).get("text") for edge in listed or () if isinstance(edge, dict)]
            if texts and isinstance(texts[0], str):
                return texts[0]
        lower = {name.lower(): value for name, value in node.items()}
        for name in (*CAPTION_COLUMNS, *_POSTS):
            captions = captions_in(lower.get(name))
            if captions:
                return captions[0]
    return None


def load_json(data: bytes, path: str) -> dict[str, object]:
    """The object in a JSON file, which may be compressed with xz; raises ValueError."""
    if path.lower().endswith(".xz"):
        try:
            unpacker = lzma.LZMADecompressor(memlimit=_MAX_XZ_MEMORY)
            data = unpacker.decompress(data, _MAX_JSON_BYTES)
        except lzma.LZMAError as error:
            raise ValueError(str(error)) from error
        if not unpacker.eof:
            raise ValueError("cut, or larger than 64 MiB")
    try:
        document = json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(document, dict):
        raise ValueError(f"not an object but a {type(document).__name__}")  # noqa: TRY004  bytes, not arguments
    return document


def plain_json(data: bytes, path: str) -> bytes:
    """The object as it goes into a shard: byte for byte, except that NaN and infinities, which JSON lacks, become null; raises ValueError."""
    document = load_json(data, path)
    if path.lower().endswith(".xz") or data.startswith(b"\xef\xbb\xbf"):
        return as_json(document).encode()
    odd: list[str] = []
    json.loads(data, parse_constant=odd.append)
    return as_json(document).encode() if odd else data
