"""Detectors of regions that selective search proposes (R-CNN, section 2.1; Fast R-CNN, section 2)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cvcore.detect.base import ProposalDetector
from cvcore.detect.contents import crop_contents
from cvcore.image.fit import Fit, clip_boxes
from cvcore.image.normalize import imagenet_floats
from cvcore.ops.padding import PaddedBoxes, pad_boxes


@dataclass(frozen=True, slots=True)
class ProposedImages:
    """A batch of images of any sizes, and the regions proposed in each.

    Attributes:
        images: for each (3, content height, content width), normalised: zero is the mean colour.
        regions: (B, P, 4), in the pixels of the images above, clipped to them.
    """

    images: list[Tensor]
    regions: PaddedBoxes

    def padded(self) -> Tensor:
        """All images at the top left of the smallest common canvas, (B, 3, H, W), the mean colour around."""
        height = max(image.shape[1] for image in self.images)
        width = max(image.shape[2] for image in self.images)
        canvas = self.images[0].new_zeros((len(self.images), 3, height, width))
        for place, image in zip(canvas, self.images, strict=True):
            place[:, : image.shape[1], : image.shape[2]] = image
        return canvas


class SearchingDetector(ProposalDetector):
    """Proposes by selective search, and crops images from their canvases.

    Attributes:
        max_proposals: regions of an image that are looked at, the best first.
    """

    max_proposals: int

    def propose(self, canvas: Tensor, fit: Fit) -> Tensor:
        """See `ProposalDetector.propose`: the paper's fast mode on what was drawn on the canvas."""
        # Imported when needed: proposals that are given need no search.
        search: Any = importlib.import_module("cvcore.propose.selective_search")
        bottom, right = fit.top + fit.content_height, fit.left + fit.content_width
        content = canvas[fit.top : bottom, fit.left : right].cpu().numpy()
        options = search.SelectiveSearchOptions(strategy="fast", max_boxes=self.max_proposals, seed=0)
        boxes = torch.from_numpy(search.selective_search(content, options)).to(canvas.device)
        return boxes + boxes.new_tensor([fit.left, fit.top] * 2)

    def preprocess(
        self,
        canvases: Tensor,
        fits: Sequence[Fit] | None = None,
        proposals: Sequence[Tensor] | None = None,
    ) -> ProposedImages:
        """See `ProposalDetector.preprocess`."""
        whole = Fit(*canvases.shape[1:3], *canvases.shape[1:3])
        placed = [whole] * len(canvases) if fits is None else list(fits)
        if proposals is None:
            proposals = [self.propose(canvas, fit) for canvas, fit in zip(canvases, placed, strict=True)]
        own = [
            _on_content(boxes[: self.max_proposals].to(canvases.device), fit)
            for boxes, fit in zip(proposals, placed, strict=True)
        ]
        images = imagenet_floats(canvases, next(self.parameters()).dtype)
        return ProposedImages(crop_contents(images, placed), pad_boxes(own))

    def count_boxes(self, images: ProposedImages) -> int:
        """See `Detector.count_boxes`: the proposed regions."""
        return int(images.regions.valid[0].sum())


def _on_content(boxes: Tensor, fit: Fit) -> Tensor:
    """Canvas boxes, (P, 4), in the pixels of what was drawn; those outside it are dropped."""
    moved = boxes - boxes.new_tensor([fit.left, fit.top] * 2)
    clipped = clip_boxes(moved, height=fit.content_height, width=fit.content_width)
    return clipped[(clipped[:, 2:] > clipped[:, :2]).all(dim=1)]
