"""Images a second of every detector, and of its twin in torchvision or OpenCV, in turns.

    python benchmarks/detector_speed.py [--json] [--only NAME ...] [--rounds 3] [--threads 1] [--device cuda]

Weights are random, so only the time counts; both sides have the same canvas, number of classes, thresholds,
proposals and threads, and one image at a time, which is in memory. On a CPU with one thread, processor time
is counted, so that whatever else runs on the machine takes from neither. Models that are too slow for a CPU
at their papers' size are measured on a smaller canvas, or with fewer regions, as the table says. What is
compared runs in turns; medians count.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from common import Claim, argument_parser, in_turns, report
from torch import Tensor
from torchvision.models import vgg16
from torchvision.models.detection import FasterRCNN, ssd300_vgg16
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from cvcore.catalog import find_model
from cvcore.darknet.model import DarknetModel
from cvcore.darknet.weights import write_weights
from cvcore.detect.base import Detector, ProposalDetector
from cvcore.image.fit import Fit
from cvcore.models import build_entry
from cvcore.types import DetectOptions

OPTIONS = DetectOptions(min_score=0.05, nms_iou=0.45, max_detections=100)
NUM_CLASSES = 20
SIDE = {"faster_rcnn": 400, "fast_rcnn": 256, "rcnn": 256, "yolov3": 320}
"""Canvases where the catalogue's is too large for a CPU, pixels."""
REGIONS = 100
"""Given ones, of R-CNN and Fast R-CNN, whose papers have 2,000."""

Run = Callable[[], Any]


@dataclass(frozen=True)
class Subject:
    """What runs in turns: ours alone and with its decoding, and the twin, with or without its own."""

    name: str
    canvas: str
    network: Run
    detect: Run | None
    twin: str = ""
    twin_run: Run | None = None
    twin_detects: bool = True


def build(name: str, **config: Any) -> Any:
    """A model of the catalogue with random weights, fused where it can be."""
    torch.manual_seed(0)
    model = build_entry(find_model(name), None, config, name=name).eval()
    if isinstance(model, DarknetModel):
        model.network.fuse()
    return model


def config_of(name: str) -> dict[str, Any]:
    """Where the model differs from the catalogue's for a CPU."""
    side = SIDE.get(name)
    if side is None:
        return {}
    if name == "yolov3":
        return {"input_size": side}
    if name == "rcnn":
        return {"canvas": (side, side)}
    shape = {"shortest_edge": side, "canvas": (side, side)}
    return shape | ({"pool": "align"} if name == "faster_rcnn" else {})


def detector_subject(name: str, device: torch.device, scratch: Path) -> Subject:
    """One of our detectors, beside its twin."""
    model: Detector = build(name, **config_of(name)).to(device)
    spec = model.input_spec
    generator = torch.Generator().manual_seed(1)
    canvas = torch.randint(0, 256, (1, spec.height, spec.width, 3), dtype=torch.uint8, generator=generator)
    canvas, fits = canvas.to(device), [Fit(spec.height, spec.width, spec.height, spec.width)]
    given = _regions(spec.height, generator).to(device)

    def preprocessed() -> Any:
        if isinstance(model, ProposalDetector):
            return model.preprocess(canvas, fits, [given])
        return model.preprocess(canvas, fits)

    def network() -> Any:
        return model(preprocessed())

    def detect() -> Any:
        return model.postprocess(model(preprocessed()), fits, OPTIONS)

    twin, twin_run, detects = _twin(name, model, canvas, scratch)
    shown = f"{spec.height} px" + (
        f", {REGIONS} given regions" if isinstance(model, ProposalDetector) else ""
    )
    return Subject(name, shown, network, detect, twin, twin_run, detects)


def classifier_subject(scratch: Path) -> Subject:
    """Darknet-19 beside OpenCV's."""
    model = build("darknet19")
    canvas = torch.rand(1, 3, 256, 256)
    net = _opencv(model, scratch)
    return Subject("darknet19", "256 px", lambda: model(canvas), None, "OpenCV", _forward(net, canvas), False)


def _twin(name: str, model: Any, canvas: Tensor, scratch: Path) -> tuple[str, Run | None, bool]:
    images = canvas.permute(0, 3, 1, 2).float().div(255)
    if name == "ssd300":
        ssd = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=NUM_CLASSES + 1).eval()
        ssd.score_thresh, ssd.nms_thresh = OPTIONS.min_score, OPTIONS.nms_iou
        ssd.detections_per_img = OPTIONS.max_detections
        ssd.to(canvas.device)
        return "torchvision's ssd300_vgg16", lambda: ssd(list(images)), True
    if name == "faster_rcnn":
        rcnn = faster_rcnn_twin(canvas.shape[1]).to(canvas.device)
        return "torchvision's FasterRCNN on VGG16", lambda: rcnn(list(images)), True
    if name in ("yolov2_tiny", "yolov3_tiny") and canvas.device.type == "cpu":
        return "OpenCV", _forward(_opencv(model, scratch), images), False
    return "", None, True


