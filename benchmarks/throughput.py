"""The annotate job against a bare loop, Ray Data's plain script and Daft: same model, images and cores.

    python benchmarks/throughput.py [--images 2000] [--rounds 2] [--json [FILE]]

The bare loop has the job's decoder and batches, writes nothing and survives nothing; it is tried with
threads and with processes, and the best counts. The peers are programs as their guides write them (in
benchmarks/peers); where they can be configured in more than one natural way, the best counts. Each system
runs in processes of its own. Rates are steady: from when every worker has finished something until the end.
Start-up is reported apart.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from common import ROOT, Claim, argument_parser, report
from torch import Tensor

from benchmarks.peers import events
from cvcore.checkpoint import save_checkpoint
from cvcore.datasets.mask_files import encode_mask
from cvcore.detect.base import Detector
from cvcore.detect.yolo import build_tiny
from cvcore.image.decode import CanvasImage, decode_to_canvas
from cvcore.image.fit import Fit
from cvcore.image.limits import DecodeLimits
from cvcore.models import build_model
from cvcore.scenes.coco import write_scenes
from cvcore.segment.base import Segmenter
from cvcore.types import DetectOptions
from jobs.model_files import fetch_model
from jobs.spec import ModelSection
from jobs.storage import Access

BATCH_SIZE = 8
DISTINCT_SCENES = 150
READ_AHEAD = 32
CORES = os.cpu_count() or 1
DAFT = Path(sys.prefix) / "daft"
PEERS = ROOT / "benchmarks" / "peers"


@dataclass(frozen=True)
class Subject:
    """A model to run: its spec section, and a detector's score that keeps a plausible number of objects."""

    name: str
    model: dict[str, Any]
    input_size: int
    min_score: float | None


@dataclass(frozen=True)
class Shape:
    """How a system uses the cores."""

    workers: int
    threads: int
    decode_threads: int = 1
    cpus_per_worker: float = 1.0


@dataclass(frozen=True)
class Run:
    """One run of one system: inputs a second when steady, and seconds until it was."""

    images_per_s: float
    startup_s: float
    shape: dict[str, Any]


LOOPS = (Shape(1, CORES, CORES), Shape(1, 1, 1), Shape(CORES, 1, 1), Shape(CORES, 1, 2))
RAY_SHAPES = (Shape(1, max(1, CORES - 1)), Shape(CORES, 1, cpus_per_worker=0.5))
DAFT_SHAPES = (Shape(1, 1), Shape(CORES, 1))


def make_images(folder: Path, count: int) -> Path:
    """`count` scene files of varied size; each scene is stored under several names."""
    write_scenes(folder / "scenes", num_scenes=min(count, DISTINCT_SCENES), seed=700_000)
    scenes = sorted((folder / "scenes" / "images").iterdir())
    images = folder / "images"
    images.mkdir()
    for index in range(count):
        shutil.copy(scenes[index % len(scenes)], images / f"{index:06d}.jpg")
    return images


def make_subjects(folder: Path) -> list[Subject]:
    """The shipped detector, and one of about five times its work, its weights random."""
    torch.manual_seed(0)
    wide = build_tiny(tuple(f"kind{i}" for i in range(20)), width=32, input_size=416)
    body = save_checkpoint(
        wide.state_dict(), model="tiny", config=wide.config, labels=wide.labels, training={}
    )
    (folder / "wide.safetensors").write_bytes(body)
    return [
        Subject("light", {"name": "tiny"}, 320, 0.25),
        Subject("heavy", {"name": str(folder / "wide.safetensors")}, 416, 0.6),
    ]


def run_loop(subject: Subject, images: Path, shape: Shape, folder: Path, count: int) -> Run:
    """The bare loop: model loading and one warm-up batch are not counted."""
    paths = sorted(images.iterdir())[:count]
    parts = [paths[i :: shape.workers] for i in range(shape.workers)]
    started = time.time()
    with get_context("spawn").Pool(shape.workers) as pool:
        pool.starmap(_loop, [(part, subject, shape, str(folder)) for part in parts])
    return _measured(events.read(folder), started, shape)


def _loop(paths: list[Path], subject: Subject, shape: Shape, folder: str) -> None:
    torch.set_num_threads(shape.threads)
    model = build_model(fetch_model(ModelSection(**subject.model), Access()).source).eval()
    assert isinstance(model, Detector | Segmenter)
    annotate = _annotate_with(model, subject.min_score)

    def decode(path: Path) -> CanvasImage:
        return decode_to_canvas(path.read_bytes(), model.input_spec, limits=DecodeLimits(), name=path.name)

    with ThreadPoolExecutor(shape.decode_threads) as pool:
        for batch in _batches(pool, decode, paths):
            canvases = torch.stack([torch.from_numpy(image.canvas) for image in batch])
            annotate(canvases, [image.fit for image in batch])
            events.note(folder, len(batch))


def _annotate_with(
    model: Detector | Segmenter, min_score: float | None
) -> Callable[[Tensor, Sequence[Fit]], Any]:
    if isinstance(model, Segmenter):
        return lambda canvases, fits: [encode_mask(ids.numpy()) for ids in model.predict(canvases, fits)]
    assert min_score is not None
    options = DetectOptions(min_score=min_score)
    return lambda canvases, fits: model.predict(canvases, fits, options)


