"""The region proposal network (Ren et al. 2015, Faster R-CNN, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvcore.image.fit import clip_boxes
from cvcore.ops.anchors import cell_grid
from cvcore.ops.box_coder import BoxCoder
from cvcore.ops.nms import class_wise_nms
from cvcore.ops.padding import PaddedBoxes, pad_rows

SIZES = (128.0, 256.0, 512.0)
RATIOS = (0.5, 1.0, 2.0)
NMS_IOU = 0.7
_SMALLEST_SIDE_PX = 1.0
_CODER = BoxCoder()


Shapes = tuple[tuple[float, float], ...]
"""Widths and heights, pixels."""


def anchor_shapes(sizes: Sequence[float], ratios: Sequence[float]) -> Shapes:
    """k shapes of areas size² and of ratios height : width; ratios run fastest."""
    return tuple((size / ratio**0.5, size * ratio**0.5) for size in sizes for ratio in ratios)


def grid_anchors(shapes: Tensor, *, height: int, width: int, stride: int) -> Tensor:
    """Anchors on every cell of a map: (height * width * k, 4) xyxy image pixels.

    Rows run slowest, the k anchors of a cell fastest; an anchor and its cell have one centre. `shapes` are
    (k, 2) widths and heights, pixels.
    """
    centres = (cell_grid(height, width, like=shapes) + 0.5)[:, :, None] * stride  # (h, w, 1, 2)
    return torch.cat([centres - shapes / 2, centres + shapes / 2], dim=-1).flatten(0, 2)


def inside_image(anchors: Tensor, *, height: int, width: int) -> Tensor:
    """(A,) bool, which anchors do not cross the boundary of an image."""
    return (anchors[:, :2] >= 0).all(dim=1) & (anchors[:, 2] <= width) & (anchors[:, 3] <= height)


class Rpn(nn.Module):
    """A 3x3 convolution, and two 1x1 ones for 2k scores and 4k offsets a cell.

    Args:
        channels: of the feature map.
        shapes: of the k anchors of a cell.
        stride: image pixels a cell of the map.
        width: channels of the 3x3 convolution.
    """

    def __init__(self, channels: int, shapes: Shapes, *, stride: int, width: int = 512) -> None:
        super().__init__()
        self.stride = stride
        # Numbers, not a buffer: in bfloat16 an anchor's side would be off by pixels.
        self.shapes = shapes
        self.slide = nn.Conv2d(channels, width, 3, padding=1)
        self.scores = nn.Conv2d(width, 2 * len(shapes), 1)
        self.offsets = nn.Conv2d(width, 4 * len(shapes), 1)
        for layer in (self.slide, self.scores, self.offsets):
            assert layer.bias is not None
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) features to float32 scores, (B, A, 2), background first, and offsets, (B, A, 4)."""
        hidden = F.relu(self.slide(features))
        return _by_anchor(self.scores(hidden), 2), _by_anchor(self.offsets(hidden), 4)

    def anchors(self, features: Tensor) -> Tensor:
        """The anchors, (A, 4) float32 xyxy image pixels, of a (B, C, h, w) map."""
        height, width = features.shape[-2:]
        shapes = torch.tensor(self.shapes, device=features.device)
        return grid_anchors(shapes, height=height, width=width, stride=self.stride)


def _by_anchor(values: Tensor, size: int) -> Tensor:
    """(B, k * size, h, w) to (B, h * w * k, size) float32."""
    batch, _, height, width = values.shape
    return values.float().view(batch, -1, size, height, width).permute(0, 3, 4, 1, 2).flatten(1, 3)


@torch.no_grad()
def propose_regions(
    scores: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    *,
    height: int,
    width: int,
    candidates: int,
    proposals: int,
    nms_iou: float = NMS_IOU,
) -> PaddedBoxes:
    """The best regions of each image, best first.

    Args:
        scores: (B, A, 2) and
        offsets: (B, A, 4), as `Rpn` gives them.
        anchors: (A, 4) xyxy pixels.
        height, width: of the images, pixels, to which regions are clipped.
        candidates: the best so many of an image enter suppression.
        proposals: the best so many of an image leave it.
        nms_iou: regions that overlap a better one by more are dropped.

    Returns:
        (B, proposals, 4). What is not finite is no candidate.
    """
    margin = (scores[..., 1] - scores[..., 0]).nan_to_num(nan=-torch.inf)  # orders as the softmax does
    top = margin.topk(min(candidates, margin.shape[1]), dim=1)
    chosen = offsets.gather(1, top.indices[..., None].expand(-1, -1, 4))
    boxes = clip_boxes(_CODER.decode(chosen, anchors[top.indices]), height=height, width=width)
    good = (boxes[..., 2:] - boxes[..., :2] >= _SMALLEST_SIDE_PX).all(dim=2) & top.values.isfinite()
    flat, image = boxes[good], torch.nonzero(good)[:, 0]
    keep = class_wise_nms(flat, top.values[good], image, nms_iou)
    return PaddedBoxes(*pad_rows(flat[keep], image[keep], len(scores), length=proposals))
