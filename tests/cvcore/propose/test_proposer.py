"""Selective search as a model: canvases, and boxes in pixels of the source."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cvcore.errors import ModelError
from cvcore.image.fit import plan_fit
from cvcore.metrics.proposals import best_overlaps
from cvcore.models import ModelSource, build_model
from cvcore.propose.options import SelectiveSearchOptions
from cvcore.propose.proposer import SelectiveSearch

OPTIONS = SelectiveSearchOptions(max_boxes=200)


def canvas_with(width: int, height: int) -> tuple[torch.Tensor, list, np.ndarray]:
    """A (1, 500, 500, 3) canvas of a source image with a bright rectangle, and that in source pixels."""
    fit = plan_fit(height, width, SelectiveSearch().input_spec)
    truth = torch.tensor([[width * 0.25, height * 0.25, width * 0.75, height * 0.5]])
    canvas = torch.full((1, 500, 500, 3), 128, dtype=torch.uint8)
    canvas[0, fit.top : fit.top + fit.content_height, fit.left : fit.left + fit.content_width] = 60
    x0, y0, x1, y1 = fit.to_canvas(truth)[0].round().int().tolist()
    canvas[0, y0:y1, x0:x1] = 220
    return canvas, [fit], truth.numpy()


@pytest.mark.parametrize(("width", "height"), [(1000, 400), (300, 900), (120, 100)])
def test_boxes_are_in_pixels_of_the_source(width: int, height: int) -> None:
    canvas, fits, truth = canvas_with(width, height)
    (boxes,) = SelectiveSearch()(canvas, fits, OPTIONS)
    assert best_overlaps(boxes.numpy(), truth).min() > 0.9
    assert boxes.amin() >= 0
    assert (boxes[:, 2:] <= torch.tensor([width, height])).all()
    assert any(torch.allclose(box, torch.tensor([0.0, 0, width, height])) for box in boxes)


def test_a_batch_gives_what_single_canvases_give() -> None:
    first, second = canvas_with(1000, 400), canvas_with(300, 900)
    model = SelectiveSearch()
    both = model(torch.cat([first[0], second[0]]), first[1] + second[1], OPTIONS)
    for found, (canvas, fits, _) in zip(both, (first, second), strict=True):
        assert torch.equal(found, model(canvas, fits, OPTIONS)[0])


def test_it_is_built_without_weights_and_refuses_labels() -> None:
    assert isinstance(build_model(ModelSource("selective_search")), SelectiveSearch)
    with pytest.raises(ModelError, match="names no classes"):
        build_model(ModelSource("selective_search", labels=("a",)))
