"""Losses of segmentation, alone and added up. Pixels of the ignored class count in none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.errors import did_you_mean
from cvcore.segment.borders import border_weights

IGNORED = 255
"""The pixel value that is not judged."""


@dataclass(frozen=True, slots=True)
class SegmentLossOptions:
    """What is minimised.

    Attributes:
        loss: names of `LOSSES`, joined by "+": `cross_entropy`, `dice`, `focal+dice`.
        class_weights: one a class, for `cross_entropy`, `balanced` and `focal`; none weighs all alike.
        focal_gamma: how much less well classified pixels count (Lin et al. 2017, equation 4).
        border_weight, border_sigma_px: w0 and sigma of U-Net's borders (equation 2).
    """

    loss: str = "cross_entropy"
    class_weights: tuple[float, ...] = ()
    focal_gamma: float = 2.0
    border_weight: float = 10.0
    border_sigma_px: float = 5.0

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in LOSSES:
                raise ValueError(
                    f"there is no loss {name!r}.{did_you_mean(name, LOSSES)} Losses: {', '.join(LOSSES)}, "
                    "or some of them joined by +, as cross_entropy+dice"
                )
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"loss names one of its terms twice: {self.loss!r}")
        if self.focal_gamma < 0 or self.border_weight < 0 or not self.border_sigma_px > 0:
            raise ValueError("focal_gamma and border_weight must not be negative, border_sigma_px above 0")
        if not all(isinstance(weight, int | float) and weight >= 0 for weight in self.class_weights):
            raise ValueError(
                f"class_weights must be numbers that are not negative, as [1, 8], got {self.class_weights}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.loss.split("+"))

    def check_classes(self, num_classes: int) -> None:
        """Raises `ValueError` unless there is a weight for each class, or none at all."""
        if self.class_weights and len(self.class_weights) != num_classes:
            raise ValueError(
                f"class_weights has {len(self.class_weights)} weights for {num_classes} labels: give each one"
            )


def segment_losses(logits: Tensor, masks: Tensor, options: SegmentLossOptions) -> dict[str, Tensor]:
    """The terms of a batch's loss by name, and their sum, `total`.

    Args:
        logits: (B, C, H, W).
        masks: (B, H, W) class ids; `IGNORED` is not judged.
        options: which terms.

    Raises:
        ValueError: for masks of another size than the logits.
    """
    if logits.shape[0] != masks.shape[0] or logits.shape[2:] != masks.shape[1:]:
        raise ValueError(
            f"masks must have the logits' size {tuple(logits.shape[2:])}, got {tuple(masks.shape)}"
        )
    targets = masks.long()
    terms = {name: LOSSES[name](logits.float(), targets, options) for name in options.names}
    return {"total": torch.stack(list(terms.values())).sum(), **terms}


def cross_entropy_loss(logits: Tensor, targets: Tensor, options: SegmentLossOptions) -> Tensor:
    """The weighted mean over the judged pixels; 0 where there are none."""
    losses = _pixel_losses(logits, targets)
    return _weighted_mean(losses, _pixel_weights(targets, options.class_weights))


def balanced_loss(logits: Tensor, targets: Tensor, options: SegmentLossOptions) -> Tensor:
    """Cross-entropy in which an image's classes have equal shares, or `class_weights`', however small.

    The mean over the images that are judged. Pixels of a rare class teach most in the images where that is
    smallest: over whole batches, as `cross_entropy` and `dice` are, large objects drown small ones.
    """
    weights = _pixel_weights(targets, options.class_weights)
    classes = torch.where(targets == IGNORED, logits.shape[1], targets).flatten(1)
    counts = classes.new_zeros(len(classes), logits.shape[1] + 1)
    counts.scatter_add_(1, classes, torch.ones_like(classes))
    weights = weights / counts.gather(1, classes).view_as(weights)
    shares = weights.sum(dim=(1, 2))
    means = (_pixel_losses(logits, targets) * weights).sum(dim=(1, 2)) / shares.clamp(min=1e-6)
    return means.sum() / (shares > 0).sum().clamp(min=1)


def border_loss(logits: Tensor, targets: Tensor, options: SegmentLossOptions) -> Tensor:
    """Cross-entropy weighted by U-Net's map: rare classes, and gaps between objects, count more."""
    weights = border_weights(
        targets, ignored=IGNORED, weight=options.border_weight, sigma_px=options.border_sigma_px
    )
    return _weighted_mean(_pixel_losses(logits, targets), weights)


def focal_loss(logits: Tensor, targets: Tensor, options: SegmentLossOptions) -> Tensor:
    """Lin et al. 2017, equation 5, for softmax: cross-entropy times (1 - p)^gamma."""
    losses = _pixel_losses(logits, targets)
    focused = (1 - torch.exp(-losses)).clamp(min=0) ** options.focal_gamma * losses
    return _weighted_mean(focused, _pixel_weights(targets, options.class_weights))


def dice_loss(logits: Tensor, targets: Tensor, options: SegmentLossOptions) -> Tensor:
    """One minus the mean Dice coefficient of the classes that are in the batch (Milletari et al. 2016).

    Sums run over the whole batch, so that an image without a class says nothing odd about it.
    """
    del options
    judged = (targets != IGNORED)[:, None]
    ones = F.one_hot(torch.where(judged[:, 0], targets, 0), logits.shape[1]).permute(0, 3, 1, 2) * judged
    found = logits.softmax(dim=1) * judged
    overlap, sizes = ((t * ones).sum(dim=(0, 2, 3)) for t in (found, torch.ones_like(found)))
    dice = 2 * overlap / (found.sum(dim=(0, 2, 3)) + sizes).clamp(min=1e-6)
    present = sizes > 0
    # Without a judged pixel the loss is 0, and still one that gradients run through.
    return torch.where(present, 1 - dice, 0).sum() / present.sum().clamp(min=1)


LOSSES: Mapping[str, Callable[[Tensor, Tensor, SegmentLossOptions], Tensor]] = MappingProxyType(
    {
        "cross_entropy": cross_entropy_loss,
        "balanced": balanced_loss,
        "dice": dice_loss,
        "focal": focal_loss,
        "border": border_loss,
    }
)


def _pixel_losses(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")


def _pixel_weights(targets: Tensor, class_weights: Sequence[float]) -> Tensor:
    judged = targets != IGNORED
    if not class_weights:
        return judged.float()
    table = torch.tensor(class_weights, device=targets.device)
    return table[torch.where(judged, targets, 0)] * judged


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum() / weights.sum().clamp(min=1e-6)
