"""Python imports this at its start, where this folder is on its path: torchvision of no build that fits this torch.

Only its compiled operators are missing, which importing it looks up: they are declared.
"""

from __future__ import annotations

import importlib.util
from typing import Any

_NAMES = ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
_KEPT: list[Any] = []

if importlib.util.find_spec("torchvision") is not None:
    from torch.library import Library

    _KEPT.append(Library("torchvision", "DEF"))
    for _name in (*_NAMES, *(f"_{name}_backward" for name in _NAMES[2:])):
        try:
            _KEPT[0].define(f"{_name}(Tensor input) -> Tensor")
        except RuntimeError:
            break
