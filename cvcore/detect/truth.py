"""The ground truth of a batch, as losses read it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Truth:
    """The ground truth of a batch.

    Attributes:
        boxes: (N, 4) float32, xyxy, canvas pixels.
        label_ids: (N,) int64.
        image_index: (N,) int64, which image of the batch each box is in.
    """

    boxes: Tensor
    label_ids: Tensor
    image_index: Tensor

    def __post_init__(self) -> None:
        n = self.boxes.shape[0]
        if self.boxes.shape != (n, 4) or self.label_ids.shape != (n,) or self.image_index.shape != (n,):
            raise ValueError(
                f"ground truth disagrees in shape: boxes {tuple(self.boxes.shape)}, label_ids "
                f"{tuple(self.label_ids.shape)}, image_index {tuple(self.image_index.shape)}"
            )

    def to(self, device: torch.device) -> Truth:
        """The same on another device."""
        return Truth(self.boxes.to(device), self.label_ids.to(device), self.image_index.to(device))

    def padded(self, num_images: int) -> Tensor:
        """Boxes image by image, (num_images, most boxes of one, 4); behind an image's own are zeros."""
        counts = torch.bincount(self.image_index, minlength=num_images)
        order = self.image_index.argsort(stable=True)
        image = self.image_index[order]
        place = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[image]
        most = int(counts.max()) if len(counts) else 0
        boxes = self.boxes.new_zeros((num_images, most, 4))
        boxes[image, place] = self.boxes[order]
        return boxes


def best_overlaps(boxes: Tensor, truth: Truth) -> Tensor:
    """The greatest IoU of each box with any ground truth of its image: (B, K, 4) xyxy to (B, K)."""
    wanted = truth.padded(len(boxes))
    if not wanted.shape[1]:
        return boxes.new_zeros(boxes.shape[:2])
    low = torch.maximum(boxes[:, :, None, :2], wanted[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], wanted[:, None, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)  # (B, K, M)
    areas = box_areas(boxes)[:, :, None] + box_areas(wanted)[:, None]
    return (common / (areas - common).clamp(min=1e-9)).amax(dim=2)


def paired_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boxes that lie side by side, (..., 4) xyxy each: (...)."""
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)
    return common / (box_areas(first) + box_areas(second) - common).clamp(min=1e-9)


def box_areas(boxes: Tensor) -> Tensor:
    """(..., 4) xyxy to (...)."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def first_claims(places: Tensor, num_places: int) -> Tensor:
    """Which of (N,) claims on places is the first one on its own: (N,) bool, whatever the device's order."""
    rows = torch.arange(len(places), device=places.device)
    owner = places.new_full((num_places,), len(places)).scatter_reduce(0, places, rows, "amin")
    return owner[places] == rows
