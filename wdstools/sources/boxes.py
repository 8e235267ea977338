"""Text files that are not captions: boxes, polygons and key points, one per line of numbers, as YOLO, DOTA and KITTI write them."""

from __future__ import annotations

from wdstools.sources.source_words import caption_word

#: The member that such a file becomes.
BOXES = "boxes.txt"
_LEAST_NUMBERS = 4


def role_of(folder: str) -> str:
    """The word in a folder's path that says what its texts are for; "" if they lie next to images."""
    return next((word for part in reversed(folder.split("/")) if (word := caption_word(part))), "")


def are_boxes(texts: list[bytes]) -> bool:
    """Whether texts are boxes: every line is numbers, with the name of a class before or after them; not all are empty."""
    lines = [line.split() for text in texts for line in text.splitlines() if line.strip()]
    return bool(lines) and all(map(_is_box, lines))


def _is_box(words: list[bytes]) -> bool:
    others = [at for at, word in enumerate(words) if not _is_number(word)]
    if len(words) <= _LEAST_NUMBERS or len(others) > 1:
        return False
    return not others or others[0] in (0, len(words) - 2, len(words) - 1)


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
