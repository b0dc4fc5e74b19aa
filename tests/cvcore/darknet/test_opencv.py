"""Agreement with OpenCV 4's Darknet importer: raw outputs to 1e-4, final boxes to one pixel."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from cvcore.darknet.heads import decode_head
from cvcore.darknet.layers import Region
from cvcore.darknet.weights import write_weights
from cvcore.image.fit import Fit, clip_boxes, draw_fit, plan_fit
from cvcore.types import DetectOptions
from tests.cvcore.darknet.builds import REAL, RealDetector, cfg_text, random_network, real_detector, sections
from tests.data import shared_data

IMAGES = ("dog", "eagle", "giraffe", "horses", "kite", "person", "scream")
OPTIONS = DetectOptions(min_score=0.25, nms_iou=0.45, max_detections=1000)
Array = npt.NDArray[np.float32]

# Below these OpenCV's own last layers put scores to 0; region's also hides all but one of close boxes.
_YOLO_HIDES_BELOW = 0.2


@cache
def _real(folder: str) -> RealDetector:
    return real_detector(folder)


def _canvas(real: RealDetector, image_name: str) -> tuple[Tensor, Fit]:
    image = Image.open(shared_data("images", "darknet", f"{image_name}.jpg")).convert("RGB")
    fit = plan_fit(image.height, image.width, real.detector.input_spec)
    return torch.from_numpy(draw_fit(image, fit, real.detector.input_spec))[None], fit


@cache
def _reference(folder: str, image_name: str) -> tuple[list[Tensor], list[Tensor]]:
    """OpenCV's outputs before each head, and of each head: rows of x, y, w, h, objectness, classes."""
    real = _real(folder)
    heads = real.detector.network.cfg.heads
    last = ["detection_out" if isinstance(head, Region) else f"yolo_{head.index}" for head in heads]
    net = cv2.dnn.readNetFromDarknet(str(real.cfg_path), str(real.weights_path))
    net.setInput(real.detector.preprocess(_canvas(real, image_name)[0]).numpy())
    outputs = net.forward([f"conv_{head.index - 1}" for head in heads] + last)
    tensors = [torch.from_numpy(np.array(output)) for output in outputs]
    return tensors[: len(heads)], tensors[len(heads) :]


def _corners(rows: Tensor, height: int, width: int) -> Tensor:
    centre, size = rows[:, :2], rows[:, 2:4]
    return torch.cat([centre - size / 2, centre + size / 2], dim=1) * torch.tensor([width, height] * 2)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("folder", REAL)
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
def test_raw_outputs_agree_to_1e_4(folder: str, image: str, fused: bool) -> None:
    real = _real(folder)
    canvas, _ = _canvas(real, image)
    blob = real.detector.preprocess(canvas)
    (real.detector.network.fuse if fused else real.detector.network.unfuse)()
    with torch.inference_mode():
        raw = real.detector(blob)
    before, _ = _reference(folder, image)
    assert len(raw) == len(before)
    for ours, theirs in zip(raw, before, strict=True):
        assert theirs.abs().max() > 5, "the outputs are not trivial"
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("folder", REAL)
def test_decoded_boxes_and_scores_agree(folder: str, image: str) -> None:
    real = _real(folder)
    spec = real.detector.input_spec
    canvas, _ = _canvas(real, image)
    blob = real.detector.preprocess(canvas)
    with torch.inference_mode():
        raw = real.detector(blob)
    _, after = _reference(folder, image)
    for head, ours, rows in zip(real.detector.network.cfg.heads, raw, after, strict=True):
        found = decode_head(head, ours, height=spec.height, width=spec.width)
        boxes = _corners(rows, spec.height, spec.width)
        torch.testing.assert_close(found.boxes[0], boxes, atol=1e-2, rtol=0)
        scores, shown = found.class_scores[0], rows[:, 5:] > 0
        torch.testing.assert_close(scores[shown], rows[:, 5:][shown], atol=1e-4, rtol=0)
        if not isinstance(head, Region):
            assert scores[~shown].max() <= _YOLO_HIDES_BELOW + 1e-4


def _region_by_hand(head: Region, raw: Array, height: int, width: int) -> tuple[Array, Array]:
    """YOLOv2's decoding in numpy, as OpenCV's own hides suppressed boxes: corners and class scores."""
    rows, columns = raw.shape[2:]
    cells = raw[0].reshape(len(head.anchors), -1, rows, columns).transpose(2, 3, 0, 1)
    y, x = np.mgrid[:rows, :columns][..., None].astype(np.float32)
    centre_x = (x + 1 / (1 + np.exp(-cells[..., 0]))) / columns * width
    centre_y = (y + 1 / (1 + np.exp(-cells[..., 1]))) / rows * height
    w, h = (np.exp(cells[..., 2:4]) * np.array(head.anchors)).transpose(3, 0, 1, 2)
    half_w, half_h = w / columns * width / 2, h / rows * height / 2
    boxes = np.stack([centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h], axis=-1)
    classes = np.exp(cells[..., 5:] - cells[..., 5:].max(axis=-1, keepdims=True))
    classes /= classes.sum(axis=-1, keepdims=True)
    scores = classes / (1 + np.exp(-cells[..., 4:5]))
    return boxes.reshape(-1, 4).astype(np.float32), scores.reshape(-1, scores.shape[-1]).astype(np.float32)


