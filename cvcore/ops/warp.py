"""Regions warped to a fixed size with some context (Girshick et al. 2014, R-CNN, appendix A)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align


def with_context(boxes: Tensor, *, crop_size: int, context: float) -> Tensor:
    """Boxes, (..., 4) xyxy, grown so that `context` pixels of the crop lie around the original box.

    Each axis grows for itself, since the warp ignores the aspect ratio.
    """
    share = context / (crop_size - 2 * context)
    margin = (boxes[..., 2:] - boxes[..., :2]) * share
    return torch.cat([boxes[..., :2] - margin, boxes[..., 2:] + margin], dim=-1)


def warp_regions(images: Tensor, boxes: Tensor, image_index: Tensor, *, crop_size: int) -> Tensor:
    """Warp boxes to crops: (N, C, crop_size, crop_size).

    Each pixel is the mean of bilinear samples about one source pixel apart, so that shrinking does not alias.

    Args:
        images: (B, C, H, W) floats in which zero stands for what is not there, as it does beyond the border.
        boxes: (N, 4) float32 xyxy, pixels; they may leave the image.
        image_index: (N,) int64.
        crop_size: pixels.
    """
    rois = torch.cat([image_index[:, None].to(boxes), boxes], dim=1)
    crops: Tensor = roi_align(images.float(), rois, crop_size, 1.0, -1, aligned=True)
    return crops.to(images.dtype)
