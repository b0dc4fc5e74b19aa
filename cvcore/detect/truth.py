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

    def of_images(self, num_images: int) -> list[Truth]:
        """One for each image of the batch, image by image; `image_index` becomes 0."""
        each = []
        for image in range(num_images):
            own = self.image_index == image
            each.append(Truth(self.boxes[own], self.label_ids[own], torch.zeros_like(self.image_index[own])))
        return each
