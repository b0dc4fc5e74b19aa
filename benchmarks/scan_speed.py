"""Steady throughput of a scan, against a bare loop of the same model, decoding and batches.

    python benchmarks/scan_speed.py [--json] [--images 4000]

The bare loop is one process a core, each on one thread, as the job has actors: it reads, decodes, scores and
normalises, and keeps nothing. Start-up is left out of both. Two turns each, alternating; the better counts.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from common import Claim, argument_parser, report
from PIL import Image

from cvcore.anomaly.options import ScoreOptions
from cvcore.anomaly.scorers import Scorer
from cvcore.autoencode.conv import ConvAutoencoder
from cvcore.checkpoint import save_checkpoint
from cvcore.image.decode import decode_to_canvas
from cvcore.models import ModelSource, build_model
from cvcore.scenes.inspection import render_inspection
from jobs.calibrate import run_calibrate
from jobs.calibration import decode_calibration
from jobs.progress import SilentListener
from jobs.scan import run_scan
from jobs.scan_spec import CalibrateSpec, ScanSpec

BATCH = 8
DISTINCT = 100
TURNS = 2


def write_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    bodies = [render_inspection(seed).image for seed in range(DISTINCT)]
    for index in range(count):
        Image.fromarray(bodies[index % DISTINCT]).save(folder / f"{index:05d}.png")


def write_model(folder: Path) -> None:
    torch.manual_seed(0)
    config = {"width": 16}
    body = save_checkpoint(
        ConvAutoencoder(width=16).state_dict(),
        model="conv_autoencoder",
        config=config,
        labels=(),
        training={},
    )
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(body)


def bare(model: Path, files: list[Path], barrier: Any, queue: Any) -> None:
    """One process of the bare loop; puts the seconds that its share took."""
    torch.set_num_threads(1)
    network = build_model(ModelSource("", weights=(model / "model.safetensors").read_bytes()))
    scorer = Scorer(network, "mse", ScoreOptions())
    calibration = decode_calibration(
        (model / "calibration.json").read_bytes(), name="calibration"
    ).calibration
    spec: Any = network.input_spec
    scorer.score(torch.zeros(BATCH, spec.height, spec.width, 3, dtype=torch.uint8))
    barrier.wait()
    began = time.perf_counter()
    for first in range(0, len(files), BATCH):
        part = files[first : first + BATCH]
        canvases = [decode_to_canvas(path.read_bytes(), spec, name=path.name).canvas for path in part]
        found = scorer.score(torch.from_numpy(np.stack(canvases)))
        calibration.normalized(found.raw.numpy())
    queue.put(time.perf_counter() - began)


def bare_rate(model: Path, files: list[Path], processes: int) -> float:
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(processes), context.Queue()
    started = [
        context.Process(target=bare, args=(model, files[rank::processes], barrier, queue))
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    seconds = [queue.get() for _ in started]
    for process in started:
        process.join()
    return len(files) / max(seconds)


def main() -> None:
    parser = argument_parser("scan_speed", __doc__)
    parser.add_argument("--images", type=int, default=4000)
    asked = parser.parse_args()
    processes = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_images(root / "in", asked.images)
        write_images(root / "normal", 100)
        write_model(root / "model")
        ray.init(address="local", num_cpus=processes, include_dashboard=False, log_to_driver=False)
        shared: dict[str, Any] = {"model": {"name": f"{root / 'model'}/"}, "resources": {"batch_size": BATCH}}
        calibrate = {"source": {"uri": str(root / "normal")}, "sink": {"uri": str(root / "model")}, **shared}
        run_calibrate(CalibrateSpec.model_validate(calibrate), listener=SilentListener())
        files = sorted((root / "in").iterdir())
        ours, theirs = [], []
        for turn in range(TURNS):
            scan = {
                "source": {"uri": str(root / "in")},
                "sink": {"uri": str(root / f"scans-{turn}")},
                **shared,
            }
            ours.append(run_scan(ScanSpec.model_validate(scan), listener=SilentListener()).images_per_s)
            theirs.append(bare_rate(root / "model", files, processes))
        ray.shutdown()
    ratio = max(ours) / max(theirs)
    claim = Claim(
        "scan, conv_autoencoder: steady images/s, ÷ a bare loop on as many processes",
        "≥ 0.95",
        f"{ratio:.2f} ({max(ours):.0f} / {max(theirs):.0f} images/s)",
        ratio >= 0.95,
    )
    report("scan_speed", [claim], {"ours": ours, "bare": theirs, "images": asked.images}, asked.json)


if __name__ == "__main__":
    main()
