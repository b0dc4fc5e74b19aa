"""YOLOv3's loss: which cells answer for which ground truth, and what their errors cost.

Three things differ from the paper, each to learn faster from little data. Every anchor whose shape is close
enough answers for a ground truth, not the best alone, and so do the two cells nearest to its centre besides
the one that holds it (the widened centres of YOLOv4 make that possible): some six times more positives.
Boxes are compared by CIoU (Zheng et al. 2020) instead of squared offsets, for that is the quantity they are
judged by, whatever their size. Objectness is taught the IoU reached, so that scores rank boxes by quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.detect.truth import Truth
from cvcore.ops.anchors import cell_grid, decode_boxes, shape_iou, split_raw


@dataclass(frozen=True, slots=True)
class YoloLossOptions:
    """Weights and thresholds of the loss.

    Attributes:
        match_iou: anchors whose shape overlaps a ground truth's by at least this answer for it, besides the
            best.
        ignore_iou: predictions that overlap a ground truth by more, and answer for none, cost nothing
            (YOLOv3, section 2.1).
        box, objectness, classes: weights of the three terms.
    """

    match_iou: float = 0.45
    ignore_iou: float = 0.6
    box: float = 5.0
    objectness: float = 1.0
    classes: float = 1.0


@dataclass(frozen=True, slots=True)
class YoloLoss:
    """The weighted sum, and its terms before weighting; scalars."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who answers for whom on one scale; P positives.

    Attributes:
        truth: (P,) int64, row of the ground truth.
        anchor, row, column: (P,) int64, the responsible prediction.
    """

    truth: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor


def assign(
    truth: Truth,
    anchors: Sequence[Tensor],
    strides: Sequence[int],
    grids: Sequence[tuple[int, int]],
    match_iou: float,
) -> list[Assignment]:
    """Make anchors and cells responsible for ground truth.

    Args:
        truth: N boxes.
        anchors: for each scale (A, 2) widths and heights, canvas pixels.
        strides: for each scale, canvas pixels a cell.
        grids: for each scale, rows and columns.
        match_iou: see `YoloLossOptions`.

    Returns:
        One assignment a scale; a ground truth has at least one positive over all scales.
    """
    sizes = truth.boxes[:, 2:] - truth.boxes[:, :2]
    overlap = shape_iou(sizes, torch.cat(list(anchors)))  # (N, all anchors)
    chosen = overlap >= match_iou
    if len(sizes):
        chosen[torch.arange(len(sizes)), overlap.argmax(dim=1)] = True
    centers = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
    result, first = [], 0
    for scale, stride, grid in zip(anchors, strides, grids, strict=True):
        index, anchor = torch.nonzero(chosen[:, first : first + len(scale)], as_tuple=True)
        first += len(scale)
        pick, column, row = _cells(centers[index] / stride, grid)
        result.append(Assignment(index[pick], anchor[pick], row, column))
    return result


def _cells(centers: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """The cell that holds each of (P, 2) centres, and its nearest neighbour on either axis.

    Returns:
        (Q,) indices into the centres, columns and rows; neighbours outside the grid are left out.
    """
    rows, columns = grid
    limit = centers.new_tensor([columns, rows]).long()
    home = torch.minimum(centers.floor().long().clamp(min=0), limit - 1)
    side = torch.where(centers - home < 0.5, -1, 1)  # which neighbour is nearer, on x and on y
    zero = torch.zeros_like(side[:, 0])
    steps = torch.stack(
        [
            torch.stack([zero, zero], 1),
            torch.stack([side[:, 0], zero], 1),
            torch.stack([zero, side[:, 1]], 1),
        ]
    )
    cells = home[None] + steps  # (3, P, 2)
    inside = ((cells >= 0) & (cells < limit)).all(dim=2)
    pick = torch.arange(len(centers), device=centers.device).expand(3, -1)[inside]
    return pick, cells[inside][:, 0], cells[inside][:, 1]


def yolo_loss(
    raw: Sequence[Tensor],
    truth: Truth,
    anchors: Sequence[Tensor],
    strides: Sequence[int],
    *,
    scale_xy: float,
    options: YoloLossOptions,
) -> YoloLoss:
    """The loss of a batch, each term summed and divided by the number of positives.

    Args:
        raw: for each scale (B, A * (5 + C), H, W).
        truth: the batch's boxes and classes; none is allowed.
        anchors: for each scale (A, 2) widths and heights, canvas pixels.
        strides: for each scale, canvas pixels a cell.
        scale_xy: see `cvcore.ops.anchors.decode_boxes`.
        options: weights and thresholds.
    """
    grids = [(level.shape[2], level.shape[3]) for level in raw]
    assignments = assign(truth, anchors, strides, grids, options.match_iou)
    box, objectness, classes = raw[0].new_zeros(3, dtype=torch.float32)
    for level, scale, stride, chosen in zip(raw, anchors, strides, assignments, strict=True):
        values = split_raw(level, len(scale))  # (B, A, H, W, 5 + C)
        terms = _level_terms(values, truth, scale, chosen, stride, scale_xy, options.ignore_iou)
        box, objectness, classes = box + terms[0], objectness + terms[1], classes + terms[2]
    positives = max(1, sum(len(chosen.truth) for chosen in assignments))
    box, objectness, classes = box / positives, objectness / positives, classes / positives
    total = options.box * box + options.objectness * objectness + options.classes * classes
    return YoloLoss(total, box, objectness, classes)


def _level_terms(
    values: Tensor,
    truth: Truth,
    anchors: Tensor,
    chosen: Assignment,
    stride: int,
    scale_xy: float,
    ignore_iou: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """One scale's box, objectness and class sums. `values` is (B, A, H, W, 5 + C)."""
    from torchvision.ops import complete_box_iou_loss  # here: inference does without the package

    where = (truth.image_index[chosen.truth], chosen.anchor, chosen.row, chosen.column)
    positive = values[where]  # (P, 5 + C)
    cells = torch.stack([chosen.column, chosen.row], dim=1)
    boxes = decode_boxes(positive[:, :4], cells, anchors[chosen.anchor], stride=stride, scale_xy=scale_xy)
    wanted = truth.boxes[chosen.truth]
    distance = complete_box_iou_loss(boxes, wanted, reduction="none")  # 1 - CIoU, (P,)
    quality = _paired_iou(boxes.detach(), wanted)
    labels = F.one_hot(truth.label_ids[chosen.truth], values.shape[-1] - 5).to(values.dtype)
    class_loss = F.binary_cross_entropy_with_logits(positive[:, 5:], labels, reduction="sum")

    target = values.new_zeros(values.shape[:4])
    flat = _flat_index(where, target.shape)
    # Where two ground truths share a prediction the better one counts, in whatever order they come.
    target.view(-1).scatter_reduce_(0, flat, quality, "amax")
    counted = ~_covered(values, truth, anchors, stride, scale_xy, ignore_iou)
    counted.view(-1)[flat] = True
    objectness = F.binary_cross_entropy_with_logits(values[..., 4], target, reduction="none")
    return distance.sum(), (objectness * counted).sum(), class_loss


