"""torchvision's FCN on a dilated ResNet, for its published weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from torch import Tensor
from torch.nn import functional as F
from torchvision.models import segmentation

from cvcore.segment.base import Segmenter
from cvcore.segment.fcn import SEGMENT_VOC_LABELS
from cvcore.segment.losses import SegmentLossOptions
from cvcore.types import InputSpec

Graph = Literal["fcn_resnet50", "fcn_resnet101"]

CANVAS_PX = 520
_AUXILIARY = "aux_classifier."


class TorchvisionFcn(Segmenter):
    """torchvision's graph without its auxiliary classifier, which only its training uses."""

    backbone_parts = ("network.backbone",)

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        graph: str,
        input_size: int,
        loss_options: SegmentLossOptions,
    ) -> None:
        super().__init__(labels, input_spec=InputSpec(input_size, input_size), loss_options=loss_options)
        build: Any = getattr(segmentation, graph)
        self.network = build(weights=None, weights_backbone=None, num_classes=len(labels), aux_loss=False)
        self.stride_px = 8
        self.config = {"graph": graph, "input_size": input_size, "loss": loss_options.loss}

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images of any size to (B, C, H, W) float32 logits."""
        features = self.network.backbone(images)["out"]
        scores = self.network.classifier(features)
        return F.interpolate(scores, size=images.shape[2:], mode="bilinear", align_corners=False).float()


def build_torchvision_fcn(
    labels: tuple[str, ...] | None = None,
    *,
    graph: Graph = "fcn_resnet50",
    input_size: int = CANVAS_PX,
    loss: str = "cross_entropy",
) -> TorchvisionFcn:
    """Build torchvision's FCN with random weights.

    Args:
        labels: class names by output, the background among them; Pascal VOC's and the background by default.
        graph: torchvision's name of the model.
        input_size: side of the canvas, pixels.
        loss: see `SegmentLossOptions`.

    Raises:
        ValueError: for an unknown graph or loss.
    """
    if graph not in get_args(Graph):
        raise ValueError(f"graph must be one of {', '.join(get_args(Graph))}, got {graph!r}")
    return TorchvisionFcn(
        labels or SEGMENT_VOC_LABELS,
        graph=graph,
        input_size=input_size,
        loss_options=SegmentLossOptions(loss),
    )


def rename_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename torchvision's state dict to this wrapper's; its auxiliary classifier is left out."""
    return {f"network.{key}": value for key, value in state.items() if not key.startswith(_AUXILIARY)}
