"""The versions of wdstools, for modules that ``wdstools`` itself imports, and of the codecs in Pillow."""

from __future__ import annotations

__version__ = "0.1.0"


def pillow_codecs() -> dict[str, str | None]:
    """The versions of the codecs in this Pillow that affect the bytes of encoded images; None for a missing codec."""
    from PIL import features

    return {
        "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        "webp": features.version_module("webp"),
        "zlib": features.version_codec("zlib"),
        "littlecms2": features.version_module("littlecms2"),
    }
