"""Networks for other classes, and weights that were made for something else."""

from __future__ import annotations

import pytest
import torch

from cvcore.checkpoint import save_checkpoint
from cvcore.darknet.cfg import parse_cfg
from cvcore.darknet.classifiers import darknet19_cfg
from cvcore.darknet.detectors import yolov1_cfg, yolov2_cfg, yolov3_tiny_cfg
from cvcore.darknet.retarget import retarget_cfg
from cvcore.darknet.weights import write_weights
from cvcore.detect.base import TrainableDetector
from cvcore.detect.ssd import build_ssd
from cvcore.detect.yolo import build_darknet, build_yolo
from cvcore.errors import ModelError, WeightsError
from cvcore.start import start_from

PAIRS = tuple((10.0 * k, 12.0 * k) for k in range(1, 7))
TEXTS = {
    "v1": yolov1_cfg(num_classes=4, size=64, width=0.02, body="tiny"),
    "v2": yolov2_cfg(num_classes=4, size=64, width=0.05, anchors=PAIRS[:5]),
    "v3": yolov3_tiny_cfg(num_classes=4, size=64, width=0.05, anchors=PAIRS),
}
SMALL = {"version": "v3-tiny", "width": 0.05, "input_size": 64}


@pytest.mark.parametrize("version", TEXTS)
def test_a_text_for_other_classes_is_what_would_have_been_written(version: str) -> None:
    expected = {
        "v1": yolov1_cfg(num_classes=7, size=64, width=0.02, body="tiny"),
        "v2": yolov2_cfg(num_classes=7, size=64, width=0.05, anchors=PAIRS[:5]),
        "v3": yolov3_tiny_cfg(num_classes=7, size=64, width=0.05, anchors=PAIRS),
    }
    changed = retarget_cfg(TEXTS[version], num_classes=7)
    assert parse_cfg(changed).layers == parse_cfg(expected[version]).layers


def test_anchors_can_be_changed_with_the_classes() -> None:
    other = [(w + 1, h + 2) for w, h in PAIRS]
    head = parse_cfg(retarget_cfg(TEXTS["v3"], num_classes=2, anchors=other)).heads[0]
    assert list(head.all_anchors) == other  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="has 6 anchors, 5 were given"):
        retarget_cfg(TEXTS["v3"], num_classes=2, anchors=other[:5])
    with pytest.raises(ModelError, match="no detection head"):
        retarget_cfg(darknet19_cfg(num_classes=4, size=64), num_classes=2)


def kept(model: TrainableDetector, state: dict[str, torch.Tensor]) -> tuple[int, int]:
    """How many tensors of a model are those of `state`, of all that could be."""
    own = model.state_dict()
    fitting = [key for key, value in own.items() if key in state and state[key].shape == value.shape]
    return sum(torch.equal(own[key], state[key]) for key in fitting), len(fitting)


@pytest.mark.parametrize("classes", [4, 9], ids=["its classes", "other classes"])
@pytest.mark.parametrize("version", TEXTS)
def test_whole_weights_of_any_number_of_classes_start_a_network(version: str, classes: int) -> None:
    torch.manual_seed(0)
    source = build_darknet(tuple(f"s{k}" for k in range(classes)), cfg=TEXTS[version])
    data = write_weights(source.network)
    model = build_darknet(("a", "b", "c", "d"), cfg=TEXTS[version])
    start_from(model, data, name="source.weights")
    state = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    same, all_of_them = kept(model, state)
    assert same == all_of_them
    assert all_of_them == len(state) - (0 if classes == 4 else 2 * len(model.network.cfg.heads))


def test_a_partial_file_fills_the_layers_that_it_holds() -> None:
    torch.manual_seed(0)
    source, model = (build_darknet(cfg=TEXTS["v3"]) for _ in range(2))
    start_from(model, write_weights(source.network, num_layers=8), name="body.conv.8")
    for one, other in zip(source.network.blocks[:8], model.network.blocks[:8], strict=True):
        assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
    assert not torch.equal(source.network.blocks[8].conv.weight, model.network.blocks[8].conv.weight)


def test_weights_of_another_network_are_refused() -> None:
    data = write_weights(build_darknet(cfg=TEXTS["v3"]).network)
    with pytest.raises(WeightsError, match="this network for no number of classes"):
        start_from(build_yolo(("a",), **{**SMALL, "width": 0.1}), data, name="other.weights")  # type: ignore[arg-type]


def test_a_checkpoint_of_another_width_is_refused() -> None:
    body = save_checkpoint(
        build_yolo(("a",), **{**SMALL, "width": 0.1}).state_dict(),  # type: ignore[arg-type]
        model="yolov3_tiny",
        config={},
        labels=("a",),
        training={},
    )
    with pytest.raises(ModelError, match="Give the width"):
        start_from(build_yolo(("a",), **SMALL), body, name="start.safetensors")  # type: ignore[arg-type]


def test_a_model_without_memory_finds_the_same_faults() -> None:
    data = write_weights(build_darknet(cfg=TEXTS["v3"]).network)
    with torch.device("meta"):
        fitting, other = build_darknet(cfg=TEXTS["v3"]), build_ssd(("a",), input_size=64)
    start_from(fitting, data, name="source.weights")
    with pytest.raises(WeightsError):
        start_from(other, data, name="source.weights")