def faster_rcnn_twin(side: int) -> Any:
    """torchvision's, with the paper's trunk, anchors, proposals and head, on a square canvas."""
    trunk: Any = vgg16(weights=None).features[:30]
    trunk.out_channels = 512
    return FasterRCNN(
        trunk,
        min_size=side,
        max_size=side,
        rpn_anchor_generator=AnchorGenerator(((128, 256, 512),), ((0.5, 1.0, 2.0),)),
        rpn_pre_nms_top_n_test=6000,
        rpn_post_nms_top_n_test=300,
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(512 * 49, 4096),
        box_predictor=FastRCNNPredictor(4096, NUM_CLASSES + 1),
        box_score_thresh=OPTIONS.min_score,
        box_nms_thresh=OPTIONS.nms_iou,
        box_detections_per_img=OPTIONS.max_detections,
    ).eval()


def _opencv(model: DarknetModel, scratch: Path) -> Any:
    cfg, weights = scratch / "net.cfg", scratch / "net.weights"
    cfg.write_text(model.cfg_text)
    weights.write_bytes(write_weights(model.network))
    return cv2.dnn.readNetFromDarknet(str(cfg), str(weights))


def _forward(net: Any, images: Tensor) -> Run:
    blob, names = images.numpy(), net.getUnconnectedOutLayersNames()

    def run() -> Any:
        net.setInput(blob)
        return net.forward(names)

    return run


def _regions(side: int, generator: torch.Generator) -> Tensor:
    corners = torch.rand(REGIONS, 2, generator=generator) * side * 0.7
    sizes = side * (0.1 + 0.2 * torch.rand(REGIONS, 2, generator=generator))
    return torch.cat([corners, corners + sizes], dim=1)


def measure(subject: Subject, *, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds an image, by what was run."""
    runs = {"network": subject.network, "detect": subject.detect, "twin": subject.twin_run}
    return in_turns({name: run for name, run in runs.items() if run is not None}, rounds=rounds, clock=clock)


def claims_of(subject: Subject, found: dict[str, float]) -> list[Claim]:
    """What was found of one model."""
    rates = [f"network {1 / found['network']:.2f} images/s"]
    if "detect" in found:
        rates.append(f"with decoding and suppression {1 / found['detect']:.2f}")
    claims = [Claim(f"{subject.name}, {subject.canvas}, one image at a time", "", ", ".join(rates))]
    if "twin" in found:
        ours = found["detect" if subject.twin_detects else "network"]
        ratio = found["twin"] / ours
        claims.append(
            Claim(
                f"{subject.name}, {subject.canvas}: images/s, ÷ {subject.twin}",
                "≥ 1",
                f"{ratio:.2f} ({1 / ours:.2f} / {1 / found['twin']:.2f} images/s)",
                ratio >= 1,
            )
        )
    return claims


def _clock(device: torch.device, threads: int) -> Callable[[], float]:
    if device.type == "cuda":

        def synchronized() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return synchronized
    return time.process_time if threads == 1 else time.perf_counter


DETECTORS = (
    *("tiny", "yolov1", "yolov1_tiny", "yolov2", "yolov2_tiny", "yolov3", "yolov3_tiny"),
    *("ssd300", "ssd512", "rcnn", "fast_rcnn", "faster_rcnn"),
)


def main() -> None:
    """Measure them one by one."""
    parser = argument_parser("detector_speed", __doc__)
    names = (*DETECTORS, "darknet19")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    torch.set_num_threads(asked.threads)
    cv2.setNumThreads(asked.threads)
    claims: list[Claim] = []
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name in asked.only:
            scratch = Path(folder)
            subject = (
                classifier_subject(scratch)
                if name == "darknet19"
                else detector_subject(name, device, scratch)
            )
            found = measure(subject, rounds=asked.rounds, clock=_clock(device, asked.threads))
            details[name] = found
            claims += claims_of(subject, found)
            print(claims[-1].claim, claims[-1].measured, flush=True)
    setup = {"device": str(device), "threads": asked.threads, "seconds": details}
    report("detector_speed", claims, setup, asked.json)


if __name__ == "__main__":
    main()
