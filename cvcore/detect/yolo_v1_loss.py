"""YOLO v1's loss (Redmon et al. 2015, section 2.2, equation 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.darknet.heads import split_detection
from cvcore.darknet.layers import Detection
from cvcore.detect.truth import Truth, first_claims
from cvcore.ops.boxes import cxcywh_to_xyxy, paired_iou, xyxy_to_cxcywh


@dataclass(frozen=True, slots=True)
class YoloV1LossOptions:
    """Weights of the terms; the paper's lambda_coord and lambda_noobj are the first two."""

    box: float = 5.0
    no_object: float = 0.5
    object: float = 1.0
    classes: float = 1.0


def yolo_v1_loss(
    head: Detection,
    raw: Tensor,
    truth: Truth,
    *,
    height: int,
    width: int,
    options: YoloV1LossOptions,
) -> dict[str, Tensor]:
    """The sum of squared errors of a batch, divided by its images.

    A cell answers for one object, the first whose centre it holds; of the cell's boxes the one with the
    greatest IoU does, or the nearest in position and size where none overlaps, as Darknet chooses.

    Args:
        head: side S, boxes a cell, classes.
        raw: (B, S * S * (num * 5 + C), 1, 1).
        truth: the batch's boxes and classes; none is allowed.
        height, width: the canvas, pixels.
        options: weights.

    Returns:
        `total`, and its terms before weighting: `box`, `objectness` (of what holds an object), `background`
        and `classes`.
    """
    probabilities, confidence, geometry = split_detection(head, raw)
    side, num_images = head.side, len(probabilities)
    canvas = truth.boxes.new_tensor([width, height]).repeat(2)
    wanted = xyxy_to_cxcywh(truth.boxes / canvas)  # in canvases
    cell = (wanted[:, :2] * side).floor().clamp(0, side - 1)
    column, row = cell.long().unbind(dim=1)
    first = first_claims((truth.image_index * side + row) * side + column, num_images * side * side)
    where = (truth.image_index[first], row[first], column[first])
    wanted, cell, label_ids = wanted[first], cell[first], truth.label_ids[first]

    boxes = geometry[where]  # (P, num, 4)
    best, overlap = _responsible(head, boxes.detach(), wanted, cell)
    chosen = boxes[torch.arange(len(best), device=best.device), best]  # (P, 4)
    sizes = wanted[:, 2:].sqrt() if head.sqrt else wanted[:, 2:]
    target = torch.cat([wanted[:, :2] * side - cell, sizes], dim=1)
    box = F.mse_loss(chosen, target, reduction="sum")

    answers = (*where, best)
    score = confidence[answers]
    goal = overlap if head.rescore else torch.ones_like(overlap)
    present = F.mse_loss(score, goal, reduction="sum")
    absent = confidence.square().sum() - score.square().sum()
    labels = F.one_hot(label_ids, head.num_classes).to(probabilities.dtype)
    classes = F.mse_loss(probabilities[where], labels, reduction="sum")

    terms = {"box": box, "objectness": present, "background": absent, "classes": classes}
    terms = {name: value / num_images for name, value in terms.items()}
    total = (
        options.box * terms["box"]
        + options.object * terms["objectness"]
        + options.no_object * terms["background"]
        + options.classes * terms["classes"]
    )
    return {"total": total, **terms}


def _responsible(head: Detection, boxes: Tensor, wanted: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Which of each cell's boxes answers, (P,) int64, and its IoU, (P,).

    `boxes` is (P, num, 4) as the head gives them, `wanted` (P, 4) cxcywh in canvases, `cell` (P, 2) xy.
    """
    sizes = boxes[..., 2:].square() if head.sqrt else boxes[..., 2:]
    placed = torch.cat([(boxes[..., :2] + cell[:, None]) / head.side, sizes], dim=-1)
    overlaps = paired_iou(cxcywh_to_xyxy(placed), cxcywh_to_xyxy(wanted)[:, None])  # (P, num)
    nearest = (placed - wanted[:, None]).square().sum(dim=-1).argmin(dim=1)
    greatest, best = overlaps.max(dim=1)
    best = torch.where(greatest > 0, best, nearest)
    return best, overlaps.gather(1, best[:, None]).squeeze(1)
