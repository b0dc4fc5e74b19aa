from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from cvcore.errors import CfgError, ImageError, ModelError, SpecError, VeedorError, WeightsError, did_you_mean
from cvcore.types import Detections, DetectOptions, InputSpec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0, "width": 5}, "0x5"),
        ({"height": 5, "width": -1}, "5x-1"),
        ({"height": 5, "width": 5, "fill": 256}, "256"),
        ({"height": 5, "width": 5, "fill": -1}, "-1"),
        ({"height": 5, "width": 5, "fit": "shortest_edge"}, "shortest_edge_px"),
    ],
)
def test_wrong_canvases(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputSpec(**arguments)


def test_bytes_of_a_canvas() -> None:
    assert InputSpec(4, 5).num_bytes == 60


@pytest.mark.parametrize(
    "arguments", [{"min_score": -0.1}, {"min_score": 1.1}, {"nms_iou": float("nan")}, {"max_detections": 0}]
)
def test_wrong_options(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        DetectOptions(**arguments)


@pytest.mark.parametrize(
    "arguments", [{"min_score": 0.0, "nms_iou": 1.0}, {"min_score": 1.0, "nms_iou": 0.0}]
)
def test_limits_of_options_are_allowed(arguments: dict[str, Any]) -> None:
    assert DetectOptions(**arguments).max_detections == 100


def detections(count: int, **changes: Any) -> Detections:
    parts = {"boxes": torch.zeros(count, 4), "scores": torch.zeros(count), "label_ids": torch.zeros(count)}
    return Detections(**{**parts, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"boxes": torch.zeros(3, 5)},
        {"scores": torch.zeros(2)},
        {"label_ids": torch.zeros(3, 1)},
        {"masks": torch.zeros(2, 8, 8, dtype=torch.bool)},
        {"masks": torch.zeros(3, 8, dtype=torch.bool)},
    ],
)
def test_detections_that_disagree(changes: dict[str, Any]) -> None:
    assert len(detections(3)) == 3
    with pytest.raises(ValueError, match="disagree"):
        detections(3, **changes)


def test_no_detections() -> None:
    assert len(detections(0)) == 0


@pytest.mark.parametrize("error", [SpecError, ModelError, WeightsError, CfgError])
def test_errors_are_of_the_project_and_pickle(error: type[VeedorError]) -> None:
    again = pickle.loads(pickle.dumps(error("message")))
    assert type(again) is error
    assert str(again) == "message"
    assert isinstance(again, VeedorError)


def test_image_errors_keep_their_code() -> None:
    again = pickle.loads(pickle.dumps(ImageError("truncated", "a.jpg is cut")))
    assert (again.code, str(again)) == ("truncated", "a.jpg is cut")


@pytest.mark.parametrize(("name", "expected"), [("tinny", " Did you mean 'tiny'?"), ("zzzzzz", ""), ("", "")])
def test_suggestions(name: str, expected: str) -> None:
    assert did_you_mean(name, ["tiny", "ssd300_vgg16"]) == expected
