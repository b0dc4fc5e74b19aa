"""The generated .cfg texts against the published ones, and what the papers say of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cvcore.darknet.cfg import Cfg, parse_cfg
from cvcore.darknet.detectors import (
    Anchors,
    yolov1_cfg,
    yolov2_cfg,
    yolov3_cfg,
    yolov3_small_cfg,
    yolov3_tiny_cfg,
)
from cvcore.darknet.layers import Connected, Convolutional, Layer, Region, Yolo
from tests.data import shared_data

TEN = tuple((10.0 * k, 12.0 * k) for k in range(1, 11))


def published(name: str) -> Cfg:
    return parse_cfg((shared_data("weights/cfg") / f"{name}.cfg").read_text())


def without_lines(cfg: Cfg) -> list[Layer]:
    return [replace(layer, line=0) for layer in cfg.layers]


def own_anchors(cfg: Cfg) -> Anchors:
    head = cfg.heads[0]
    if isinstance(head, Region):
        return [(32 * w, 32 * h) for w, h in head.anchors]
    assert isinstance(head, Yolo)
    return head.all_anchors


@pytest.mark.parametrize("name", ["yolov2-voc", "yolov2-tiny-voc", "yolov3", "yolov3-tiny", "yolov1-tiny"])
def test_at_full_width_layers_are_the_published_ones(name: str) -> None:
    cfg = published(name)
    shape = {"num_classes": cfg.heads[0].num_classes, "size": cfg.input.height}
    match name:
        case "yolov1-tiny":
            text = yolov1_cfg(**shape, body="tiny")
        case "yolov2-voc":
            text = yolov2_cfg(**shape, anchors=own_anchors(cfg))
        case "yolov2-tiny-voc":
            text = yolov2_cfg(**shape, anchors=own_anchors(cfg), body="tiny")
        case "yolov3":
            text = yolov3_cfg(**shape, anchors=own_anchors(cfg))
        case _:
            text = yolov3_tiny_cfg(**shape, anchors=own_anchors(cfg))
    assert without_lines(parse_cfg(text)) == without_lines(cfg)


def counts(cfg: Cfg) -> tuple[int, int]:
    kinds = [type(layer) for layer in cfg.layers]
    return kinds.count(Convolutional), kinds.count(Connected)


@pytest.mark.parametrize(("body", "convolutions"), [("full", 24), ("fast", 9)])
def test_v1_has_the_papers_layers_and_output(body: str, convolutions: int) -> None:
    cfg = parse_cfg(yolov1_cfg(num_classes=20, body=body))
    assert counts(cfg) == (convolutions, 2)
    assert cfg.layers[-1].output.num_values == 7 * 7 * 30


def test_v1s_body_is_the_published_one() -> None:
    own, other = parse_cfg(yolov1_cfg(num_classes=20)), published("yolov1")
    assert without_lines(own)[:28] == without_lines(other)[:28]


def test_v2_passes_the_finer_map_through() -> None:
    cfg = parse_cfg(yolov2_cfg(num_classes=20, anchors=TEN[:5]))
    reorg = next(layer for layer in cfg.layers if layer.section == "reorg")
    assert (reorg.input.height, reorg.output.height) == (26, 13)
    assert cfg.heads[0].output.num_values == 13 * 13 * 125


def test_v3_has_10647_boxes_at_416() -> None:
    cfg = parse_cfg(yolov3_cfg(num_classes=80, anchors=TEN[:9]))
    assert sum(3 * head.output.height * head.output.width for head in cfg.heads) == 10_647
    assert [head.output.height for head in cfg.heads] == [13, 26, 52]
    masks = [head.mask for head in cfg.heads if isinstance(head, Yolo)]
    assert masks == [(6, 7, 8), (3, 4, 5), (0, 1, 2)]


def test_a_width_thins_every_layer_but_the_heads() -> None:
    whole, half = (parse_cfg(yolov3_cfg(num_classes=3, anchors=TEN[:9], width=width)) for width in (1.0, 0.5))
    for one, other in zip(whole.layers, half.layers, strict=True):
        is_head = any(head.index - 1 <= one.index <= head.index for head in whole.heads)
        assert other.output.channels == (one.output.channels if is_head else one.output.channels // 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 300}, "multiple of 32"),
        ({"width": 0}, "above 0"),
        ({"anchors": TEN}, "as many for each of 3 scales, got 10"),
    ],
    ids=["size", "width", "anchors"],
)
def test_impossible_ones_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        yolov3_cfg(**{"num_classes": 3, "anchors": TEN[:9], **change})  # type: ignore[arg-type]


def test_the_small_one_counts_its_first_layers_channels() -> None:
    cfg = parse_cfg(yolov3_small_cfg(num_classes=3, anchors=TEN[:9], width=8))
    assert cfg.layers[0].output.channels == 8
    with pytest.raises(ValueError, match="even number"):
        yolov3_small_cfg(num_classes=3, anchors=TEN[:9], width=7)