def _reference_candidates(folder: str, image_name: str) -> tuple[Array, Array]:
    detector = _real(folder).detector
    spec, heads = detector.input_spec, detector.network.cfg.heads
    before, after = _reference(folder, image_name)
    if isinstance(heads[0], Region):
        return _region_by_hand(heads[0], before[0].numpy(), spec.height, spec.width)
    rows = torch.cat(after)
    return _corners(rows, spec.height, spec.width).numpy(), rows[:, 5:].numpy()


def _suppress_with_opencv(boxes: Array, scores: Array) -> list[tuple[int, float, Array]]:
    """Class by class: (label, score, box), canvas pixels."""
    corner_and_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
    kept = []
    for label in range(scores.shape[1]):
        near = np.flatnonzero(scores[:, label] > OPTIONS.min_score / 2)
        chosen = cv2.dnn.NMSBoxes(
            corner_and_size[near].tolist(), scores[near, label].tolist(), OPTIONS.min_score, OPTIONS.nms_iou
        )
        best = near[np.array(chosen, dtype=int).flatten()]
        kept += [(label, float(scores[i, label]), boxes[i]) for i in best]
    return sorted(kept, key=lambda item: -item[1])


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("folder", REAL)
def test_final_boxes_agree_to_one_source_pixel(folder: str, image: str) -> None:
    real = _real(folder)
    canvas, fit = _canvas(real, image)
    (found,) = real.detector.predict(canvas, [fit], OPTIONS)
    expected = _suppress_with_opencv(*_reference_candidates(folder, image))
    assert [label for label, _, _ in expected] == found.label_ids.tolist()
    if not expected:
        return
    boxes = fit.to_source(torch.from_numpy(np.stack([box for _, _, box in expected])))
    boxes = clip_boxes(boxes, height=fit.source_height, width=fit.source_width)
    assert (found.boxes - boxes).abs().max() < 1
    scores = torch.tensor([score for _, score, _ in expected])
    torch.testing.assert_close(found.scores, scores, atol=1e-4, rtol=0)


def test_some_image_has_boxes_for_every_detector() -> None:
    for folder in REAL:
        real = _real(folder)
        canvas, fit = _canvas(real, "person")
        assert len(real.detector.predict(canvas, [fit], OPTIONS)[0]) >= 3


CONV = "convolutional filters=8 size=3 pad=1 batch_normalize=1"
SYNTHETIC = {
    "reorg": ["convolutional filters=8 size=3 pad=1", "reorg stride=2", "convolutional filters=5 size=1"],
    "pools": ["maxpool size=2 stride=1", "maxpool size=2 stride=2", "maxpool size=3 stride=2", CONV],
    "spp": [
        CONV,
        "maxpool size=5 stride=1",
        "route layers=-2",
        "maxpool size=9 stride=1",
        "route layers=-1,-3,0",
    ],
    "groups": ["convolutional filters=6 groups=3 size=3 pad=1", "route layers=-1 groups=2 group_id=1", CONV],
    "residual": [f"{CONV} activation=leaky", CONV, "shortcut from=-2 activation=leaky", CONV],
    "upsample": [f"{CONV} stride=2 activation=relu", "upsample stride=2", "route layers=-1", CONV],
    "excite": [
        CONV,
        "avgpool",
        "convolutional filters=8 size=1 activation=logistic",
        "scale_channels from=0",
        CONV,
    ],
    "classify": [CONV, "avgpool", "convolutional filters=5 size=1 activation=linear", "softmax groups=1"],
    **{
        activation: [f"convolutional filters=8 size=3 pad=1 activation={activation}"]
        for activation in ("linear", "leaky", "relu", "logistic", "tanh", "swish", "mish")
    },
}


@pytest.mark.parametrize("name", SYNTHETIC)
def test_small_networks_with_our_weights_agree(name: str, tmp_path: Path) -> None:
    texts = [
        text if "activation" in text or not text.startswith("conv") else f"{text} activation=linear"
        for text in SYNTHETIC[name]
    ]
    size = {"height": 12, "width": 16}
    network = random_network(sections(*texts), **size)
    cfg_path, weights_path = tmp_path / "net.cfg", tmp_path / "net.weights"
    cfg_path.write_text(cfg_text(sections(*texts), **size))
    weights_path.write_bytes(write_weights(network))
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    images = torch.randn(1, 3, 12, 16, generator=torch.Generator().manual_seed(seed))
    net = cv2.dnn.readNetFromDarknet(str(cfg_path), str(weights_path))
    net.setInput(images.numpy())
    with torch.inference_mode():
        (ours,) = network(images)
    theirs = torch.from_numpy(np.array(net.forward())).reshape(ours.shape)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
