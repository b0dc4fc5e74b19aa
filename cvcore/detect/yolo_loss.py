"""YOLOv3's loss: which cells answer for which ground truth, and what their errors cost.

`PAPER` is the loss of Redmon and Farhadi 2018, section 2. `DENSE` differs in three things, each to learn
faster from little data. Every anchor whose shape is close enough answers for a ground truth, not the best
alone, and so do the two cells nearest to its centre besides the one that holds it (the widened centres of
YOLOv4 make that possible): some six times more positives. Boxes are compared by CIoU (Zheng et al. 2020)
instead of squared offsets, for that is the quantity they are judged by, whatever their size. Objectness is
taught the IoU reached, so that scores rank boxes by quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.detect.truth import Truth, best_overlaps
from cvcore.ops.anchors import cell_grid, decode_boxes, encode_boxes, shape_iou, split_raw
from cvcore.ops.boxes import box_areas, paired_iou


@dataclass(frozen=True, slots=True)
class YoloLossOptions:
    """Weights and thresholds of the loss.

    Attributes:
        match_iou: anchors whose shape overlaps a ground truth's by at least this answer for it, besides the
            best; None for the best alone.
        neighbors: whether the two cells nearest to a centre answer too; centres must reach half a cell beyond
            their own then.
        box_error: `ciou`, or `offsets`: squared, small boxes weighing more by 2 minus their share of the
            canvas.
        teach_iou: objectness is taught the IoU reached, instead of 1.
        ignore_iou: predictions that overlap a ground truth by more, and answer for none, cost nothing
            (YOLOv3, section 2.1).
        box, objectness, classes: weights of the three terms.
    """

    match_iou: float | None = 0.45
    neighbors: bool = True
    box_error: Literal["ciou", "offsets"] = "ciou"
    teach_iou: bool = True
    ignore_iou: float = 0.6
    box: float = 5.0
    objectness: float = 1.0
    classes: float = 1.0


DENSE = YoloLossOptions()
PAPER = YoloLossOptions(
    match_iou=None, neighbors=False, box_error="offsets", teach_iou=False, ignore_iou=0.5, box=1.0
)


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
    strides: Sequence[float],
    grids: Sequence[tuple[int, int]],
    options: YoloLossOptions,
) -> list[Assignment]:
    """Make anchors and cells responsible for ground truth.

    Args:
        truth: N boxes.
        anchors: for each scale (A, 2) widths and heights, canvas pixels.
        strides: for each scale, canvas pixels a cell.
        grids: for each scale, rows and columns.
        options: `match_iou` and `neighbors`.

    Returns:
        One assignment a scale; a ground truth has at least one positive over all scales.
    """
    sizes = truth.boxes[:, 2:] - truth.boxes[:, :2]
    overlap = shape_iou(sizes, torch.cat(list(anchors)))  # (N, all anchors)
    chosen = overlap >= (options.match_iou or float("inf"))
    if len(sizes):
        chosen[torch.arange(len(sizes)), overlap.argmax(dim=1)] = True
    centers = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
    result, first = [], 0
    for scale, stride, grid in zip(anchors, strides, grids, strict=True):
        index, anchor = torch.nonzero(chosen[:, first : first + len(scale)], as_tuple=True)
        first += len(scale)
        pick, column, row = _cells(centers[index] / stride, grid, neighbors=options.neighbors)
        result.append(Assignment(index[pick], anchor[pick], row, column))
    return result


def _cells(centers: Tensor, grid: tuple[int, int], *, neighbors: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The cell that holds each of (P, 2) centres, and with `neighbors` its nearest one on either axis.

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
    steps = steps if neighbors else steps[:1]
    cells = home[None] + steps  # (1 or 3, P, 2)
    inside = ((cells >= 0) & (cells < limit)).all(dim=2)
    pick = torch.arange(len(centers), device=centers.device).expand(len(steps), -1)[inside]
    return pick, cells[inside][:, 0], cells[inside][:, 1]


def yolo_loss(
    raw: Sequence[Tensor],
    truth: Truth,
    anchors: Sequence[Tensor],
    strides: Sequence[float],
    *,
    scale_xy: float,
    options: YoloLossOptions,
) -> dict[str, Tensor]:
    """The loss of a batch, each term summed and divided by the number of positives.

    Args:
        raw: for each scale (B, A * (5 + C), H, W).
        truth: the batch's boxes and classes; none is allowed.
        anchors: for each scale (A, 2) widths and heights, canvas pixels.
        strides: for each scale, canvas pixels a cell.
        scale_xy: see `cvcore.ops.anchors.decode_boxes`.
        options: weights and thresholds.

    Returns:
        `total`, the weighted sum, and its terms before weighting: `box`, `objectness` and `classes`.
    """
    grids = [(level.shape[2], level.shape[3]) for level in raw]
    assignments = assign(truth, anchors, strides, grids, options)
    terms = raw[0].new_zeros(3, dtype=torch.float32)
    for level, scale, stride, chosen in zip(raw, anchors, strides, assignments, strict=True):
        values = split_raw(level, len(scale))  # (B, A, H, W, 5 + C)
        terms = terms + torch.stack(_level_terms(values, truth, scale, chosen, stride, scale_xy, options))
    box, objectness, classes = terms / max(1, sum(len(chosen.truth) for chosen in assignments))
    total = options.box * box + options.objectness * objectness + options.classes * classes
    return {"total": total, "box": box, "objectness": objectness, "classes": classes}


def _level_terms(
    values: Tensor,
    truth: Truth,
    anchors: Tensor,
    chosen: Assignment,
    stride: float,
    scale_xy: float,
    options: YoloLossOptions,
) -> tuple[Tensor, Tensor, Tensor]:
    """One scale's box, objectness and class sums. `values` is (B, A, H, W, 5 + C)."""
    where = (truth.image_index[chosen.truth], chosen.anchor, chosen.row, chosen.column)
    positive = values[where]  # (P, 5 + C)
    cells = torch.stack([chosen.column, chosen.row], dim=1)
    own = anchors[chosen.anchor]
    boxes = decode_boxes(positive[:, :4], cells, own, stride=stride, scale_xy=scale_xy)
    wanted = truth.boxes[chosen.truth]
    if options.box_error == "ciou":
        box = _ciou_error(boxes, wanted)
    else:
        canvas = stride * stride * values.shape[2] * values.shape[3]
        weights = 2 - box_areas(wanted) / canvas
        box = (weights * _offset_errors(positive[:, :4], wanted, cells, own, stride, scale_xy)).sum()
    labels = F.one_hot(truth.label_ids[chosen.truth], values.shape[-1] - 5).to(values.dtype)
    classes = F.binary_cross_entropy_with_logits(positive[:, 5:], labels, reduction="sum")

    goal = paired_iou(boxes.detach(), wanted) if options.teach_iou else torch.ones_like(wanted[:, 0])
    target = values.new_zeros(values.shape[:4])
    flat = _flat_index(where, target.shape)
    # Where two ground truths share a prediction the better one counts, in whatever order they come.
    target.view(-1).scatter_reduce_(0, flat, goal, "amax")
    counted = ~_covered(values, truth, anchors, stride, scale_xy, options.ignore_iou)
    counted.view(-1)[flat] = True
    objectness = F.binary_cross_entropy_with_logits(values[..., 4], target, reduction="none")
    return box, (objectness * counted).sum(), classes


