from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from cvcore.checkpoint import save_checkpoint
from cvcore.classify.darknet import build_darknet_classifier
from cvcore.darknet.classifiers import DarknetClassifier
from cvcore.darknet.detector import DarknetDetector
from cvcore.darknet.weights import write_weights
from cvcore.detect.yolo import build_tiny, build_yolo
from cvcore.errors import ModelError, WeightsError
from cvcore.image.fit import plan_fit
from cvcore.models import ModelSource, build_model, parse_labels
from cvcore.types import DetectOptions
from tests.data import shared_data

LABELS = ("bolt", "nut", "washer")
CONFIG: dict[str, Any] = {"width": 4, "input_size": 64}


def tiny_checkpoint(*, seed: int = 0, model: str = "tiny", config: dict[str, Any] | None = None) -> bytes:
    torch.manual_seed(seed)
    state = build_tiny(LABELS, **CONFIG).state_dict()
    return save_checkpoint(state, model=model, config=config or CONFIG, labels=LABELS, training={})


@pytest.mark.parametrize("name", ["tiny", ""])
def test_a_checkpoint_rebuilds_its_model(name: str) -> None:
    model = build_model(ModelSource(name, weights=tiny_checkpoint()))
    assert isinstance(model, DarknetDetector)
    assert not model.training
    assert model.labels == LABELS
    assert model.input_spec.height == 64
    torch.manual_seed(0)
    original = build_tiny(LABELS, **CONFIG).eval()
    canvases = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    fits, options = [plan_fit(64, 64, model.input_spec)], DetectOptions(min_score=0)
    found, expected = (m.predict(canvases, fits, options)[0] for m in (model, original))
    assert torch.equal(found.boxes, expected.boxes)


def test_labels_of_a_checkpoint_can_be_replaced_by_as_many() -> None:
    source = ModelSource("", weights=tiny_checkpoint(), labels=("a", "b", "c"))
    assert build_model(source).labels == ("a", "b", "c")
    with pytest.raises(ModelError, match="3 classes, but 2 labels"):
        build_model(ModelSource("", weights=tiny_checkpoint(), labels=("a", "b")))


def test_a_checkpoint_of_another_model_is_refused() -> None:
    source = ModelSource("ssd300_vgg16", weights=tiny_checkpoint(), weights_name="w.safetensors")
    with pytest.raises(ModelError, match=r"w\.safetensors holds a 'tiny', not a 'ssd300_vgg16'"):
        build_model(source)


