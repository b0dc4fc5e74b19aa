"""The loss of any Darknet detector, by the kind of its heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import Tensor

from cvcore.darknet.layers import Detection, Head, Region, Yolo
from cvcore.detect.truth import Truth
from cvcore.detect.yolo_loss import DENSE, PAPER, yolo_loss
from cvcore.detect.yolo_v1_loss import YoloV1LossOptions, yolo_v1_loss
from cvcore.detect.yolo_v2_loss import YoloV2LossOptions, yolo_v2_loss
from cvcore.errors import ModelError

LossKind = Literal["paper", "dense"]
_DENSE_REACH = 2.0
"""The `scale_x_y` from which on a cell's centres reach into the middle of its neighbours."""


def darknet_losses(
    heads: Sequence[Head], raw: Sequence[Tensor], truth: Truth, *, height: int, width: int, kind: LossKind
) -> dict[str, Tensor]:
    """The terms of a batch's loss, and their `total`.

    Args:
        heads: of the network, in order.
        raw: what it gave for each.
        truth: boxes in pixels of the canvas of `height` x `width`.
        height, width: the canvas, pixels.
        kind: `paper`, or `dense` (see `cvcore.detect.yolo_loss`), which only v3's heads have.

    Raises:
        ModelError: for heads that are never trained together, or a kind that they do not have.
    """
    if all(isinstance(head, Yolo) for head in heads):
        return _v3_losses([head for head in heads if isinstance(head, Yolo)], raw, truth, width, kind)
    if len(heads) != 1 or kind != "paper":
        names = ", ".join(f"[{head.section}]" for head in heads)
        raise ModelError(f"no {kind} loss is known of a network with the heads {names}: use paper, one head")
    if isinstance(heads[0], Region):
        return yolo_v2_loss(heads[0], raw[0], truth, height=height, width=width, options=YoloV2LossOptions())
    assert isinstance(heads[0], Detection)
    return yolo_v1_loss(heads[0], raw[0], truth, height=height, width=width, options=YoloV1LossOptions())


def _v3_losses(
    heads: Sequence[Yolo], raw: Sequence[Tensor], truth: Truth, width: int, kind: LossKind
) -> dict[str, Tensor]:
    scale_xy = heads[0].scale_x_y
    options = PAPER if kind == "paper" else replace(DENSE, neighbors=scale_xy >= _DENSE_REACH)
    anchors = [truth.boxes.new_tensor(head.anchors) for head in heads]
    strides = [width / level.shape[3] for level in raw]
    return yolo_loss(raw, truth, anchors, strides, scale_xy=scale_xy, options=options)
