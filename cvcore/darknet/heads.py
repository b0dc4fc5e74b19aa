"""Raw head outputs to boxes, as Darknet does it for YOLO v1, v2 and v3: pure functions on batches.

Boxes come out as xyxy in canvas pixels, not clipped. A score is objectness times class probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cvcore.darknet.layers import Detection, Head, Region, Yolo
from cvcore.ops import anchors
from cvcore.ops.boxes import cxcywh_to_xyxy


@dataclass(frozen=True, slots=True)
class HeadBoxes:
    """The boxes of one head.

    Attributes:
        boxes: (B, N, 4) float32, xyxy, canvas pixels.
        class_scores: (B, N, C) float32, 0 to 1.
    """

    boxes: Tensor
    class_scores: Tensor


def decode_head(head: Head, raw: Tensor, *, height: int, width: int) -> HeadBoxes:
    """Decode the raw output of any head on a canvas of `height` x `width` pixels.

    `raw` is (B, C, H, W) as the network gives it. N runs over rows, columns, then anchors.
    """
    raw = raw.float()
    if isinstance(head, Yolo):
        return decode_yolo(head, raw, height=height, width=width)
    if isinstance(head, Region):
        return decode_region(head, raw, height=height, width=width)
    assert isinstance(head, Detection)
    return decode_detection(head, raw, height=height, width=width)


def decode_yolo(head: Yolo, raw: Tensor, *, height: int, width: int) -> HeadBoxes:
    """YOLOv3 (Redmon and Farhadi 2018, section 2.1): independent logistic classes, anchors in pixels.

    Args:
        head: anchors, classes and `scale_x_y`.
        raw: (B, A * (5 + C), H, W) float.
        height, width: the canvas, pixels.
    """
    stride = raw.new_tensor([width / raw.shape[3], height / raw.shape[2]])
    boxes, scores = anchors.decode_head(
        raw, raw.new_tensor(head.anchors), stride=stride, scale_xy=head.scale_x_y
    )
    return HeadBoxes(boxes, scores)


def decode_region(head: Region, raw: Tensor, *, height: int, width: int) -> HeadBoxes:
    """YOLOv2 (Redmon and Farhadi 2016, section 2): softmax classes, anchors in cells.

    Args:
        head: anchors and classes.
        raw: (B, A * (5 + C), H, W) float.
        height, width: the canvas, pixels.
    """
    cells = by_cell(raw, len(head.anchors))  # B, H, W, A, 5 + C
    cell_size = raw.new_tensor([width / raw.shape[3], height / raw.shape[2]])
    offset = torch.sigmoid(cells[..., 0:2])
    size = torch.exp(cells[..., 2:4]) * raw.new_tensor(head.anchors) * cell_size
    logits = cells[..., 5:]
    classes = torch.softmax(logits, dim=-1) if head.softmax else torch.sigmoid(logits)
    return _finish(offset, size, torch.sigmoid(cells[..., 4:5]) * classes, height=height, width=width)


def decode_detection(head: Detection, raw: Tensor, *, height: int, width: int) -> HeadBoxes:
    """YOLO v1 (Redmon 2015, section 2): one class distribution a cell, no anchors, no squashing.

    Args:
        head: side S, boxes a cell B, classes C.
        raw: (batch, S * S * (B * 5 + C), 1, 1) float: all class scores by cell, then all confidences,
            then all boxes.
        height, width: the canvas, pixels.
    """
    probabilities, confidence, geometry = split_detection(head, raw)
    size = geometry[..., 2:4].square() if head.sqrt else geometry[..., 2:4]
    size = size * raw.new_tensor([width, height])
    scores = confidence[..., None] * probabilities[..., None, :]
    return _finish(geometry[..., 0:2], size, scores, height=height, width=width)


def split_detection(head: Detection, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A v1 head's raw output by cell, see `decode_detection`, float32.

    Returns:
        class probabilities (B, S, S, C), confidences (B, S, S, num), and boxes (B, S, S, num, 4): the centre
        within its cell, in cells, and the size in canvases, as square roots where the head says so.
    """
    side, num, classes = head.side, head.num, head.num_classes
    flat = raw.float().flatten(1)
    parts = torch.split(flat, [side**2 * classes, side**2 * num, side**2 * num * 4], dim=1)
    probabilities = parts[0].reshape(-1, side, side, classes)
    if head.softmax:
        probabilities = torch.softmax(probabilities, dim=-1)
    return (
        probabilities,
        parts[1].reshape(-1, side, side, num),
        parts[2].reshape(-1, side, side, num, 4),
    )


def by_cell(raw: Tensor, num_anchors: int) -> Tensor:
    """(B, A * K, H, W) to (B, H, W, A, K)."""
    batch, channels, rows, columns = raw.shape
    return raw.permute(0, 2, 3, 1).reshape(batch, rows, columns, num_anchors, channels // num_anchors)


def _finish(offset: Tensor, size: Tensor, scores: Tensor, *, height: int, width: int) -> HeadBoxes:
    """Place offsets (in cells) and sizes (in pixels), both (B, H, W, A, 2), and flatten the cells."""
    batch, rows, columns, num_boxes, _ = offset.shape
    count = rows * columns * num_boxes
    y = torch.arange(rows, device=offset.device, dtype=offset.dtype)
    x = torch.arange(columns, device=offset.device, dtype=offset.dtype)
    corner = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None, :, :, None, :]  # 1, H, W, 1, 2
    centre = (offset + corner) * offset.new_tensor([width / columns, height / rows])
    boxes = cxcywh_to_xyxy(torch.cat([centre, size], dim=-1).reshape(-1, 4))
    return HeadBoxes(boxes.reshape(batch, count, 4), scores.reshape(batch, count, scores.shape[-1]))
