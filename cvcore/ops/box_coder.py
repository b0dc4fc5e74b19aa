"""Boxes as offsets from reference boxes (R-CNN, appendix C; Faster R-CNN, equation 2; SSD, section 2.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_LOG_SCALE = math.log(1000.0 / 16)


@dataclass(frozen=True, slots=True)
class BoxCoder:
    """The offsets (dx, dy, dw, dh) of boxes from reference boxes (anchors, default boxes, proposals).

    With centres x, y and sizes w, h, and a for the reference:

        dx = weight_x (x - xa) / wa    dw = weight_w log(w / wa)

    SSD's "variances" are the inverse weights: (0.1, 0.2) is (10, 10, 5, 5).

    Attributes:
        weights: of dx, dy, dw, dh.
        max_log_scale: decoding limits log(w / wa) and log(h / ha) to this, so that no exponential overflows;
            the default lets a 16 px reference grow to 1000 px.
    """

    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    max_log_scale: float = MAX_LOG_SCALE

    def __post_init__(self) -> None:
        if len(self.weights) != 4 or not all(weight > 0 for weight in self.weights):
            raise ValueError(f"weights must be 4 positive numbers, got {self.weights}")

    def encode(self, boxes: Tensor, references: Tensor) -> Tensor:
        """Offsets, (..., 4), of `boxes` from `references`, both (..., 4) xyxy of positive size.

        The shapes broadcast.
        """
        centres, sizes = _centres_and_sizes(boxes)
        reference_centres, reference_sizes = _centres_and_sizes(references)
        shifts = (centres - reference_centres) / reference_sizes
        scales = torch.log(sizes / reference_sizes)
        return torch.cat([shifts, scales], dim=-1) * boxes.new_tensor(self.weights)

    def decode(self, offsets: Tensor, references: Tensor) -> Tensor:
        """Boxes, (..., 4) xyxy, at `offsets` from `references`; the inverse of `encode`. Shapes broadcast."""
        centres, sizes = _centres_and_sizes(references)
        plain = offsets / offsets.new_tensor(self.weights)
        centres = centres + plain[..., :2] * sizes
        half = sizes * torch.exp(plain[..., 2:].clamp(max=self.max_log_scale)) / 2
        return torch.cat([centres - half, centres + half], dim=-1)


def _centres_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low
