from __future__ import annotations

import pytest
import torch

from cvcore.classify.darknet import build_darknet_classifier
from cvcore.classify.localizer import BoxHead, Localizer, in_canvas
from cvcore.image.fit import plan_fit
from cvcore.types import DetectOptions

LABELS = ("bolt", "nut")


@pytest.fixture(scope="module")
def model() -> Localizer:
    torch.manual_seed(0)
    built = build_darknet_classifier(LABELS, version="darknet19", input_size=64, width=0.1, localize=True)
    assert isinstance(built, Localizer)
    return built


def test_an_image_gives_its_likeliest_class_and_one_box(model: Localizer) -> None:
    fits = [plan_fit(128, 256, model.input_spec)] * 2
    raw = (
        torch.tensor([[0.0, 2.0], [1.0, 0.0]]),
        torch.tensor([[0.25, 0.5, 0.5, 1.5], [0.5, 0.5, 0.0, 0.0]]),
    )
    first, second = model.postprocess(raw, fits, DetectOptions())
    assert first.label_ids.tolist() == [1]
    assert first.scores.tolist() == pytest.approx([torch.tensor([0.0, 2.0]).softmax(0)[1].item()])
    assert first.boxes.tolist() == [[64.0, 64.0, 128.0, 128.0]]  # of the image, and inside of it
    assert second.boxes.tolist() == [[0.0, 0.0, 128.0, 64.0]]  # corners in order


def test_a_class_that_is_not_sure_enough_gives_nothing(model: Localizer) -> None:
    fits = [plan_fit(64, 64, model.input_spec)]
    raw = (torch.zeros(1, 2), torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    assert len(model.postprocess(raw, fits, DetectOptions(min_score=0.6))[0]) == 0
    assert len(model.postprocess(raw, fits, DetectOptions(min_score=0.4))[0]) == 1


def test_it_is_a_detector_from_canvases_to_boxes(model: Localizer) -> None:
    canvases = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    found = model.predict(canvases, [plan_fit(30, 90, model.input_spec)] * 2, DetectOptions(min_score=0))
    assert [len(each) for each in found] == [1, 1]
    assert model.finite(model(model.preprocess(canvases))) == [True, True]


def test_the_box_starts_in_the_middle_and_can_say_where_something_is() -> None:
    head = BoxHead(8)
    middle = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    torch.testing.assert_close(head(torch.zeros(1, 8, 9, 9)), middle, atol=0.02, rtol=0)
    left, right = torch.zeros(1, 8, 7, 7), torch.zeros(1, 8, 7, 7)
    left[..., 0], right[..., 6] = 3, 3
    assert not torch.equal(head(left), head(right))


def test_shares_become_pixels_of_a_canvas_that_is_not_square() -> None:
    found = in_canvas(torch.tensor([[-0.5, 0.1, 0.5, 2.0]]), height=100, width=50)
    torch.testing.assert_close(found, torch.tensor([[0.0, 10.0, 25.0, 100.0]]))
    assert in_canvas(torch.zeros(0, 4), height=9, width=9).shape == (0, 4)
