"""Segmenters beside torchvision's twins, tiles beside the whole image, and the job beside a bare loop.

    python benchmarks/segment_speed.py [--json] [--rounds 3] [--images 1500]

Both sides of a pair have the same weights, which are random, the same canvas and thresholds; Mask R-CNN
keeps its 100 best detections whatever their scores, so that there are masks to draw. They run in turns on one
thread, whose processor time counts: whatever else runs on the machine takes from neither. Tiles share 64 px,
so that a network computes some pixels twice. The job and the bare loop are those of `throughput.py`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Claim, argument_parser, in_turns, report
from throughput import LOOPS, Subject, make_images, run_job, run_loop
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.segmentation import fcn_resnet50

from cvcore.catalog import find_model
from cvcore.checkpoint import save_checkpoint
from cvcore.image.fit import Fit
from cvcore.image.normalize import imagenet_floats
from cvcore.models import build_entry
from cvcore.segment.base import Segmenter
from cvcore.segment.tiles import TileOptions
from cvcore.segment.tiling import segment_tiled
from cvcore.types import DetectOptions

FCN_PX, RCNN_PX = 320, 400
LARGE_PX, OVERLAP_PX = 2048, 64
TILES_PX = (512, 1024)
LOOP_CONFIG: dict[str, Any] = {"width": 8, "depth": 4, "input_size": 256, "padded": True, "norm": True}

Runs = dict[str, Callable[[], Any]]


def build(name: str, **config: Any) -> Any:
    """A model of the catalogue with random weights."""
    torch.manual_seed(0)
    return build_entry(find_model(name), None, config, name=name).eval()


def canvas_of(side: int) -> tuple[torch.Tensor, list[Fit]]:
    generator = torch.Generator().manual_seed(1)
    canvas = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8, generator=generator)
    return canvas, [Fit(side, side, side, side)]


def fcn_runs() -> Runs:
    model = build("fcn_resnet50", input_size=FCN_PX)
    twin: Any = fcn_resnet50(weights=None, weights_backbone=None, num_classes=len(model.labels)).eval()
    twin.load_state_dict(model.network.state_dict())
    canvas, fits = canvas_of(FCN_PX)

    def theirs() -> Any:
        return twin(imagenet_floats(canvas, torch.float32))["out"].argmax(dim=1).to(torch.uint8)

    assert torch.equal(model.predict(canvas, fits)[0], theirs()[0]), "the two sides differ"
    return {"ours": lambda: model.predict(canvas, fits), "theirs": theirs}


def mask_rcnn_runs() -> Runs:
    model = build("maskrcnn_resnet50_fpn", min_size=RCNN_PX, max_size=RCNN_PX)
    options = DetectOptions(min_score=0.0, nms_iou=0.5, max_detections=100)
    twin: Any = maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        min_size=RCNN_PX,
        max_size=RCNN_PX,
        box_score_thresh=options.min_score,
        box_nms_thresh=options.nms_iou,
        box_detections_per_img=options.max_detections,
    ).eval()
    twin.load_state_dict(model.network.state_dict())
    canvas, fits = canvas_of(RCNN_PX)
    images = list(canvas.permute(0, 3, 1, 2).float().div(255))
    found, expected = model.predict(canvas, fits, options)[0], twin(images)[0]
    assert len(found.boxes) == len(expected["boxes"]) > 0, "the two sides differ"
    return {
        "ours": lambda: model.predict(canvas, fits, options),
        "theirs": lambda: [each["masks"] > 0.5 for each in twin(images)],
    }


def twin_claim(title: str, runs: Runs, rounds: int, details: dict[str, Any]) -> Claim:
    found = details[title] = in_turns(runs, rounds=rounds, clock=time.process_time)
    ratio = found["theirs"] / found["ours"]
    rates = f"{1 / found['ours']:.2f} / {1 / found['theirs']:.2f} images/s"
    return Claim(f"{title}: images/s, ÷ torchvision's", "≥ 1", f"{ratio:.2f} ({rates})", ratio >= 1)


def tile_claims(rounds: int, details: dict[str, Any]) -> list[Claim]:
    """Of one image that has room in memory either way."""
    model: Segmenter = build("unet", width=16, depth=4, input_size=LARGE_PX, padded=True, norm=True)
    canvas, fits = canvas_of(LARGE_PX)
    pixels = np.ascontiguousarray(canvas[0].numpy())
    runs: Runs = {"whole": lambda: model.predict(canvas, fits)}
    for side in TILES_PX:
        options = TileOptions(side, OVERLAP_PX)
        runs[str(side)] = lambda options=options: segment_tiled(model, pixels, options)  # type: ignore[misc]
    found = details["tiles"] = in_turns(runs, rounds=rounds, clock=time.process_time)
    claims = []
    for side in TILES_PX:
        ratio = found["whole"] / found[str(side)]
        claims.append(
            Claim(
                f"U-Net, {LARGE_PX} px in tiles of {side} that share {OVERLAP_PX}: speed, ÷ the whole's",
                "≥ 0.9",
                f"{ratio:.2f} ({found[str(side)]:.1f} s, whole {found['whole']:.1f} s)",
                ratio >= 0.9,
            )
        )
    return claims


def job_claim(count: int, rounds: int, details: dict[str, Any]) -> Claim:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        images = make_images(scratch, count)
        model = build("unet", **LOOP_CONFIG)
        weights = scratch / "model.safetensors"
        weights.write_bytes(
            save_checkpoint(
                model.state_dict(), model="unet", config=model.config, labels=model.labels, training={}
            )
        )
        subject = Subject("unet", {"name": str(weights)}, LOOP_CONFIG["input_size"], None)

        def folder() -> Path:
            return Path(tempfile.mkdtemp(dir=scratch))

        some = count // 5
        best = max(LOOPS, key=lambda shape: run_loop(subject, images, shape, folder(), some).images_per_s)
        loop = [run_loop(subject, images, best, folder(), count).images_per_s]
        job = [run_job(subject, images, folder()).images_per_s]
        for _ in range(rounds - 1):
            loop.append(run_loop(subject, images, best, folder(), count).images_per_s)
            job.append(run_job(subject, images, folder()).images_per_s)
    details["job"] = {"loop": loop, "job": job, "images": count, "config": LOOP_CONFIG}
    ratio = max(job) / max(loop)
    return Claim(
        "U-Net: job ÷ the best bare loop",
        "≥ 0.95",
        f"{ratio:.2f} ({max(job):.1f} / {max(loop):.1f} images/s)",
        ratio >= 0.95,
    )


def main() -> None:
    parser = argument_parser("segment_speed", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1500)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    details: dict[str, Any] = {}
    with torch.inference_mode():
        claims = [
            twin_claim(f"FCN on ResNet-50, {FCN_PX} px", fcn_runs(), asked.rounds, details),
            twin_claim(f"Mask R-CNN, {RCNN_PX} px", mask_rcnn_runs(), asked.rounds, details),
            *tile_claims(asked.rounds, details),
        ]
    claims.append(job_claim(asked.images, 2, details))
    report("segment_speed", claims, details, asked.json)


if __name__ == "__main__":
    main()
