"""What is frozen gets no gradient and does not move, its batch norms' statistics included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cvcore.darknet.detectors import yolov2_cfg
from cvcore.detect.base import TrainableDetector
from cvcore.detect.fast_rcnn import build_fast_rcnn
from cvcore.detect.faster_rcnn import build_faster_rcnn
from cvcore.detect.rcnn import build_rcnn
from cvcore.detect.ssd import build_ssd
from cvcore.detect.truth import Truth
from cvcore.detect.yolo import build_darknet, build_yolo
from cvcore.errors import ModelError
from cvcore.train.batches import Batch
from cvcore.train.freeze import freeze
from cvcore.train.loop import DetectorLoss, detector_loss
from cvcore.train.progress import OptimizeOptions, Progress

REGIONS: dict[str, Any] = {
    "backbone": "squeezenet1_1",
    "shortest_edge": 96,
    "canvas": (96, 96),
    "head_width": 16,
}
MODELS: dict[str, Callable[[], TrainableDetector]] = {
    "yolov2": lambda: build_yolo(version="v2", width=0.05, input_size=96),
    "yolov3": lambda: build_yolo(version="v3", width=0.05, input_size=96),
    "ssd": lambda: build_ssd(backbone="squeezenet1_1", input_size=96, width=0.05),
    "faster_rcnn": lambda: build_faster_rcnn(**REGIONS, rpn_width=16, proposals=20, training_proposals=40),
}


def batch(size: int = 96) -> Batch:
    canvases = np.random.default_rng(0).integers(0, 255, (2, size, size, 3), dtype=np.uint8)
    boxes = torch.tensor([[10.0, 10, 60, 60], [30, 20, 90, 80]])
    return Batch(torch.from_numpy(canvases), Truth(boxes, torch.tensor([0, 1]), torch.tensor([0, 1])))


def trained(model: TrainableDetector, *, size: int = 96, steps: int = 2) -> dict[str, torch.Tensor]:
    """The state before; the model makes some steps."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    compute = detector_loss(model, DetectorLoss(model))
    Progress(model, model, compute, OptimizeOptions(1e-2, 10, 1)).train_epoch([batch(size)] * steps)
    return before


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("what", ["backbone", "3"])
def test_what_is_frozen_stays_and_the_rest_moves(name: str, what: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    count = freeze(model, what)
    frozen = {key for key, p in model.named_parameters() if not p.requires_grad}
    assert count == sum(p.numel() for p in model.parameters() if not p.requires_grad) > 0
    before = trained(model)
    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in frozen)
    for key, parameter in model.named_parameters():
        assert (parameter.grad is None) == (key in frozen), key
    moved = [key for key, p in model.named_parameters() if p.requires_grad]
    assert any(not torch.equal(after[key], before[key]) for key in moved)
    for path, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            is_frozen = f"{path}.weight" in frozen
            assert module.training != is_frozen
            same = torch.equal(after[f"{path}.running_mean"], before[f"{path}.running_mean"])
            assert same == is_frozen, path


def test_frozen_norms_stay_so_on_another_canvas() -> None:
    torch.manual_seed(0)
    model = MODELS["yolov3"]()
    freeze(model, "backbone")
    before = trained(model, size=128)
    assert torch.equal(
        model.state_dict()["network.blocks.0.norm.running_mean"],
        before["network.blocks.0.norm.running_mean"],
    )
    assert not torch.equal(
        model.state_dict()["network.blocks.76.norm.running_mean"],
        before["network.blocks.76.norm.running_mean"],
    )


@pytest.mark.parametrize(
    ("version", "convolutions"),
    [("v1", 20), ("v1-vgg16", 13), ("v2", 18), ("v3", 52)],
)
def test_a_yolos_backbone_is_the_classifier_of_its_paper(version: Any, convolutions: int) -> None:
    with torch.device("meta"):
        model = build_yolo(version=version)
    freeze(model, "backbone")
    frozen = {key for key, p in model.named_parameters() if not p.requires_grad}
    assert sum(key.endswith("conv.weight") for key in frozen) == convolutions


def test_another_cfgs_backbone_ends_with_its_last_pooling() -> None:
    text = yolov2_cfg(num_classes=2, anchors=[(10, 10)], size=96, width=0.1, body="tiny")
    with torch.device("meta"):
        model = build_darknet(cfg=text)
    freeze(model, "backbone")
    assert sum(not p.requires_grad for p in model.parameters()) == 3 * 6


@pytest.mark.parametrize("build", [build_rcnn, build_fast_rcnn], ids=["rcnn", "fast_rcnn"])
def test_models_of_given_regions_have_a_backbone_too(build: Any) -> None:
    with torch.device("meta"):
        model = build(backbone="squeezenet1_1")
    freeze(model, "backbone")
    assert all(p.requires_grad != key.startswith(("trunk", "crops")) for key, p in model.named_parameters())


def test_names_freeze_whole_parts_only() -> None:
    model = MODELS["ssd"]()
    freeze(model, "offsets.levels.1, logits")
    frozen = {key for key, p in model.named_parameters() if not p.requires_grad}
    assert {key for key in frozen if not key.startswith("logits.")} == {
        "offsets.levels.1.weight",
        "offsets.levels.1.bias",
    }
    assert len(frozen) > 4
    model = MODELS["yolov3"]()
    freeze(model, "network.blocks.1")
    assert {key for key, p in model.named_parameters() if not p.requires_grad} == {
        "network.blocks.1.conv.weight",
        "network.blocks.1.norm.weight",
        "network.blocks.1.norm.bias",
    }


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("network", "leaves nothing of the DarknetDetector to learn"),
        ("1000", "has 75 convolutions"),
        ("backbones", "Did you mean 'backbone'"),
        ("network.blocks.4000", "is no part of the DarknetDetector"),
        ("", "is no part of the DarknetDetector"),
    ],
)
def test_what_cannot_be_frozen_is_refused(what: str, message: str) -> None:
    model = MODELS["yolov3"]()
    with pytest.raises(ModelError, match=message):
        freeze(model, what)
    assert all(p.requires_grad for p in model.parameters())
