from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchvision.models import squeezenet1_1
from torchvision.ops import box_iou

from cvcore.detect.fast_rcnn import FastRcnn, build_fast_rcnn
from cvcore.errors import ModelError
from cvcore.image.fit import Fit, plan_fit
from cvcore.types import DetectOptions
from tests.cvcore.detect.rcnn_samples import BOXES, canvas, jittered, no_truth, train, truth


def small() -> FastRcnn:
    torch.manual_seed(0)
    return build_fast_rcnn(
        ("red", "blue"),
        backbone="squeezenet1_1",
        stride=8,
        shortest_edge=96,
        canvas=(96, 128),
        head_width=64,
        dropout=0.0,
        max_proposals=200,
        regions_per_image=32,
    )


def test_the_paper_by_default() -> None:
    with torch.device("meta"):
        model = build_fast_rcnn()
    assert model.head.fc6.weight.shape == (4096, 512 * 7 * 7)
    assert (model.head.scores.out_features, model.head.offsets.out_features) == (21, 80)
    options = model.region_options
    assert (options.regions_per_image, options.foreground_share) == (64, 0.25)
    assert (options.foreground_iou, options.background_from) == (0.5, 0.1)


def test_config_is_json_and_rebuilds_the_model() -> None:
    model = small().eval()
    again = build_fast_rcnn(model.labels, **json.loads(json.dumps(model.config))).eval()
    again.load_state_dict(model.state_dict())
    with torch.inference_mode():
        first, second = (m(m.preprocess(canvas(), proposals=[jittered()])) for m in (model, again))
    assert torch.equal(first.logits, second.logits)
    assert again.config == model.config


def test_runs_and_learns_in_bfloat16() -> None:
    model = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.losses(model.preprocess(canvas(), proposals=[jittered()]), truth())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    exact = model.losses(model.preprocess(canvas(), proposals=[jittered()]), truth())["total"]
    assert losses["total"].item() == pytest.approx(exact.item(), rel=0.2)
    model.bfloat16().eval()
    with torch.inference_mode():
        raw = model(model.preprocess(canvas(), proposals=[jittered()]))
    assert model.finite(raw) == [True]
    assert raw.boxes.dtype == raw.logits.dtype == torch.float32


def test_every_parameter_learns() -> None:
    model = small()
    losses = model.losses(model.preprocess(canvas(), proposals=[jittered()]), truth())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


@pytest.mark.parametrize("num_proposals", [0, 50])
def test_images_without_objects_teach_the_background_alone(num_proposals: int) -> None:
    model = small()
    proposed = model.preprocess(canvas(), proposals=[jittered()[:num_proposals]])
    losses = model.losses(proposed, no_truth())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(losses["total"])
    assert bool(losses["classes"] > 0) == bool(num_proposals)
    assert losses["box"] == 0


def test_a_batch_gives_what_single_images_give() -> None:
    model = small().eval()
    generator = torch.Generator().manual_seed(1)
    canvases = torch.randint(0, 256, (3, 96, 128, 3), dtype=torch.uint8, generator=generator)
    fits = [plan_fit(height, width, model.input_spec) for height, width in ((96, 128), (128, 96), (192, 256))]
    proposals = [jittered(), jittered()[:31] / 2, jittered()[40:90]]
    options = DetectOptions(min_score=0.05, nms_iou=0.3)
    with torch.inference_mode():
        together = model.postprocess(model(model.preprocess(canvases, fits, proposals)), fits, options)
        for k in range(3):
            own = model.preprocess(canvases[k : k + 1], fits[k : k + 1], proposals[k : k + 1])
            (alone,) = model.postprocess(model(own), fits[k : k + 1], options)
            assert len(alone)
            torch.testing.assert_close(together[k].boxes, alone.boxes, atol=1e-2, rtol=0)
            torch.testing.assert_close(together[k].scores, alone.scores, atol=1e-4, rtol=0)


def test_an_image_without_proposals_has_no_detections() -> None:
    model = small().eval()
    fit = plan_fit(96, 128, model.input_spec)
    with torch.inference_mode():
        raw = model(model.preprocess(canvas(), [fit], [jittered()[:0]]))
        assert model.finite(raw) == [True]
        assert len(model.postprocess(raw, [fit], DetectOptions(min_score=0.0))[0]) == 0


def test_an_image_that_is_not_finite_is_told() -> None:
    model = small().eval()
    proposed = model.preprocess(canvas().repeat(2, 1, 1, 1), proposals=[jittered(), jittered()[:0]])
    with torch.inference_mode():
        assert model.finite(model(proposed)) == [True, True]
        proposed.images[1] = torch.full_like(proposed.images[1], torch.inf)
        assert model.finite(model(proposed)) == [True, False]


def test_proposals_are_clipped_to_what_was_drawn() -> None:
    model = small()
    fit = Fit(50, 50, 60, 60)
    inside, across, beside = [10.0, 10, 30, 30], [40.0, 50, 90, 96], [70.0, 10, 90, 30]
    proposed = model.preprocess(canvas(), [fit], [torch.tensor([inside, across, beside])])
    assert proposed.regions.boxes[0].tolist() == [inside, [40.0, 50, 60, 60]]
    assert proposed.images[0].shape == (3, 60, 60)


def test_regions_are_searched_where_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the drawn content alone, in the paper's fast mode; the search is told apart from its place."""
    asked: list[tuple[tuple[int, ...], dict[str, Any]]] = []

    def search(image: npt.NDArray[np.uint8], options: dict[str, Any]) -> npt.NDArray[np.float32]:
        asked.append((image.shape, options))
        return np.array([[0, 0, 20, 10]], np.float32)

    module: Any = ModuleType("cvcore.propose.selective_search")
    module.SelectiveSearchOptions, module.selective_search = dict, search
    monkeypatch.setitem(sys.modules, module.__name__, module)
    model = small()
    found = model.propose(canvas()[0], Fit(40, 60, 40, 60, top=8, left=16))
    assert found.tolist() == [[16.0, 8.0, 36.0, 18.0]]
    assert asked == [((40, 60, 3), {"strategy": "fast", "max_boxes": 200, "seed": 0})]
    assert model.preprocess(canvas()).regions.boxes.shape == (1, 1, 4)
    assert asked[1][0] == (96, 128, 3)


def test_starts_from_a_classifier() -> None:
    model = small()
    state = squeezenet1_1(weights=None).state_dict()
    model.load_backbone(state, name="squeezenet")
    assert torch.equal(model.trunk.features[12].squeeze.weight, state["features.12.squeeze.weight"])
    with pytest.raises(ModelError, match=r"nothing do not fit"):
        model.load_backbone({}, name="nothing")


def test_learns_one_image_by_heart() -> None:
    model = small()
    losses = train(model, lambda: model.preprocess(canvas(), proposals=[jittered()]), steps=50, rate=1e-3)
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
    fit = plan_fit(96, 128, model.input_spec)
    with torch.inference_mode():
        raw = model.eval()(model.preprocess(canvas(), [fit], [jittered()]))
        (found,) = model.postprocess(raw, [fit], DetectOptions(min_score=0.5, nms_iou=0.3))
    best = [int((found.label_ids == label).nonzero()[0]) for label in (0, 1)]
    assert (box_iou(found.boxes[best], BOXES).diagonal() > 0.6).all()
