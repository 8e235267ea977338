"""What every loader does in the discipline ``pipeline``: a random crop of 224, mirrored, normalised, and CLIP's tokens.

Images as torchvision does it to Pillow's (its CPU build cannot be had everywhere, so its few lines are here); texts by the
tokenizer of open_clip, found in the folder that CLIP_PACKAGES names and loaded by itself: its package wants torchvision.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import random
import sys
import types
from typing import Any

import numpy as np

SIDE = 224
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_CONTEXT = 77
#: Behind what a loader's own environment has: the tokenizer, and torch where that has none.
sys.path.append(os.environ["CLIP_PACKAGES"])


def augment(image: Any) -> Any:
    """RandomResizedCrop(224), RandomHorizontalFlip, ToTensor, Normalize, of a picture of Pillow's: float32 [3, 224, 224]."""
    import torch
    from PIL import Image

    left, top, wide, tall = _part(image.width, image.height)
    image = image.crop((left, top, left + wide, top + tall)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
    return tensor.sub_(torch.tensor(MEAN)[:, None, None]).div_(torch.tensor(STD)[:, None, None])


def _part(width: int, height: int) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = random.uniform(0.08, 1.0) * width * height
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            return random.randint(0, width - wide), random.randint(0, height - tall), wide, tall
    return 0, 0, width, height


def tokens(captions: list[str]) -> Any:
    """CLIP's tokens of some captions: int64 [B, 77]."""
    tokenizer = _tokenizer()
    made = np.zeros((len(captions), _CONTEXT), np.int64)
    for row, caption in enumerate(captions):
        found = [tokenizer.sot_token_id, *tokenizer.encode(caption)[: _CONTEXT - 2], tokenizer.eot_token_id]
        made[row, : len(found)] = found
    return made


@functools.cache
def _tokenizer() -> Any:
    spec = importlib.util.find_spec("open_clip")
    assert spec is not None
    assert spec.origin is not None
    if importlib.util.find_spec("torch") is None:  # it is asked for types, and by calls that nobody makes
        sys.modules["torch"] = types.SimpleNamespace(Tensor=object, LongTensor=object)  # type: ignore[assignment]
    own = importlib.util.spec_from_file_location(
        "clip_tokenizer", os.path.join(os.path.dirname(spec.origin), "tokenizer.py")
    )
    assert own is not None
    assert own.loader is not None
    module = importlib.util.module_from_spec(own)
    own.loader.exec_module(module)
    return module.SimpleTokenizer()
