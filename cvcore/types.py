"""Frozen values that cross modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

FitMode = Literal["letterbox", "stretch", "shortest_edge", "center_crop"]

Augmentation = Literal["flip", "turn", "jitter", "crop", "zoom", "hsv", "colour", "mosaic"]
"""A step of training views; see `cvcore.train.augment.AugmentOptions`."""
MASK_STEPS: tuple[Augmentation, ...] = ("flip", "turn", "jitter", "hsv", "colour")
"""Those that carry masks along."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The fixed-shape canvas a model reads, and how an image is fitted to it.

    Attributes:
        height, width: the canvas, pixels.
        fit: `letterbox` keeps the aspect ratio and centres; `stretch` fills the canvas;
            `shortest_edge` scales the shorter side to `shortest_edge_px` unless the longer would leave the
            canvas, and places the image at the top left; `center_crop` scales it likewise, whatever the
            longer becomes, and shows the middle (torchvision's `ImageClassification`).
        fill: gray level, 0 to 255, of the canvas outside the image.
        shortest_edge_px: target of `shortest_edge` and `center_crop`; unused by the others.
    """

    height: int
    width: int
    fit: FitMode = "letterbox"
    fill: int = 128
    shortest_edge_px: int = 0

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"canvas must be at least 1x1, got {self.height}x{self.width}")
        if not 0 <= self.fill <= 255:
            raise ValueError(f"fill must be 0 to 255, got {self.fill}")
        if self.fit == "shortest_edge" and self.shortest_edge_px < 1:
            raise ValueError("fit 'shortest_edge' needs shortest_edge_px >= 1")
        if self.fit == "center_crop" and self.shortest_edge_px < max(self.height, self.width):
            raise ValueError(
                f"fit 'center_crop' fills the canvas, so shortest_edge_px is at least "
                f"{max(self.height, self.width)}, got {self.shortest_edge_px}"
            )

    @property
    def num_bytes(self) -> int:
        """Bytes of one uint8 RGB canvas."""
        return self.height * self.width * 3


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """How raw outputs become detections.

    Attributes:
        min_score: detections below are dropped, 0 to 1.
        nms_iou: boxes of one class that overlap a better one by more than this IoU are dropped, 0 to 1.
        max_detections: the best so many are kept for each image.
    """

    min_score: float = 0.25
    nms_iou: float = 0.45
    max_detections: int = 100

    def __post_init__(self) -> None:
        for name in ("min_score", "nms_iou"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be between 0 and 1, got {value}")
        if self.max_detections < 1:
            raise ValueError(f"max_detections must be at least 1, got {self.max_detections}")


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: (N, 4) float32, xyxy, pixels.
        scores: (N,) float32, 0 to 1.
        label_ids: (N,) int64, indices into the model's labels.
        masks: (N, H, W) bool at the source image's size, or None where the model makes none.
    """

    boxes: Tensor
    scores: Tensor
    label_ids: Tensor
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        n = self.boxes.shape[0]
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.label_ids.shape != (n,):
            raise ValueError(
                f"detections disagree in shape: boxes {tuple(self.boxes.shape)}, "
                f"scores {tuple(self.scores.shape)}, label_ids {tuple(self.label_ids.shape)}"
            )
        if self.masks is not None and (self.masks.dim() != 3 or self.masks.shape[0] != n):
            raise ValueError(f"detections disagree: {n} boxes, masks of shape {tuple(self.masks.shape)}")

    def __len__(self) -> int:
        return int(self.boxes.shape[0])
