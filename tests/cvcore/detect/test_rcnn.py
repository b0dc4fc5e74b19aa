from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor
from torchvision.models import alexnet, squeezenet1_1

from cvcore.detect.rcnn import Rcnn, build_rcnn, sample_windows
from cvcore.detect.truth import Truth
from cvcore.errors import ModelError
from cvcore.image.fit import Fit, plan_fit
from cvcore.ops.padding import pad_boxes
from cvcore.types import DetectOptions
from tests.cvcore.detect.rcnn_samples import canvas, jittered, no_truth, train, truth


def small() -> Rcnn:
    torch.manual_seed(0)
    return build_rcnn(
        ("red", "blue"),
        backbone="squeezenet1_1",
        crop_size=32,
        canvas=(96, 128),
        dropout=0.0,
        max_proposals=200,
        positives=8,
        backgrounds=24,
    )


def test_the_paper_by_default() -> None:
    with torch.device("meta"):
        model = build_rcnn()
        pooled, features = model.crops(torch.zeros(1, 3, 227, 227))
    assert pooled.shape == (1, 9216)
    assert features.shape == (1, 4096)
    assert model.crop_size == 227
    assert model.classes.weight.shape == (21, 4096)
    assert (model.positives, model.backgrounds) == (32, 96)
    assert plan_fit(375, 500, model.input_spec).content_width == 500


def test_features_are_torchvisions() -> None:
    model = build_rcnn(crop_size=63).eval()
    classifier = alexnet(weights=None).eval()
    model.load_backbone(classifier.state_dict(), name="alexnet")
    crops = torch.randn(2, 3, 63, 63)
    with torch.inference_mode():
        features = model.crops(crops)[1]
        torch.testing.assert_close(classifier.classifier[6](features), classifier(crops))
    with pytest.raises(ModelError, match=r"squeezenet do not fit: 8 missing .*CropFeatures"):
        model.load_backbone(squeezenet1_1(weights=None).state_dict(), name="squeezenet")


def test_config_is_json_and_rebuilds_the_model() -> None:
    model = small().eval()
    again = build_rcnn(model.labels, **json.loads(json.dumps(model.config))).eval()
    again.load_state_dict(model.state_dict())
    with torch.inference_mode():
        first, second = (m(m.preprocess(canvas(), proposals=[jittered()])) for m in (model, again))
    assert torch.equal(first.scores, second.scores)
    assert again.config == model.config


def test_windows_of_a_mini_batch_come_from_all_images() -> None:
    """Positive from an IoU of 0.5 on, the ground truth among them, and background below."""
    box = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    tall = torch.tensor([[0.0, 0.0, 100.0, height] for height in (10.0, 49.0, 51.0, 99.0)])
    padded = Truth(box, torch.tensor([6]), torch.tensor([1])).padded(2)
    boxes, image, classes = sample_windows(pad_boxes([tall, tall]), padded, positives=32, backgrounds=96)
    assert classes[image == 0].tolist() == [0, 0, 0, 0]
    assert sorted(boxes[classes == 7][:, 3].tolist()) == [51, 99, 100]
    torch.manual_seed(0)
    many = pad_boxes([tall.repeat(100, 1), tall.repeat(100, 1)])
    classes = sample_windows(many, padded, positives=32, backgrounds=96)[2]
    assert (int((classes == 7).sum()), int((classes == 0).sum())) == (32, 96)


def test_runs_and_learns_in_bfloat16() -> None:
    model = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = model.losses(model.preprocess(canvas(), proposals=[jittered()]), truth())["total"]
    total.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(total)
    model.bfloat16().eval()
    with torch.inference_mode():
        raw = model(model.preprocess(canvas(), proposals=[jittered()]))
    assert model.finite(raw) == [True]
    assert raw.boxes.dtype == raw.scores.dtype == torch.float32


def test_every_parameter_learns() -> None:
    model = small()
    losses = model.losses(model.preprocess(canvas(), proposals=[jittered()]), truth())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


@pytest.mark.parametrize("num_proposals", [0, 50])
def test_images_without_objects_teach_the_background_alone(num_proposals: int) -> None:
    model = small()
    losses = model.losses(model.preprocess(canvas(), proposals=[jittered()[:num_proposals]]), no_truth())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(losses["total"])
    assert bool(losses["total"] > 0) == bool(num_proposals)


def three() -> tuple[Tensor, list[Fit], list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    canvases = torch.randint(0, 256, (3, 96, 128, 3), dtype=torch.uint8, generator=generator)
    fits = [plan_fit(h, w, small().input_spec) for h, w in ((96, 128), (128, 96), (192, 256))]
    return canvases, fits, [jittered(), jittered()[:31] / 2, jittered()[:0]]


def test_a_batch_gives_what_single_images_give() -> None:
    model = small().eval()
    canvases, fits, proposals = three()
    options = DetectOptions(min_score=0.05, nms_iou=0.3)
    with torch.inference_mode():
        together = model.postprocess(model(model.preprocess(canvases, fits, proposals)), fits, options)
        for k in range(3):
            own = model.preprocess(canvases[k : k + 1], fits[k : k + 1], proposals[k : k + 1])
            (alone,) = model.postprocess(model(own), fits[k : k + 1], options)
            assert bool(len(alone)) == bool(len(proposals[k]))
            torch.testing.assert_close(together[k].boxes, alone.boxes, atol=1e-2, rtol=0)
            torch.testing.assert_close(together[k].scores, alone.scores, atol=1e-4, rtol=0)


def test_chunks_of_crops_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small().eval()
    canvases, fits, proposals = three()
    with torch.inference_mode():
        proposed = model.preprocess(canvases, fits, proposals)
        whole = model(proposed)
        monkeypatch.setattr("cvcore.detect.rcnn._CHUNK_PIXELS", 7 * 32 * 32)
        torch.testing.assert_close(model(proposed).scores, whole.scores)


def test_what_surrounds_the_image_is_the_mean_colour() -> None:
    """The canvas's own gray outside an image is never seen, whichever images share the batch."""
    model = small().eval()
    canvases, fits, proposals = three()
    other = canvases.clone()
    other[1, :, fits[1].content_width :] = 0
    with torch.inference_mode():
        first, second = (model(model.preprocess(c, fits, proposals)) for c in (canvases, other))
    assert torch.equal(first.scores[1], second.scores[1])


def test_outputs_that_are_not_finite_are_told() -> None:
    model = small().eval()
    canvases, fits, proposals = three()
    with torch.inference_mode():
        proposed = model.preprocess(canvases, fits, proposals)
        assert model.finite(model(proposed)) == [True, True, True]
        proposed.images[1] = torch.full_like(proposed.images[1], torch.nan)
        assert model.finite(model(proposed)) == [True, False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "lenet"}, "alexnet, squeezenet1_1"),
        ({"crop_size": 40}, "crop_size must be at least 63 for alexnet"),
        ({"positives": 0}, "positives must be at least 1"),
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_rcnn(("a",), **change)  # type: ignore[arg-type]


def test_fine_tuning_tells_classes_apart() -> None:
    model = small()
    losses = train(model, lambda: model.preprocess(canvas(), proposals=[jittered()]), steps=40, rate=1e-3)
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5])
    fit = plan_fit(96, 128, model.input_spec)
    with torch.inference_mode():
        raw = model.eval()(model.preprocess(canvas(), [fit], [jittered()]))
    assert raw.scores[0, :30].argmax(dim=1).eq(0).all()
    assert raw.scores[0, 30:60].argmax(dim=1).eq(1).all()