@pytest.mark.parametrize(
    ("model", "config", "message"),
    [
        ("tiny2", None, "no model 'tiny2'.*Did you mean 'tiny'"),
        ("tiny", {"depth": 3}, "cannot be built.*depth"),
        ("tiny", {"width": 3, "input_size": 64}, "cannot be built.*even number"),
        ("tiny", {"width": 8, "input_size": 64}, "do not fit.*of another shape"),
    ],
)
def test_checkpoints_with_a_wrong_header(model: str, config: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(ModelSource("", weights=tiny_checkpoint(model=model, config=config)))


def test_a_pinned_digest_is_checked() -> None:
    data = tiny_checkpoint()
    pin = hashlib.sha256(data).hexdigest()
    assert isinstance(build_model(ModelSource("tiny", weights=data, weights_sha256=pin)), DarknetDetector)
    with pytest.raises(WeightsError, match="another file"):
        build_model(ModelSource("tiny", weights=tiny_checkpoint(seed=1), weights_sha256=pin))


@pytest.mark.parametrize("name", ["ssd300_vgg16", "tiny", "darknet19"])
def test_without_weights_the_message_says_what_to_pass(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name}.*pass"):
        build_model(ModelSource(name))


def test_a_foreign_file_needs_a_name() -> None:
    with pytest.raises(ModelError, match=r"net\.safetensors is not a Veedor checkpoint.*name one of tiny"):
        build_model(
            ModelSource(
                "", weights=safetensors.torch.save({"a": torch.ones(1)}), weights_name="net.safetensors"
            )
        )


def test_a_plain_state_dict_with_a_configuration() -> None:
    state = {k: v.contiguous() for k, v in build_tiny(LABELS, **CONFIG).state_dict().items()}
    source = ModelSource("tiny", weights=safetensors.torch.save(state), labels=LABELS, config=CONFIG)
    model = build_model(source)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


def test_darknet_detector_from_its_cfg() -> None:
    folder = shared_data("weights", "yolo-lite-voc")
    cfg, weights = (next(folder.glob(pattern)) for pattern in ("*.cfg", "*.weights"))
    source = ModelSource(
        cfg.name, cfg=cfg.read_text(), weights=weights.read_bytes(), weights_name=weights.name
    )
    model = build_model(source)
    assert isinstance(model, DarknetDetector)
    assert not model.training
    with pytest.raises(WeightsError, match="another file"):
        build_model(ModelSource(cfg.name, source.cfg, source.weights, weights_sha256="0" * 64))
    with pytest.raises(WeightsError):
        build_model(ModelSource(cfg.name, source.cfg, (source.weights or b"")[:-100]))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ModelSource("a/yolo.cfg", weights=b"x"), "text of its .cfg"),
        (ModelSource("a/yolo.cfg", cfg="[net]\n"), r"needs the \.weights file"),
    ],
)
def test_darknet_models_need_both_parts(source: ModelSource, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(source)


def test_darknet_classifier_from_darknet_weights() -> None:
    labels = tuple(f"class {i}" for i in range(5))
    stored = build_darknet_classifier(labels, version="darknet19").state_dict()
    num_values = sum(v.numel() for k, v in stored.items() if not k.endswith("num_batches_tracked"))
    header = np.array([0, 1, 0, 0], np.int32).tobytes()
    data = header + np.full(num_values, 0.5, np.float32).tobytes()
    source = ModelSource("darknet19", weights=data, weights_name="darknet19.weights", labels=labels)
    model = build_model(source)
    assert isinstance(model, DarknetClassifier)
    assert model.labels == labels
    with pytest.raises(WeightsError):
        build_model(replace(source, weights=data[:-4]))


def test_sources_can_be_sent_to_other_processes() -> None:
    source = ModelSource("tiny", weights=tiny_checkpoint(), labels=LABELS, config={"width": 4})
    assert pickle.loads(pickle.dumps(source)) == source
    assert len(repr(source)) < 500  # Weights stay out of logs.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\n", ("a", "b")),
        ("a\r\nb b\r\n\r\n\n", ("a", "b b")),
        ("\ufeffperson\ncafé", ("person", "café")),
        ("  x \ny", ("x", "y")),
    ],
)
def test_labels_files(text: str, expected: tuple[str, ...]) -> None:
    assert parse_labels(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "empty"), ("\n \n", "empty"), ("a\n\nb", "line 2"), ("a\nb\na\n", "'a' is on lines 1 and 3")],
)
def test_wrong_labels_files(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse_labels(text)


@pytest.mark.parametrize("name", ["coco.names", "voc.names"])
def test_real_labels_files(name: str) -> None:
    labels = parse_labels(shared_data("weights", name).read_text())
    assert len(labels) == {"coco.names": 80, "voc.names": 20}[name]


def test_darknets_weights_fit_the_yolo_that_the_catalogue_names() -> None:
    config = {"width": 0.1, "input_size": 64}
    torch.manual_seed(0)
    original = build_yolo(LABELS, version="v3-tiny", **config).eval()  # type: ignore[arg-type]
    source = ModelSource(
        "yolov3_tiny",
        weights=write_weights(original.network),
        weights_name="mine.weights",
        labels=LABELS,
        config=config,
    )
    model = build_model(source)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for level, expected in zip(model(images), original(images), strict=True):
            torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-5)
