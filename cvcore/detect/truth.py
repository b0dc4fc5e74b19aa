"""The ground truth of a batch, as losses read it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cvcore.ops.boxes import paired_iou
from cvcore.ops.padding import PaddedBoxes, pad_rows


@dataclass(frozen=True, slots=True)
class Truth:
    """The ground truth of a batch.

    Attributes:
        boxes: (N, 4) float32, xyxy, canvas pixels.
        label_ids: (N,) int64.
        image_index: (N,) int64, which image of the batch each box is in.
        masks: (N, H, W) uint8 on the canvas, 1 inside of each object; None for models without masks.
    """

    boxes: Tensor
    label_ids: Tensor
    image_index: Tensor
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        n = self.boxes.shape[0]
        if self.boxes.shape != (n, 4) or self.label_ids.shape != (n,) or self.image_index.shape != (n,):
            raise ValueError(
                f"ground truth disagrees in shape: boxes {tuple(self.boxes.shape)}, label_ids "
                f"{tuple(self.label_ids.shape)}, image_index {tuple(self.image_index.shape)}"
            )
        if self.masks is not None and (self.masks.dim() != 3 or self.masks.shape[0] != n):
            raise ValueError(f"ground truth disagrees: {n} boxes, masks of shape {tuple(self.masks.shape)}")

    def to(self, device: torch.device) -> Truth:
        """The same on another device."""
        masks = None if self.masks is None else self.masks.to(device)
        return Truth(self.boxes.to(device), self.label_ids.to(device), self.image_index.to(device), masks)

    def of_images(self, num_images: int) -> list[Truth]:
        """One for each image of the batch, image by image; `image_index` becomes 0."""
        each = []
        for image in range(num_images):
            own = self.image_index == image
            masks = None if self.masks is None else self.masks[own]
            zeros = torch.zeros_like(self.image_index[own])
            each.append(Truth(self.boxes[own], self.label_ids[own], zeros, masks))
        return each

    def rows(self, images: Tensor, places: Tensor) -> Tensor:
        """(R,) rows of this truth, of (R,) images and places in them as `padded` lays them out."""
        order = self.image_index.argsort(stable=True)
        counts = torch.bincount(self.image_index, minlength=int(images.max()) + 1 if len(images) else 0)
        return order[(counts.cumsum(0) - counts)[images] + places]

    def padded(self, num_images: int) -> PaddedTruth:
        """The same as one row an image, as long as the fullest needs; at least one place."""
        boxes, valid = pad_rows(self.boxes, self.image_index, num_images)
        label_ids, _ = pad_rows(self.label_ids, self.image_index, num_images)
        return PaddedTruth(boxes, label_ids, valid)


@dataclass(frozen=True, slots=True)
class PaddedTruth:
    """The ground truth of B images, each with M places, some of them empty.

    Attributes:
        boxes: (B, M, 4) float32, xyxy, canvas pixels; 0 in empty places, which come last.
        label_ids: (B, M) int64; 0 in empty places.
        valid: (B, M) bool, False for empty places.
    """

    boxes: Tensor
    label_ids: Tensor
    valid: Tensor

    def padded_boxes(self) -> PaddedBoxes:
        """Without the labels."""
        return PaddedBoxes(self.boxes, self.valid)


def best_overlaps(boxes: Tensor, truth: Truth) -> Tensor:
    """The greatest IoU of each box with any ground truth of its image: (B, K, 4) xyxy to (B, K)."""
    wanted = truth.padded(len(boxes)).boxes
    return paired_iou(boxes[:, :, None], wanted[:, None]).amax(dim=2)


def first_claims(places: Tensor, num_places: int) -> Tensor:
    """Which of (N,) claims on places is the first one on its own: (N,) bool, whatever the device's order."""
    rows = torch.arange(len(places), device=places.device)
    owner = places.new_full((num_places,), len(places)).scatter_reduce(0, places, rows, "amin")
    return owner[places] == rows
