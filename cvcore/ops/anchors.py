"""Anchors: their shapes from data, and YOLO's map between raw outputs and boxes."""

from __future__ import annotations

import torch
from torch import Tensor


def shape_iou(sizes: Tensor, anchors: Tensor) -> Tensor:
    """IoU of widths and heights laid on a common centre: (N, 2) and (A, 2) pixels to (N, A)."""
    common = torch.minimum(sizes[:, None], anchors[None]).prod(dim=2)
    return common / (sizes.prod(dim=1)[:, None] + anchors.prod(dim=1)[None] - common)


def fit_anchors(sizes: Tensor, num_anchors: int, *, seed: int = 0, rounds: int = 50) -> Tensor:
    """k-means of box shapes under the distance 1 - IoU (YOLO9000, section 2, "Dimension Clusters").

    Args:
        sizes: (N, 2) float, widths and heights, pixels; N must be at least `num_anchors`.
        num_anchors: clusters.
        seed: of the first centres.
        rounds: most iterations.

    Returns:
        (num_anchors, 2) float widths and heights, smallest area first.

    Raises:
        ValueError: with fewer boxes than anchors.
    """
    if len(sizes) < num_anchors:
        raise ValueError(f"{num_anchors} anchors need at least as many boxes, got {len(sizes)}")
    generator = torch.Generator().manual_seed(seed)
    centers = sizes[torch.randperm(len(sizes), generator=generator)[:num_anchors]].clone()
    for _ in range(rounds):
        nearest = shape_iou(sizes, centers).argmax(dim=1)
        moved = torch.stack(
            [
                sizes[nearest == k].median(dim=0).values if bool((nearest == k).any()) else centers[k]
                for k in range(num_anchors)
            ]
        )
        if torch.equal(moved, centers):
            break
        centers = moved
    return centers[centers.prod(dim=1).argsort()]


def cell_grid(height: int, width: int, *, like: Tensor) -> Tensor:
    """Column and row of each cell: (H, W, 2) xy, in `like`'s dtype and device."""
    ys = torch.arange(height, dtype=like.dtype, device=like.device)
    xs = torch.arange(width, dtype=like.dtype, device=like.device)
    return torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)


def split_raw(raw: Tensor, num_anchors: int) -> Tensor:
    """A head's (B, A * (5 + C), H, W) as (B, A, H, W, 5 + C): x, y, w, h, objectness, classes; float32."""
    batch, channels, height, width = raw.shape
    return raw.float().view(batch, num_anchors, channels // num_anchors, height, width).permute(0, 1, 3, 4, 2)


def decode_boxes(
    offsets: Tensor, cells: Tensor, anchors: Tensor, *, stride: float | Tensor, scale_xy: float
) -> Tensor:
    """Raw x, y, w, h to xyxy pixels (YOLOv3, section 2.1, with YOLOv4's widened centres).

    With s = `scale_xy`: center = (s * sigmoid(t_xy) - (s - 1) / 2 + cell) * stride and
    size = anchor * exp(t_wh).
    All of (..., 4), (..., 2) and (..., 2) broadcast together; `anchors` are in pixels.
    """
    centers = (scale_xy * offsets[..., :2].sigmoid() - (scale_xy - 1) / 2 + cells) * stride
    # exp of a huge raw width is infinite, and its gradient too: e^8 spans any canvas.
    sizes = anchors * offsets[..., 2:4].clamp(max=8.0).exp()
    return torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1)


def encode_boxes(boxes: Tensor, cells: Tensor, anchors: Tensor, *, stride: float, scale_xy: float) -> Tensor:
    """The inverse of `decode_boxes`: (..., 4) xyxy pixels to raw x, y, w, h.

    Centres must lie within reach of their cells, that is, within (s - 1) / 2 of a cell's edges.
    """
    centers, sizes = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    within = (centers / stride - cells + (scale_xy - 1) / 2) / scale_xy
    return torch.cat([torch.logit(within, eps=1e-6), (sizes / anchors).log()], dim=-1)


def decode_head(
    raw: Tensor, anchors: Tensor, *, stride: float | Tensor, scale_xy: float = 1.0
) -> tuple[Tensor, Tensor]:
    """One YOLOv3 head's output as boxes and scores.

    Args:
        raw: (B, A * (5 + C), H, W).
        anchors: (A, 2) widths and heights, canvas pixels.
        stride: canvas pixels a cell, or (2,) of them, along x and y.
        scale_xy: how far centres may leave their cell; 1 is the paper's.

    Returns:
        boxes (B, H * W * A, 4) float32 xyxy, canvas pixels, and scores (B, H * W * A, C) float32: objectness
        times class probability. Rows run slowest, anchors fastest, as in Darknet.
    """
    values = split_raw(raw, len(anchors))  # (B, A, H, W, 5 + C)
    cells = cell_grid(raw.shape[2], raw.shape[3], like=values)
    boxes = decode_boxes(values[..., :4], cells, anchors[:, None, None], stride=stride, scale_xy=scale_xy)
    scores = values[..., 4:5].sigmoid() * values[..., 5:].sigmoid()
    return _cells_first(boxes), _cells_first(scores)


def _cells_first(values: Tensor) -> Tensor:
    """(B, A, H, W, K) to (B, H * W * A, K)."""
    return values.permute(0, 2, 3, 1, 4).flatten(1, 3)
