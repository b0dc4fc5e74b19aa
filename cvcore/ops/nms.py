"""Non-maximum suppression, class by class, on torchvision's operator.

The operator's library is loaded by itself: importing the package `torchvision` brings all its models and
torch's compiler with it, which costs each worker process seconds and hundreds of megabytes.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MAX_SHIFTED = 1000


def class_wise_nms(boxes: Tensor, scores: Tensor, label_ids: Tensor, iou: float) -> Tensor:
    """Indices of the boxes that stay, best score first; boxes of different classes never suppress each other.

    Args:
        boxes: (N, 4) float, xyxy.
        scores: (N,) float.
        label_ids: (N,) integer.
        iou: a box that overlaps a better one of its class by more is dropped.
    """
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    if len(boxes) <= MAX_SHIFTED:
        # Classes moved apart, in double so that the shift costs no precision.
        wide = boxes.double()
        shift = (wide.max() - wide.min() + 1) * label_ids.double()
        kept: Tensor = _nms()(wide + shift[:, None], scores.double(), iou)
        return kept
    keep = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for label_id in set(label_ids.tolist()):
        own = torch.nonzero(label_ids == label_id).squeeze(1)
        keep[own[_nms()(boxes[own], scores[own], iou)]] = True
    kept = torch.nonzero(keep).squeeze(1)
    return kept[scores[kept].argsort(descending=True, stable=True)]


@cache
def _nms() -> Any:
    found = find_spec("torchvision")
    if found is None or found.origin is None:
        raise ImportError("torchvision is not installed")
    for library in sorted(Path(found.origin).parent.glob("_C*.so")):
        torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    if not hasattr(torch.ops.torchvision, "nms"):
        import torchvision  # noqa: F401  # laid out otherwise: the package knows where its operators are
    return torch.ops.torchvision.nms