def _flat_index(where: tuple[Tensor, Tensor, Tensor, Tensor], shape: torch.Size) -> Tensor:
    """Row-major positions of (B, A, H, W) indices."""
    image, anchor, row, column = where
    return ((image * shape[1] + anchor) * shape[2] + row) * shape[3] + column


def _paired_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of row i of (P, 4) with row i of (P, 4), xyxy: (P,)."""
    low, high = torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    areas = (first[:, 2:] - first[:, :2]).prod(dim=1) + (second[:, 2:] - second[:, :2]).prod(dim=1)
    return common / (areas - common).clamp(min=1e-9)


@torch.no_grad()
def _covered(
    values: Tensor, truth: Truth, anchors: Tensor, stride: int, scale_xy: float, ignore_iou: float
) -> Tensor:
    """Predictions that overlap some ground truth of their image by more than `ignore_iou`: (B, A, H, W)."""
    from torchvision.ops import box_iou  # here: inference does without the package

    cells = cell_grid(values.shape[2], values.shape[3], like=values)
    boxes = decode_boxes(values[..., :4], cells, anchors[:, None, None], stride=stride, scale_xy=scale_xy)
    covered = torch.zeros(values.shape[:4], dtype=torch.bool, device=values.device)
    for image in sorted(set(truth.image_index.tolist())):
        own = truth.boxes[truth.image_index == image]
        covered[image] = (
            (box_iou(boxes[image].view(-1, 4), own) > ignore_iou).any(dim=1).view(values.shape[1:4])
        )
    return covered
