"""`DarknetDetector`: labels, canvas, and what it refuses."""

from __future__ import annotations

import pickle

import pytest
import torch
from PIL import Image

from cvcore.darknet.cfg import parse_cfg
from cvcore.darknet.detector import DarknetDetector
from cvcore.darknet.weights import write_weights
from cvcore.errors import ModelError, WeightsError
from cvcore.image.fit import draw_fit, plan_fit
from cvcore.types import DetectOptions, InputSpec
from tests.cvcore.darknet.builds import cfg_text, randomize, real_detector, sections
from tests.data import shared_data

YOLO = sections(
    "convolutional filters=14 size=3 stride=2 pad=1 activation=linear",
    "yolo mask=0,1 anchors=4,4,8,8 num=2 classes=2",
)
V1 = sections("connected output=72 activation=linear", "detection side=3 num=1 classes=3")


def test_labels_default_to_numbered_classes() -> None:
    assert DarknetDetector.from_cfg(cfg_text(YOLO)).labels == ("class 0", "class 1")
    assert DarknetDetector.from_cfg(cfg_text(YOLO), labels=["cat", "dog"]).labels == ("cat", "dog")


def test_wrong_number_of_labels_says_both_counts() -> None:
    with pytest.raises(ModelError, match="2 classes, but 3 labels"):
        DarknetDetector.from_cfg(cfg_text(YOLO), labels=["a", "b", "c"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            cfg_text(sections("avgpool", "softmax")), r"no detection head.*\[softmax\]", id="classifier"
        ),
        pytest.param(cfg_text(YOLO, channels=1), "channels=1", id="gray"),
        pytest.param(
            cfg_text(
                sections(
                    "convolutional filters=14",
                    "yolo anchors=4,4,8,8 num=2 classes=2",
                    "route layers=0",
                    "convolutional filters=16",
                    "yolo anchors=4,4,8,8 num=2 classes=3",
                )
            ),
            r"disagree in classes: \[2, 3\]",
            id="heads",
        ),
    ],
)
def test_cfg_that_is_no_detector_is_refused(text: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        DarknetDetector.from_cfg(text)


def test_canvas_follows_the_cfg_or_the_override() -> None:
    assert DarknetDetector.from_cfg(cfg_text(YOLO)).input_spec == InputSpec(height=8, width=8)
    resized = DarknetDetector.from_cfg(cfg_text(YOLO), height=16, width=32)
    assert resized.input_spec == InputSpec(height=16, width=32)
    with torch.inference_mode():
        (raw,) = resized(torch.rand(2, 3, 16, 32))
    assert raw.shape == (2, 14, 8, 16)


def test_v1_stretches_its_canvas() -> None:
    assert DarknetDetector.from_cfg(cfg_text(V1, height=9, width=9)).input_spec.fit == "stretch"


def test_loading_fuses_in_evaluation_mode_and_errors_name_the_file() -> None:
    detector = DarknetDetector.from_cfg(cfg_text(YOLO))
    randomize(detector)
    data = write_weights(detector.network)
    assert detector.load_darknet_weights(data, name="some.weights").num_layers == 2
    with pytest.raises(WeightsError, match=r"some\.weights: too short"):
        detector.load_darknet_weights(data[:-4], name="some.weights")


def test_pickles_with_its_weights() -> None:
    detector = DarknetDetector.from_cfg(cfg_text(YOLO), labels=["cat", "dog"])
    randomize(detector)
    again = pickle.loads(pickle.dumps(detector))
    images = torch.rand(2, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(again(images)[0], detector(images)[0])
    assert again.labels == ("cat", "dog")


def test_predict_on_a_batch_equals_single_images() -> None:
    real = real_detector("yolo-fastest-1.1").detector
    options = DetectOptions()
    paths = sorted(shared_data("images", "darknet").glob("*.jpg"))[:3]
    images = [Image.open(path).convert("RGB") for path in paths]
    fits = [plan_fit(image.height, image.width, real.input_spec) for image in images]
    canvases = torch.stack(
        [
            torch.from_numpy(draw_fit(image, fit, real.input_spec))
            for image, fit in zip(images, fits, strict=True)
        ]
    )
    together = real.predict(canvases, fits, options)
    assert sum(len(found) for found in together) > 5
    for i, found in enumerate(together):
        (alone,) = real.predict(canvases[i : i + 1], fits[i : i + 1], options)
        assert torch.equal(alone.label_ids, found.label_ids)
        torch.testing.assert_close(alone.boxes, found.boxes, atol=1e-2, rtol=0)


def test_published_labels_name_what_is_in_the_picture() -> None:
    labels = shared_data("weights", "coco.names").read_text().split("\n")[:80]
    real = real_detector("yolo-fastest-1.1")
    detector = DarknetDetector(parse_cfg(real.cfg_path.read_text()), labels=labels)
    detector.load_darknet_weights(real.weights_path.read_bytes())
    image = Image.open(shared_data("images", "darknet", "dog.jpg")).convert("RGB")
    fit = plan_fit(image.height, image.width, detector.input_spec)
    canvas = torch.from_numpy(draw_fit(image, fit, detector.input_spec))[None]
    (found,) = detector.predict(canvas, [fit], DetectOptions())
    assert {"dog", "bicycle"} <= {detector.labels[i] for i in found.label_ids.tolist()}
