"""Darknet's published `.cfg` files and a published partial backbone."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from cvcore.darknet.cfg import parse_cfg
from cvcore.darknet.weights import WeightsHeader, cutoff_from_name, load_weights, weight_chunks
from cvcore.errors import WeightsError
from tests.cvcore.darknet.builds import empty_network
from tests.data import shared_data

# Every published file with its values, and whether a forward pass is quick enough for a test.
PUBLISHED = {
    "cfg/alexnet.cfg": False,
    "cfg/darknet.cfg": True,
    "cfg/darknet19.cfg": True,
    "cfg/darknet53.cfg": False,
    "cfg/extraction.cfg": False,
    "cfg/vgg-16.cfg": False,
    "cfg/yolov1-tiny.cfg": True,
    "cfg/yolov1.cfg": False,
    "cfg/yolov2-tiny-voc.cfg": False,
    "cfg/yolov2-tiny.cfg": False,
    "cfg/yolov2-voc.cfg": False,
    "cfg/yolov2.cfg": False,
    "cfg/yolov3-spp.cfg": False,
    "cfg/yolov3-tiny.cfg": True,
    "cfg/yolov3.cfg": False,
    "mobilenetv2-nano-imagenet/MobileNetV2-YOLOv3-Nano-voc.cfg": True,
    "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc-v2.cfg": True,
    "yolo-fastest-1.1/yolo-fastest-1.1.cfg": True,
    "yolo-lite-voc/tiny-yolov2-trial3-noBatch.cfg": True,
}


def test_the_list_names_every_file_there_is() -> None:
    base = shared_data("weights")
    assert {str(path.relative_to(base)) for path in base.glob("*/*.cfg")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_builds_and_round_trips_random_weights_exactly(name: str) -> None:
    network = empty_network(shared_data("weights", *name.split("/")).read_text())
    assert network.cfg.unused == ()
    header = WeightsHeader(seen=64)
    values = np.random.default_rng(len(name)).random(network.cfg.num_weights, dtype=np.float32)
    data = header.to_bytes() + values.tobytes()
    del values
    load_weights(network, data, name=name)
    rest = memoryview(data)
    for chunk in weight_chunks(network, header=header):
        assert rest[: len(chunk)] == chunk
        rest = rest[len(chunk) :]
    assert len(rest) == 0


@pytest.mark.parametrize("name", [name for name, is_light in PUBLISHED.items() if is_light])
def test_light_networks_run_with_the_inferred_shapes(name: str) -> None:
    network = empty_network(shared_data("weights", *name.split("/")).read_text())
    values = np.full(network.cfg.num_weights, 1e-3, dtype=np.float32)
    load_weights(network, WeightsHeader().to_bytes() + values.tobytes(), name=name)
    canvas = network.cfg.input
    with torch.inference_mode():
        outputs = network.fuse()(torch.rand(1, canvas.channels, canvas.height, canvas.width))
    ends = network.cfg.heads or network.cfg.layers[-1:]
    shapes = [(1, end.output.channels, end.output.height, end.output.width) for end in ends]
    assert [tuple(output.shape) for output in outputs] == shapes
    assert all(torch.isfinite(output).all() for output in outputs)


@pytest.mark.parametrize(
    ("folder", "stem", "num_values"),
    [
        ("yolo-fastest-1.1", "yolo-fastest-1.1", 346_062),
        ("mobilenetv2-yolo-fastest-voc", "MobileNetV2-YOLO-Fastest-voc-v2", 209_864),
        ("yolo-lite-voc", "tiny-yolov2-trial3-noBatch", 572_317),
    ],
)
def test_published_weights_are_rewritten_byte_for_byte(folder: str, stem: str, num_values: int) -> None:
    data = shared_data("weights", folder, f"{stem}.weights").read_bytes()
    network = empty_network(shared_data("weights", folder, f"{stem}.cfg").read_text())
    assert network.cfg.num_weights == num_values
    loaded = load_weights(network, data)
    assert b"".join(weight_chunks(network.fuse(), header=loaded.header)) == data


def test_partial_backbone_loads_into_the_cfg_beside_it() -> None:
    path = shared_data("weights", "mobilenetv2-nano-imagenet", "MobileNetV2-Nano.57")
    cfg = path.with_name("MobileNetV2-YOLOv3-Nano-voc.cfg")
    network = empty_network(cfg.read_text())
    cutoff = cutoff_from_name(path.name)
    assert cutoff == 57
    data = path.read_bytes()
    loaded = load_weights(network, data, name=path.name, num_layers=cutoff)
    assert loaded.num_layers == 57
    assert b"".join(weight_chunks(network, header=loaded.header, num_layers=57)) == data
    with pytest.raises(WeightsError, match=f"expected {network.cfg.num_weights} .* found 368864"):
        load_weights(network, data, name=os.fspath(path))


def test_shapes_scale_with_the_canvas() -> None:
    text = shared_data("weights", "cfg", "yolov3.cfg").read_text()
    sizes = [head.output.height for head in parse_cfg(text, height=416, width=416).heads]
    assert sizes == [13, 26, 52]
    assert 3 * sum(size**2 for size in sizes) == 10_647, "boxes at 416, as published"
