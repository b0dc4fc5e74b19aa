"""Every detector's small sibling, trained on the blood cells of BCCD: mAP, training time and images a second.

    python benchmarks/detectors.py [--json] [--only NAME ...] [--keep FOLDER [--again]]

Each is trained by what `veedor train` runs in its worker, on two threads, on the train split; the val split
picks the epoch; figures are of the test split, at an IoU of 0.5. Images a second are of the network, decoding
of its outputs and suppression, on canvases in memory, in batches of the size that is fastest; and those of an
annotate job over copies of the images, steady, which decodes and publishes too. With `--only`,
figures that the file has of other recipes, unchanged since, are kept. `--keep` keeps the checkpoints, a
folder each; `--again` trains none that is kept, and measures it: all beside each other, so that their images
a second can be compared.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import Claim, argument_parser, earlier, report
from throughput import Subject, run_job

from cvcore.train.batches import ALONE
from cvcore.train.epochs import START, only_worker
from jobs.evaluate_model import evaluate_model
from jobs.evaluation_files import evaluation_content
from jobs.spec import ModelSection
from jobs.storage import Access, join
from jobs.train_detector import DetectorRun
from jobs.train_run import keep_epoch, keep_finish
from jobs.train_spec import DetectorTrainSpec
from jobs.train_state import CHECKPOINT_NAME
from tests.data import shared_data

THREADS = 2
KEPT = ("metrics", "voc", "num_images", "num_failed", "cost", "speed", "input_spec")
"""Of an evaluation; curves and errors are in what `veedor compare` and `evaluate` write."""
LEAST, BEST = 0.5, 0.85
JOB_S, LEAST_IMAGES, IMAGES_PER_UNIT = 30, 48, 8
IMAGENET = "weights/squeezenet1_1-imagenet/squeezenet1_1.safetensors"
SQUEEZENET: dict[str, Any] = {
    "backbone": "squeezenet1_1",
    "init": IMAGENET,
    "batch_size": 4,
    "lr": 1e-3,
}

SMALL_IMAGES: dict[str, Any] = {"shortest_edge": 240, "canvas": (240, 320)}
SMALL_HEAD: dict[str, Any] = {
    "stride": 8,
    "head_width": 256,
    "narrow_to": 64,
    "pool": "align",
    "dropout": 0.0,
}

RECIPES: dict[str, dict[str, Any]] = {
    "rcnn": {
        "model": "rcnn",
        **SQUEEZENET,
        "epochs": 6,
        "options": {"crop_size": 64, "canvas": (320, 320), "max_proposals": 400},
    },
    "fast_rcnn": {
        "model": "fast_rcnn",
        **SQUEEZENET,
        "batch_size": 2,
        "epochs": 8,
        "options": {**SMALL_IMAGES, **SMALL_HEAD, "max_proposals": 500},
    },
    "faster_rcnn": {
        "model": "faster_rcnn",
        **SQUEEZENET,
        "batch_size": 2,
        "epochs": 8,
        "options": {
            **SMALL_IMAGES,
            **SMALL_HEAD,
            "anchor_sizes": (20, 50, 100),
            "rpn_width": 128,
            "proposals": 200,
            "training_proposals": 300,
            "regions_per_image": 128,
        },
    },
    "ssd300": {"model": "ssd300", **SQUEEZENET, "batch_size": 8, "epochs": 16, "width": 0.25},
    "yolov1": {
        "model": "yolov1_squeezenet",
        "init": IMAGENET,
        "freeze": "backbone",
        "width": 0.25,
        "batch_size": 8,
        "epochs": 50,
        "lr": 1e-3,
        "options": {"tied": True},
    },
    "yolov2": {"model": "yolov2", "width": 0.25, "input_size": 320, "epochs": 40, "batch_size": 8},
    "yolov3": {
        "model": "yolov3",
        "width": 0.25,
        "input_size": 320,
        "epochs": 30,
        "batch_size": 8,
        "options": {"loss": "dense"},
    },
    "tiny": {"model": "tiny", "input_size": 320, "epochs": 40, "batch_size": 8},
}
"""Of each what differs from `veedor train`'s defaults."""


