"""What every segmenter is: one canvas in, a class for every pixel of the source image out.

raw = model(model.preprocess(canvases, fits))  # (B, C, H, W) logits on the canvas
finite = model.finite(raw)
maps = model.postprocess(raw, fits)  # (height, width) class ids of each source image
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cvcore.errors import ModelError
from cvcore.image.fit import Fit
from cvcore.image.normalize import imagenet_floats
from cvcore.segment.losses import SegmentLossOptions, segment_losses
from cvcore.segment.maps import class_map, content_of
from cvcore.types import Augmentation, InputSpec

MAX_LABELS = 255
"""Class ids are bytes, and 255 means that a pixel is not judged."""


class Segmenter(nn.Module, ABC):
    """Base of segmenters.

    Attributes:
        input_spec: the canvas that jobs and training draw images on; `forward` itself takes any size unless
            `fixed_size` says otherwise.
        labels: class names; pixel values of maps index them, so a background is a label too.
        config: JSON-able keyword arguments of its builder in the catalogue, labels apart.
        loss_options: what `losses` computes.
        margin_px: pixels farther than this from an image's border have logits that do not depend on what is
            beyond it; 0 where every pixel may depend on all others.
        stride_px: an image that is cut at multiples of this is computed alike in every piece.
        fixed_size: whether `forward` takes images of the canvas's size only.
        augmentation: steps of its training views unless a run says otherwise, as its paper has them.
        backbone_parts: where the names of the parameters begin that stand for a classifier's.
    """

    margin_px: int = 0
    stride_px: int = 1
    fixed_size: bool = False
    augmentation: tuple[Augmentation, ...] = ("flip", "jitter")
    backbone_parts: tuple[str, ...] = ()

    def __init__(
        self, labels: tuple[str, ...], *, input_spec: InputSpec, loss_options: SegmentLossOptions
    ) -> None:
        super().__init__()
        if not 2 <= len(labels) <= MAX_LABELS:
            raise ValueError(
                f"a segmenter tells 2 to {MAX_LABELS} classes apart, the background being one; got {labels}"
            )
        loss_options.check_classes(len(labels))
        self.labels = labels
        self.input_spec = input_spec
        self.loss_options = loss_options
        self.config: dict[str, Any] = {}

    def preprocess(self, canvases: Tensor, fits: Sequence[Fit] | None = None) -> Any:
        """(B, H, W, 3) uint8 RGB canvases to what `forward` takes: normalised as torchvision's classifiers.

        `fits` says where the image lies on each canvas, in batch order; None means that each fills its own.
        """
        del fits
        return imagenet_floats(canvases, next(self.parameters()).dtype)

    @abstractmethod
    def forward(self, images: Any) -> Tensor:
        """Logits of every pixel, (B, C, H, W) float32, for what `preprocess` makes of (B, H, W, 3)."""

    def finite(self, raw: Tensor) -> list[bool]:
        """Say for each image, in batch order, whether all its logits are finite."""
        return [bool(flag) for flag in raw.isfinite().flatten(1).all(dim=1).tolist()]

    def postprocess(self, raw: Tensor, fits: Sequence[Fit]) -> list[Tensor]:
        """Class ids of each image, (source height, source width) uint8, on the logits' device.

        Logits, not classes, are scaled to the image's size, so that boundaries do not become stairs.
        """
        return [
            class_map(content_of(logits, fit), height=fit.source_height, width=fit.source_width)
            for logits, fit in zip(raw, fits, strict=True)
        ]

    @torch.inference_mode()
    def predict(self, canvases: Tensor, fits: Sequence[Fit]) -> list[Tensor]:
        """`preprocess`, `forward` and `postprocess` in one call."""
        return self.postprocess(self(self.preprocess(canvases, fits)), fits)

    def losses(self, images: Any, masks: Tensor) -> dict[str, Tensor]:
        """The loss of a batch, as scalars by name: `total` is what is minimised, others are its terms.

        Args:
            images: what `preprocess` gave.
            masks: (B, H, W) uint8 class ids on the canvas; 255 is not judged.
        """
        return segment_losses(self(images), masks, self.loss_options)

    def load_backbone(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """Copy a classifier's weights, under torchvision's names, into the trunk.

        Raises:
            ModelError: where they do not fit, or the model has no such trunk.
        """
        del state
        raise ModelError(
            f"{name} holds a classifier's weights, which a {type(self).__name__} cannot start from"
        )
