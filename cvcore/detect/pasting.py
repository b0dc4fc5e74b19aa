"""Small masks of boxes, as Mask R-CNN gives them, drawn into images (He et al. 2017, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from cvcore.image.fit import Fit, clip_boxes

_THRESHOLD = 0.5


def paste_masks(probabilities: Tensor, boxes: Tensor, fit: Fit) -> Tensor:
    """Masks of a source image, (N, H, W) bool, where a pixel's probability is above a half.

    Args:
        probabilities: (N, m, m) of each box's parts.
        boxes: (N, 4) xyxy, canvas pixels.
        fit: where the image lies on the canvas.
    """
    size = (fit.source_height, fit.source_width)
    placed = clip_boxes(fit.to_source(boxes), height=size[0], width=size[1])
    # One by one, since the pasted probabilities of a hundred large masks would fill the memory.
    masks = torch.empty((len(boxes), *size), dtype=torch.bool, device=boxes.device)
    for mask, own, box in zip(masks, probabilities.float(), placed, strict=True):
        mask.copy_(paste_masks_in_image(own[None, None], box[None], size)[0, 0] > _THRESHOLD)
    return masks