def make_spec(name: str, out: str) -> DetectorTrainSpec:
    recipe = dict(RECIPES[name])
    if "init" in recipe:
        recipe["init"] = str(shared_data(recipe["init"]))
    if recipe["model"] in ("yolov2", "yolov3", "tiny"):
        recipe["anchors"] = "fit"
    data = str(shared_data("detect/bccd"))
    # Cells have no up and down, and any size.
    common = {"data": data, "out": out, "warmup_steps": 100, "augment": ["flip", "turn", "jitter", "hsv"]}
    return DetectorTrainSpec.model_validate(common | recipe)


def train(name: str, out: str) -> dict[str, Any]:
    """Train one; the checkpoint lies in `out`."""
    spec = make_spec(name, out)
    began, worked = time.perf_counter(), time.process_time()
    run = DetectorRun(spec, ALONE)
    progress = run.progress(run.network(), bf16=False)
    saved = None
    for each in run.reports(progress, first_epoch=0, standing=START, share=only_worker):
        saved = keep_epoch(run, progress, each, saved)
        print(f"{name} epoch {each.epoch + 1}/{spec.epochs}: {each.standing.best_score:.3f}", flush=True)
    assert saved is not None
    keep_finish(run, saved)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    return {"recipe": RECIPES[name], "training_s": seconds, "training_cpu_s": worked}


def look(out: str, data: str) -> dict[str, Any]:
    """What the checkpoint in `out` reaches on the test split, and how fast."""
    checkpoint = join(out, CHECKPOINT_NAME)
    found = evaluate_model(ModelSection(name=checkpoint), data, split="test", access=Access())
    content = {key: value for key, value in evaluation_content(found).items() if key in KEPT}
    rate = content["speed"]["best"]["images_per_s"]
    return {**content, "job_images_per_s": job_rate(checkpoint, Path(data) / "JPEGImages", network_rate=rate)}


def job_rate(checkpoint: str, images: Path, *, network_rate: float) -> float:
    """Images a second of `veedor run` with a checkpoint, over as many images as take about `JOB_S`."""
    distinct = sorted(images.iterdir())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for number in range(max(LEAST_IMAGES, round(network_rate * JOB_S))):
            shutil.copy(distinct[number % len(distinct)], folder / "images" / f"{number:05d}.jpg")
        subject = Subject("", {"name": checkpoint}, 0, min_score=0.25)
        return run_job(subject, folder / "images", folder, images_per_unit=IMAGES_PER_UNIT).images_per_s


def measure(name: str, keep: Path | None, trained: dict[str, Any] | None) -> dict[str, Any]:
    """Train one, unless `trained` says how that went, and look at it."""
    with tempfile.TemporaryDirectory() as passing:
        out = passing if keep is None else str(keep / name)
        how = trained or train(name, out)
        return {**how, **look(out, make_spec(name, out).data)}


def main() -> None:
    parser = argument_parser("detectors", __doc__)
    parser.add_argument("--only", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--keep", type=Path, help="keep the checkpoints below this folder")
    parser.add_argument("--again", action="store_true", help="measure what is kept there without training")
    asked = parser.parse_args()
    if asked.again and not (asked.keep and asked.json):
        parser.error(
            "--again needs --keep, with the checkpoints, and --json, which says how they were trained"
        )
    torch.set_num_threads(THREADS)
    kept = earlier(asked.json, RECIPES)
    found = kept | {
        name: measure(name, asked.keep, kept[name] if asked.again and name in kept else None)
        for name in asked.only
    }
    found = {name: found[name] for name in RECIPES if name in found}
    claims = [
        Claim(
            f"BCCD, {name}: mAP@0.5 on test, training (processor time), images/s, in a job",
            f"≥ {LEAST}",
            (
                f"{each['metrics']['ap50']:.3f}, {each['training_s'] / 60:.1f} min "
                f"({each['training_cpu_s'] / 60:.1f} min), "
                f"{each['speed']['best']['images_per_s']:.1f} images/s, "
                + (f"{each['job_images_per_s']:.1f}" if "job_images_per_s" in each else "-")
            ),
            each["metrics"]["ap50"] >= LEAST,
        )
        for name, each in found.items()
    ]
    best = max(found, key=lambda name: float(found[name]["metrics"]["ap50"]))
    score = found[best]["metrics"]["ap50"]
    claims.append(
        Claim("BCCD, the best: mAP@0.5 on test", f"≥ {BEST}", f"{score:.3f} ({best})", score >= BEST)
    )
    report("detectors", claims, found, asked.json)


if __name__ == "__main__":
    main()
