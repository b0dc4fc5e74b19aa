from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvcore.detect.base import Detector
from cvcore.image.fit import Fit, plan_fit
from cvcore.types import Detections, DetectOptions, InputSpec


class Echo(Detector):
    """Finds one box, over the canvas pixels given, whatever the image."""

    def __init__(self, box: tuple[float, ...]) -> None:
        super().__init__()
        self.box = nn.Parameter(torch.tensor(box))
        self.input_spec = InputSpec(20, 40)
        self.labels = ("thing",)

    def forward(self, images: Tensor) -> Tensor:
        return images

    def decode(self, raw: Any, fits: Sequence[Fit], options: DetectOptions) -> list[Detections]:
        del raw, options
        one = Detections(self.box[None], torch.ones(1), torch.zeros(1, dtype=torch.int64))
        return [one for _ in fits]


def test_preprocess_scales_to_one_and_puts_channels_first() -> None:
    model = Echo((0.0, 0.0, 1.0, 1.0))
    canvases = torch.randint(0, 256, (2, 20, 40, 3), dtype=torch.uint8)
    images = model.preprocess(canvases)
    assert images.shape == (2, 3, 20, 40)
    torch.testing.assert_close(images, canvases.permute(0, 3, 1, 2).float() / 255)
    assert model.double().preprocess(canvases, [plan_fit(5, 5, model.input_spec)] * 2).dtype == torch.float64


def test_boxes_come_back_in_source_pixels_clipped() -> None:
    model = Echo((5.0, -3.0, 25.0, 15.0))
    fit = plan_fit(100, 100, model.input_spec)  # Drawn 20 x 20 from x = 10 on.
    (found,) = model.predict(torch.zeros(1, 20, 40, 3, dtype=torch.uint8), [fit], DetectOptions())
    assert found.boxes.tolist() == [[0.0, 0.0, 75.0, 75.0]]


def test_boxes_beside_the_image_are_dropped() -> None:
    model = Echo((0.0, 0.0, 9.0, 20.0))
    fit = plan_fit(100, 100, model.input_spec)
    (found,) = model.predict(torch.zeros(1, 20, 40, 3, dtype=torch.uint8), [fit], DetectOptions())
    assert len(found) == 0


@dataclass(frozen=True)
class Pair:
    first: Tensor
    rest: list[Tensor]


def batch(*bad: int, value: float = float("nan"), shape: tuple[int, ...] = (3, 2, 2)) -> Tensor:
    tensor = torch.ones(shape)
    for index in bad:
        tensor[index] = value
    return tensor


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (batch(), [True, True, True]),
        (batch(1), [True, False, True]),
        (batch(2, value=float("-inf")), [True, True, False]),
        ((batch(0), batch(1, shape=(3,))), [False, False, True]),
        ({"a": batch(), "b": [batch(2), (batch(0),)]}, [False, True, False]),
        (Pair(batch(1), [batch(2), batch()]), [True, False, False]),
        ([{"a": batch()}, {"a": batch(0)}, {"a": torch.zeros(0, 4), "b": batch()}], [True, False, True]),
        ([{"a": {"deep": batch(1)}}], [False]),
        (torch.ones(2, 3, dtype=torch.int64), [True, True]),
        (torch.ones(2, 0), [True, True]),
        (batch(1).half(), [True, False, True]),
        ([], []),
    ],
)
def test_finite_tells_images_apart(raw: Any, expected: list[bool]) -> None:
    assert Echo((0.0, 0.0, 1.0, 1.0)).finite(raw) == expected


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ((batch(), torch.ones(2, 4)), ValueError),
        (torch.tensor(1.0), ValueError),
        (((), ()), ValueError),
        ((batch(), 3.0), TypeError),
        (None, TypeError),
    ],
)
def test_finite_refuses_what_it_cannot_tell(raw: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Echo((0.0, 0.0, 1.0, 1.0)).finite(raw)
