"""Captions as values to compare: one normalisation, and what can be said about a single caption."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from xxhash import xxh3_64_intdigest

_HASHTAG = re.compile(r"#(\w+)")
#: The longest caption that Instagram accepts, in characters.
OVER_LONG = 2_200
#: Fewer hashtags than this are not a set that is typical of an author.
_FEWEST_HASHTAGS = 3


def normalise(text: str) -> str:
    """A caption as it is compared: Unicode NFKC, full case folding, NFKC again, and white space as single spaces.

    The second NFKC makes it idempotent: ``normalise(normalise(x)) == normalise(x)``.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def hashtags(text: str) -> str:
    """The distinct hashtags of a text, normalised, sorted and separated by spaces, so that equal sets compare equal."""
    return " ".join(f"#{tag}" for tag in sorted(set(_HASHTAG.findall(normalise(text)))))


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption: the digest of its normalised text (0 if empty) and of its set of three or more hashtags (else 0)."""

    digest: int
    hashtags: int
    over_long: bool

    @classmethod
    def of(cls, text: str | None) -> Caption:
        """The caption that a text is."""
        if not text:
            return cls(0, 0, over_long=False)
        plain = normalise(text)
        tags = hashtags(plain)
        return cls(
            xxh3_64_intdigest(plain.encode("utf-8", "surrogatepass")) if plain else 0,
            xxh3_64_intdigest(tags.encode()) if tags.count(" ") >= _FEWEST_HASHTAGS - 1 else 0,
            len(text) > OVER_LONG,
        )
