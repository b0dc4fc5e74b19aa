"""YOLOv2's loss: v1's squared errors on anchors' terms, classes by cross-entropy.

The paper (Redmon and Farhadi 2016) says how boxes are parametrised and leaves the rest to v1 and the code
that came with it; weights and thresholds here are that code's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.darknet.heads import by_cell, decode_region
from cvcore.darknet.layers import Region
from cvcore.detect.truth import Truth, best_overlaps, first_claims
from cvcore.ops.anchors import shape_iou
from cvcore.ops.boxes import box_areas, paired_iou


@dataclass(frozen=True, slots=True)
class YoloV2LossOptions:
    """Weights of the terms, and when a prediction counts as background.

    Attributes:
        ignore_iou: predictions that overlap a ground truth by more, and answer for none, cost nothing.
        box, object, no_object, classes: weights.
    """

    ignore_iou: float = 0.6
    box: float = 1.0
    object: float = 5.0
    no_object: float = 1.0
    classes: float = 1.0


def yolo_v2_loss(
    head: Region,
    raw: Tensor,
    truth: Truth,
    *,
    height: int,
    width: int,
    options: YoloV2LossOptions,
) -> dict[str, Tensor]:
    """The loss of a batch, divided by its images.

    The anchor whose shape overlaps a ground truth's most answers for it, in the cell that holds its centre;
    of two that would share one the first counts. Small boxes weigh more, by 2 minus their share of the
    canvas.

    Args:
        head: anchors and classes.
        raw: (B, A * (5 + C), H, W), of any canvas that the network reads.
        truth: the batch's boxes and classes; none is allowed.
        height, width: the canvas, pixels.
        options: weights.

    Returns:
        `total`, and its terms before weighting: `box`, `objectness`, `background` and `classes`.
    """
    num_anchors, (rows, columns) = len(head.anchors), raw.shape[2:]
    cells = by_cell(raw.float(), num_anchors)  # (B, H, W, A, 5 + C)
    cell_size = truth.boxes.new_tensor([width / columns, height / rows])
    anchors = truth.boxes.new_tensor(head.anchors) * cell_size
    centres = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2 / cell_size
    sizes = truth.boxes[:, 2:] - truth.boxes[:, :2]
    home = torch.minimum(centres.floor().clamp(min=0), centres.new_tensor([columns, rows]) - 1)
    column, row = home.long().unbind(dim=1)
    anchor = shape_iou(sizes, anchors).argmax(dim=1)
    places = ((truth.image_index * rows + row) * columns + column) * num_anchors + anchor
    first = first_claims(places, cells[..., 0].numel())
    where = tuple(index[first] for index in (truth.image_index, row, column, anchor))

    positive = cells[where]  # (P, 5 + C)
    shift = positive[:, :2].sigmoid() - (centres - home)[first]
    scale = positive[:, 2:4] - (sizes / anchors[anchor]).log()[first]
    share = box_areas(truth.boxes)[first] / (height * width)
    box = ((2 - share) * torch.cat([shift, scale], dim=1).square().sum(dim=1)).sum()

    with torch.no_grad():
        boxes = decode_region(head, raw.float(), height=height, width=width).boxes
        quality = paired_iou(boxes.view(*cells.shape[:4], 4)[where], truth.boxes[first])
        background = best_overlaps(boxes, truth).view(cells.shape[:4]) <= options.ignore_iou
        background[where] = False
    objectness = cells[..., 4].sigmoid()
    goal = quality if head.rescore else torch.ones_like(quality)
    present = F.mse_loss(objectness[where], goal, reduction="sum")
    absent = (objectness.square() * background).sum()
    classes = _class_loss(head, positive[:, 5:], truth.label_ids[first])

    terms = {"box": box, "objectness": present, "background": absent, "classes": classes}
    terms = {name: value / len(raw) for name, value in terms.items()}
    total = (
        options.box * terms["box"]
        + options.object * terms["objectness"]
        + options.no_object * terms["background"]
        + options.classes * terms["classes"]
    )
    return {"total": total, **terms}


def _class_loss(head: Region, logits: Tensor, label_ids: Tensor) -> Tensor:
    if head.softmax:
        return F.cross_entropy(logits, label_ids, reduction="sum")
    labels = F.one_hot(label_ids, head.num_classes).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
