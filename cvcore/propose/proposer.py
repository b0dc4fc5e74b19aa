"""Selective search as a model of the catalogue: canvases in, boxes out, nothing learnt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cvcore.image.fit import Fit
from cvcore.propose.options import SelectiveSearchOptions
from cvcore.propose.selective_search import selective_search
from cvcore.types import InputSpec

SIDE_PX = 500


class SelectiveSearch(nn.Module):
    """Searches images at the size at which they lie on the canvas.

    That makes regions of photographs of any size alike; small images are enlarged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.labels: tuple[str, ...] = ()
        self.input_spec = InputSpec(SIDE_PX, SIDE_PX, "letterbox")

    def forward(self, canvases: Tensor, fits: Sequence[Fit], options: SelectiveSearchOptions) -> list[Tensor]:
        """(B, H, W, 3) uint8 canvases to B times (N, 4) float32 xyxy pixels of the source, best first."""
        return [_search(canvas, fit, options) for canvas, fit in zip(canvases.cpu(), fits, strict=True)]


def _search(canvas: Tensor, fit: Fit, options: SelectiveSearchOptions) -> Tensor:
    drawn = canvas[fit.top : fit.top + fit.content_height, fit.left : fit.left + fit.content_width]
    boxes = torch.from_numpy(selective_search(drawn.numpy(), options))
    source = boxes * boxes.new_tensor([1 / fit.scale_x, 1 / fit.scale_y] * 2)
    return source.minimum(source.new_tensor([fit.source_width, fit.source_height] * 2))
