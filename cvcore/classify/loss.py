"""What classifiers and localisers are trained by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer

BETA = 0.1


@dataclass(frozen=True, slots=True)
class ClassLossOptions:
    """How a loss is made.

    Attributes:
        label_smoothing: share of the probability that the target gives to all classes alike, 0 to below 1
            (Szegedy et al. 2015, Rethinking the Inception Architecture, section 7).
        class_weights: one a class, in the order of the labels; None weighs all images alike.
        box_weight: of the boxes' term beside the classes'.
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    box_weight: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing}")


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights by which each class counts as much as another in all: images / (classes * images of the class).

    Raises:
        ValueError: for a class without images.
    """
    if not counts or min(counts) < 1:
        raise ValueError(f"each class needs images to be weighed by, got counts {list(counts)}")
    return tuple(sum(counts) / (len(counts) * count) for count in counts)


def class_loss(logits: Tensor, label_ids: Tensor, options: ClassLossOptions) -> Tensor:
    """Cross-entropy of (B, C) logits and (B,) int64, a scalar: the weighted mean over the images."""
    weights = None
    if options.class_weights is not None:
        weights = logits.new_tensor(options.class_weights, dtype=torch.float32)
    return F.cross_entropy(logits.float(), label_ids, weights, label_smoothing=options.label_smoothing)


def box_loss(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Smooth L1 of the four coordinates, summed, a scalar: the mean over the images.

    Boxes are (B, 4) xyxy shares of the canvas; errors below `BETA` count squared.
    """
    return F.smooth_l1_loss(boxes.float(), wanted, reduction="none", beta=BETA).sum(dim=1).mean()


class ClassifierLoss(nn.Module):
    """The loss as a module's forward pass, which is what a distributed wrapper can wrap."""

    def __init__(self, model: Classifier | Localizer, options: ClassLossOptions) -> None:
        super().__init__()
        self.model = model
        self.options = options

    def forward(self, canvases: Tensor, label_ids: Tensor, boxes: Tensor | None = None) -> dict[str, Tensor]:
        """Terms by name, of which `total` is minimised.

        Args:
            canvases: (B, H, W, 3) uint8 RGB.
            label_ids: (B,) int64.
            boxes: (B, 4) float32 xyxy, shares of the canvas; of localisers.
        """
        raw = self.model(self.model.preprocess(canvases))
        if not isinstance(self.model, Localizer):
            return {"total": class_loss(raw, label_ids, self.options)}
        assert boxes is not None, "a localiser learns from boxes"
        classes, places = class_loss(raw[0], label_ids, self.options), box_loss(raw[1], boxes)
        return {"total": classes + self.options.box_weight * places, "class": classes, "box": places}