def _ciou_error(boxes: Tensor, wanted: Tensor) -> Tensor:
    from torchvision.ops import complete_box_iou_loss  # here: inference does without the package

    error: Tensor = complete_box_iou_loss(boxes, wanted, reduction="sum")  # of 1 - CIoU
    return error


def _offset_errors(
    offsets: Tensor, wanted: Tensor, cells: Tensor, anchors: Tensor, stride: float, scale_xy: float
) -> Tensor:
    """Squared errors of centres, in cells, and of log sizes, summed for each of (P, 4) raw offsets: (P,)."""
    target = encode_boxes(wanted, cells, anchors, stride=stride, scale_xy=scale_xy)
    centres = scale_xy * (offsets[:, :2].sigmoid() - target[:, :2].sigmoid())
    return torch.cat([centres, offsets[:, 2:] - target[:, 2:]], dim=1).square().sum(dim=1)


def _flat_index(where: tuple[Tensor, Tensor, Tensor, Tensor], shape: torch.Size) -> Tensor:
    """Row-major positions of (B, A, H, W) indices."""
    image, anchor, row, column = where
    return ((image * shape[1] + anchor) * shape[2] + row) * shape[3] + column


@torch.no_grad()
def _covered(
    values: Tensor, truth: Truth, anchors: Tensor, stride: float, scale_xy: float, ignore_iou: float
) -> Tensor:
    """Predictions that overlap some ground truth of their image by more than `ignore_iou`: (B, A, H, W)."""
    cells = cell_grid(values.shape[2], values.shape[3], like=values)
    boxes = decode_boxes(values[..., :4], cells, anchors[:, None, None], stride=stride, scale_xy=scale_xy)
    return best_overlaps(boxes.flatten(1, 3), truth).view(values.shape[:4]) > ignore_iou
