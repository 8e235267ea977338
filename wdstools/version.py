"""Versions: of wdstools, for those below ``wdstools`` itself, and of the codecs that Pillow was built with."""

from __future__ import annotations

__version__ = "0.1.0"


def pillow_codecs() -> dict[str, str | None]:
    """The version of each codec in this build of Pillow that decides what bytes an image gets; None for one it lacks."""
    from PIL import features

    return {
        "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        "webp": features.version_module("webp"),
        "zlib": features.version_codec("zlib"),
        "littlecms2": features.version_module("littlecms2"),
    }
