"""Repeated captions, compared after normalisation, and repeated sets of hashtags, which bots leave on many images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wdstools.dedup.results import CaptionCounts, RepeatedCaption
from wdstools.formats.captions import hashtags, normalise

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset

_TOP = 50
_KEYS_SHOWN = 5
#: A set of hashtags with fewer images than this is taken for chance.
_FEWEST_IMAGES = 10


def count_captions(
    dataset: Dataset, keys: pa.Array, digests: NDArray[np.uint64], over_long: NDArray[np.bool_]
) -> CaptionCounts:
    """Counts over all samples; ``digests`` [N, 2] are of the normalised caption and of its set of hashtags.

    The texts themselves are read only for the few that are shown.
    """
    captions, tags = digests[:, 0], digests[:, 1]
    there = captions[captions != 0]
    _, counts = np.unique(there, return_counts=True)
    top = [*_repeated("caption", keys, captions, 2), *_repeated("hashtags", keys, tags, _FEWEST_IMAGES)]
    return CaptionCounts(
        distinct=len(counts),
        empty=len(captions) - len(there),
        over_long=int(np.count_nonzero(over_long)),
        repeated=int(counts[counts > 1].sum()),
        top=tuple(_with_texts(dataset, top)),
    )


def _repeated(kind: str, keys: pa.Array, digests: NDArray[np.uint64], fewest: int) -> list[RepeatedCaption]:
    values, first, counts = np.unique(digests, return_index=True, return_counts=True)
    candidates = [at for at in np.lexsort((first, -counts)).tolist() if values[at] and counts[at] >= fewest][:_TOP]
    found = []
    for at in candidates:
        rows = np.flatnonzero(digests == values[at])[:_KEYS_SHOWN]
        shown = [keys[row].as_py() for row in rows.tolist()]
        found.append(RepeatedCaption(kind, "", int(counts[at]), tuple(shown)))
    return found


def _with_texts(dataset: Dataset, repeated: list[RepeatedCaption]) -> list[RepeatedCaption]:
    return [
        RepeatedCaption(
            entry.kind,
            (normalise if entry.kind == "caption" else hashtags)(_text(dataset, entry.keys[0])),
            entry.count,
            entry.keys,
        )
        for entry in repeated
    ]


def _text(dataset: Dataset, key: str) -> str:
    return str(dataset[key]["txt"], "utf-8")
