"""Decoding of the heads against loops over Darknet's formulas, one box at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cvcore.darknet.cfg import parse_cfg
from cvcore.darknet.heads import HeadBoxes, decode_head
from cvcore.darknet.layers import Detection, Head, Region, Yolo
from tests.cvcore.darknet.builds import cfg_text, sections

ROWS, COLUMNS, HEIGHT, WIDTH = 3, 4, 48, 128


def _head(*texts: str, height: int = ROWS, width: int = COLUMNS) -> Head:
    (head,) = parse_cfg(cfg_text(sections(*texts), height=height, width=width)).heads
    return head


def _yolo(scale_x_y: float = 1.0) -> Yolo:
    head = _head(
        "convolutional filters=16",
        f"yolo mask=2,0 anchors=10,20,30,40,50,6 num=3 classes=3 scale_x_y={scale_x_y}",
    )
    assert isinstance(head, Yolo)
    return head


def _region(softmax: int = 1) -> Region:
    head = _head("convolutional filters=16", f"region anchors=1,2,3,.5 num=2 classes=3 softmax={softmax}")
    assert isinstance(head, Region)
    return head


def _detection(sqrt: int = 1, softmax: int = 0) -> Detection:
    head = _head("connected output=117", f"detection side=3 num=2 classes=3 sqrt={sqrt} softmax={softmax}")
    assert isinstance(head, Detection)
    return head


def _raw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def _decode(head: Head, raw: Tensor) -> HeadBoxes:
    return decode_head(head, raw, height=HEIGHT, width=WIDTH)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _corners(x: float, y: float, w: float, h: float) -> list[float]:
    """Relative centre and size to canvas corners."""
    return [(x - w / 2) * WIDTH, (y - h / 2) * HEIGHT, (x + w / 2) * WIDTH, (y + h / 2) * HEIGHT]


@pytest.mark.parametrize("stretch", [1.0, 1.2])
def test_yolo_equals_the_loop(stretch: float) -> None:
    head, raw = _yolo(stretch), _raw(2, 16, ROWS, COLUMNS)
    found = _decode(head, raw)
    assert found.boxes.shape == (2, 24, 4)
    assert found.class_scores.shape == (2, 24, 3)
    for b, j, i, a in np.ndindex(2, ROWS, COLUMNS, 2):
        v = raw[b, a * 8 : a * 8 + 8, j, i].tolist()
        w, h = ((50, 6), (10, 20))[a]
        x = (i + _logistic(v[0]) * stretch - 0.5 * (stretch - 1)) / COLUMNS
        y = (j + _logistic(v[1]) * stretch - 0.5 * (stretch - 1)) / ROWS
        box = _corners(x, y, math.exp(v[2]) * w / WIDTH, math.exp(v[3]) * h / HEIGHT)
        n = (j * COLUMNS + i) * 2 + a
        assert found.boxes[b, n].tolist() == pytest.approx(box, rel=1e-5, abs=1e-4)
        scores = [_logistic(v[4]) * _logistic(c) for c in v[5:]]
        assert found.class_scores[b, n].tolist() == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize("softmax", [0, 1])
def test_region_equals_the_loop(softmax: int) -> None:
    head, raw = _region(softmax), _raw(2, 16, ROWS, COLUMNS)
    found = _decode(head, raw)
    for b, j, i, a in np.ndindex(2, ROWS, COLUMNS, 2):
        v = raw[b, a * 8 : a * 8 + 8, j, i].tolist()
        w, h = ((1, 2), (3, 0.5))[a]
        x, y = (i + _logistic(v[0])) / COLUMNS, (j + _logistic(v[1])) / ROWS
        box = _corners(x, y, math.exp(v[2]) * w / COLUMNS, math.exp(v[3]) * h / ROWS)
        n = (j * COLUMNS + i) * 2 + a
        assert found.boxes[b, n].tolist() == pytest.approx(box, rel=1e-5, abs=1e-4)
        total = sum(math.exp(c) for c in v[5:])
        classes = [math.exp(c) / total if softmax else _logistic(c) for c in v[5:]]
        expected = [_logistic(v[4]) * p for p in classes]
        assert found.class_scores[b, n].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("sqrt", "softmax"), [(1, 0), (0, 1)])
def test_detection_equals_the_loop_over_darknets_flat_layout(sqrt: int, softmax: int) -> None:
    head, raw = _detection(sqrt, softmax), _raw(2, 117, 1, 1)
    found = _decode(head, raw)
    assert found.boxes.shape == (2, 18, 4)
    for b, cell, n in np.ndindex(2, 9, 2):
        v = raw[b].flatten().tolist()
        row, column = divmod(cell, 3)
        box = v[9 * 5 + (cell * 2 + n) * 4 :][:4]
        power = 2 if sqrt else 1
        expected = _corners((box[0] + column) / 3, (box[1] + row) / 3, box[2] ** power, box[3] ** power)
        assert found.boxes[b, cell * 2 + n].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-4)
        classes = v[cell * 3 :][:3]
        if softmax:
            classes = [math.exp(c) / sum(math.exp(k) for k in classes) for c in classes]
        scores = [v[27 + cell * 2 + n] * c for c in classes]
        assert found.class_scores[b, cell * 2 + n].tolist() == pytest.approx(scores, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("head", [_yolo(), _region()], ids=["yolo", "region"])
def test_memory_layout_and_batch_do_not_change_the_result(head: Head) -> None:
    raw = _raw(3, 16, ROWS, COLUMNS)
    whole = _decode(head, raw)
    last = _decode(head, raw.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last.boxes, whole.boxes)
    torch.testing.assert_close(last.class_scores, whole.class_scores)
    for i in range(3):
        single = _decode(head, raw[i : i + 1])
        torch.testing.assert_close(single.boxes[0], whole.boxes[i])
        torch.testing.assert_close(single.class_scores[0], whole.class_scores[i])


def test_scores_of_half_precision_outputs_are_computed_in_float32() -> None:
    found = _decode(_yolo(), _raw(1, 16, ROWS, COLUMNS).half())
    assert found.boxes.dtype == found.class_scores.dtype == torch.float32


def test_an_empty_batch_decodes_to_an_empty_batch() -> None:
    found = _decode(_yolo(), torch.zeros(0, 16, ROWS, COLUMNS))
    assert found.boxes.shape == (0, 24, 4)
