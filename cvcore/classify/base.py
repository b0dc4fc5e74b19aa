"""What every classifier is: one canvas in, a number for each class out.

    logits = model(model.preprocess(canvases))
    probabilities = torch.softmax(logits, dim=1)

A classifier is a trunk, which gives a map, and a head, which reads it: localisation adds a second head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from cvcore.image.normalize import imagenet_floats
from cvcore.types import InputSpec


class Classifier(nn.Module, ABC):
    """Base of classifiers.

    Attributes:
        input_spec: the canvas that it reads.
        labels: class names, in output order.
        config: JSON-able keyword arguments of its builder in the catalogue, labels apart.
        map_channels: of the map that the trunk gives.
        head_prefix: how the names of the tensors begin that depend on the number of classes.
    """

    input_spec: InputSpec
    labels: tuple[str, ...]
    config: dict[str, Any]
    map_channels: int
    head_prefix: str

    def preprocess(self, canvases: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 RGB canvases to what `trunk` reads, on their device.

        The default is torchvision's: (B, 3, H, W), less ImageNet's mean and over its deviation.
        """
        return imagenet_floats(canvases, next(self.parameters()).dtype)

    @abstractmethod
    def trunk(self, images: Tensor) -> Tensor:
        """`preprocess`'s output to a map, (B, map_channels, rows, columns)."""

    @abstractmethod
    def head(self, maps: Tensor) -> Tensor:
        """The trunk's map to (B, classes) logits."""

    def forward(self, images: Tensor) -> Tensor:
        """`preprocess`'s output to (B, classes) logits: their softmax are probabilities."""
        return self.head(self.trunk(images))
