"""A class and one box for each image: a classifier with a second head that regresses four coordinates.

After Overfeat (Sermanet et al. 2014, section 4): the regression reads the last pooled map, not what is left
of it after averaging, which no longer says where anything is; one box for all classes, which they found
better than one for each. The map is narrowed first, so that the head is small beside any trunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cvcore.classify.base import Classifier
from cvcore.detect.base import Detector
from cvcore.image.fit import Fit
from cvcore.types import Detections, DetectOptions

GRID, NARROW, HIDDEN = 7, 64, 512


class BoxHead(nn.Module):
    """A map to one box: narrowed by a 1x1 convolution, pooled to 7 x 7 cells, and two connected layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, NARROW, 1)
        self.pool = nn.AdaptiveAvgPool2d(GRID)
        self.hidden = nn.Linear(NARROW * GRID * GRID, HIDDEN)
        self.box = nn.Linear(HIDDEN, 4)
        nn.init.normal_(self.box.weight, std=0.001)
        with torch.no_grad():  # the middle of the canvas, which most objects hold
            self.box.bias.copy_(torch.tensor([0.25, 0.25, 0.75, 0.75]))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, rows, columns) to (B, 4): x1, y1, x2, y2 as shares of the canvas's sides."""
        x = self.pool(torch.relu(self.narrow(maps))).flatten(1)
        boxes: Tensor = self.box(torch.relu(self.hidden(x)))
        return boxes


class Localizer(Detector):
    """A classifier that also says where: one detection an image, of its likeliest class.

    Attributes:
        classifier: whose trunk both heads read; its canvas shows the whole image.
        config: of the classifier's builder, with `localize`.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.box_head = BoxHead(classifier.map_channels)
        self.labels, self.input_spec = classifier.labels, classifier.input_spec
        self.config: dict[str, Any] = classifier.config | {"localize": True}

    def preprocess(self, canvases: Tensor, fits: Sequence[Fit] | None = None) -> Tensor:
        """See `Classifier.preprocess`."""
        del fits
        return self.classifier.preprocess(canvases)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`preprocess`'s output to (B, classes) logits and (B, 4) boxes, shares of the canvas, xyxy."""
        maps = self.classifier.trunk(images)
        return self.classifier.head(maps), self.box_head(maps)

    def decode(
        self, raw: tuple[Tensor, Tensor], fits: Sequence[Fit], options: DetectOptions
    ) -> list[Detections]:
        """The likeliest class of each image and its box, canvas pixels; none below `options.min_score`."""
        logits, shares = raw
        assert len(logits) == len(fits)
        scores, label_ids = torch.softmax(logits.float(), dim=1).max(dim=1)
        boxes = in_canvas(shares.float(), height=self.input_spec.height, width=self.input_spec.width)
        kept = scores >= options.min_score
        return [
            Detections(
                boxes[i : i + 1][kept[i : i + 1]],
                *(t[i : i + 1][kept[i : i + 1]] for t in (scores, label_ids)),
            )
            for i in range(len(fits))
        ]


def in_canvas(shares: Tensor, *, height: int, width: int) -> Tensor:
    """Boxes from shares of the canvas to its pixels, corners in order and inside: (B, 4) xyxy to the same."""
    first, second = torch.minimum(shares[:, :2], shares[:, 2:]), torch.maximum(shares[:, :2], shares[:, 2:])
    corners = torch.cat([first, second], dim=1).clamp(0, 1)
    return corners * corners.new_tensor([width, height, width, height])