def _batches(pool: ThreadPoolExecutor, decode: Any, paths: list[Path]) -> Iterator[list[CanvasImage]]:
    waiting = iter(paths)
    ahead = [pool.submit(decode, path) for path in islice(waiting, READ_AHEAD)]
    while ahead:
        batch = [future.result() for future in ahead[:BATCH_SIZE]]
        ahead = ahead[BATCH_SIZE:] + [pool.submit(decode, path) for path in islice(waiting, BATCH_SIZE)]
        yield batch


def run_job(subject: Subject, images: Path, folder: Path, *, images_per_unit: int | None = None) -> Run:
    """`veedor run` with everything chosen by itself; a unit is done when its part is published."""
    unit = {} if images_per_unit is None else {"images_per_unit": images_per_unit}
    spec = {
        "source": {"uri": str(images)},
        "model": subject.model,
        "annotate": {} if subject.min_score is None else {"min_score": subject.min_score},
        "resources": {"batch_size": BATCH_SIZE},
        "sink": {"uri": str(folder / "out"), **unit},
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    started = time.time()
    command = [sys.executable, "-m", "cluster.cli", "run", str(folder / "spec.json"), "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    (record,) = (folder / "out" / "_veedor" / "runs").iterdir()
    shape = Shape(json.loads(record.read_text())["actors"], 1)
    parts = sorted((folder / "out" / "data").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    done = [(path.stat().st_mtime, pq.read_metadata(path).num_rows) for path in parts]
    return _measured(done, started, shape)


def run_peer(
    script: str, subject: Subject, images: Path, shape: Shape, folder: Path, *, path: Path = ROOT
) -> Run:
    """One of benchmarks/peers."""
    asked = {
        "images": str(images),
        "out": str(folder / "out"),
        "events": str(folder),
        "model": subject.model,
        "input_size": subject.input_size,
        "min_score": subject.min_score,
        "batch_size": BATCH_SIZE,
        **asdict(shape),
    }
    started = time.time()
    command = [sys.executable, str(PEERS / script), json.dumps(asked)]
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
    with (folder / "output").open("w") as output:
        subprocess.run(command, check=True, stdout=output, stderr=output, env=environment)
    return _measured(events.read(folder), started, shape)


def _measured(done: list[tuple[float, int]], started: float, shape: Shape) -> Run:
    rate = events.steady_rate(done, workers=shape.workers)
    return Run(round(rate, 2), round(done[0][0] - started, 2), asdict(shape))


def measure(
    subject: Subject, images: Path, scratch: Path, *, rounds: int, count: int
) -> dict[str, list[Run]]:
    """Every system on one model; what has several shapes is tried on a part first."""

    def folder() -> Path:
        return Path(tempfile.mkdtemp(dir=scratch))

    some = max(BATCH_SIZE * 8, count // 5)
    best_loop = max(LOOPS, key=lambda s: run_loop(subject, images, s, folder(), some).images_per_s)
    runs: dict[str, list[Run]] = {"loop": [], "job": [], "ray_data": [], "daft": []}
    ray_shapes, daft_shapes = list(RAY_SHAPES), list(DAFT_SHAPES)
    for _ in range(rounds):
        runs["loop"].append(run_loop(subject, images, best_loop, folder(), count))
        runs["job"].append(run_job(subject, images, folder()))
        tried = [run_peer("ray_data.py", subject, images, s, folder()) for s in ray_shapes]
        runs["ray_data"] += tried
        ray_shapes = [max(zip(tried, ray_shapes, strict=True), key=lambda pair: pair[0].images_per_s)[1]]
        tried = [run_peer("daft_frame.py", subject, images, s, folder(), path=DAFT) for s in daft_shapes]
        runs["daft"] += tried
        daft_shapes = [max(zip(tried, daft_shapes, strict=True), key=lambda pair: pair[0].images_per_s)[1]]
    return runs


def main() -> None:
    """Run all and print the ratios."""
    parser = argument_parser("throughput", __doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    claims: list[Claim] = []
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        images = make_images(scratch, asked.images)
        for subject in make_subjects(scratch):
            runs = measure(subject, images, scratch, rounds=asked.rounds, count=asked.images)
            details[subject.name] = {s: [asdict(run) for run in tried] for s, tried in runs.items()}
            claims += claims_of(subject.name, details[subject.name])
    report("throughput", claims, {"images": asked.images, "torch": torch.__version__, **details}, asked.json)


def claims_of(name: str, runs: dict[str, list[dict[str, Any]]]) -> list[Claim]:
    """What the runs of one model amount to."""
    best = {system: max(run["images_per_s"] for run in tried) for system, tried in runs.items()}
    plain = [run["images_per_s"] for run in runs["ray_data"] if run["shape"]["workers"] == 1]
    ours = best["job"]
    rivals: list[tuple[str, float, float | None]] = [
        ("the best bare loop", best["loop"], 0.95),
        ("Ray Data's plain script, one actor", max(plain), 1.5),
        ("the same script, actors and CPU shares tuned by hand", best["ray_data"], None),
        ("Daft", best["daft"], 1.0),
    ]
    claims = [
        Claim(
            f"{name} model: job ÷ {title}",
            "" if target is None else "> 1" if target == 1.0 else f"≥ {target}",
            f"{ours / rate:.3f} ({ours:.1f} / {rate:.1f} images/s)",
            None if target is None else ours / rate >= target,
        )
        for title, rate, target in rivals
    ]
    startup_s = runs["job"][0]["startup_s"]
    return [*claims, Claim(f"{name} model: start-up of the job", "", f"{startup_s:.1f} s")]


if __name__ == "__main__":
    main()
