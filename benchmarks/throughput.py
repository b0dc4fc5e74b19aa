"""The annotate job against the best bare loop of the same model on the same cores.

    python benchmarks/throughput.py [--images 1200] [--json results.json]

Both decode the same files with the same decoder and run the same detector in the same batches; the loop
writes nothing and survives nothing. Start-up is reported apart. Prints the hardware and the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import torch

from cvcore.image.decode import CanvasImage, decode_to_canvas
from cvcore.image.limits import DecodeLimits
from cvcore.models import ModelSource, build_model
from cvcore.scenes.coco import write_scenes
from cvcore.types import DetectOptions
from jobs.annotate import run_annotate
from jobs.model_files import fetch_model
from jobs.progress import SilentListener
from jobs.spec import ModelSection, build_spec
from jobs.storage import Access

BATCH_SIZE = 8
DISTINCT_SCENES = 150
READ_AHEAD = 32


@dataclass(frozen=True)
class LoopShape:
    """How the bare loop uses the cores."""

    processes: int
    torch_threads: int
    decode_threads: int


def make_images(folder: Path, count: int) -> list[Path]:
    """`count` scene files of varied size; each scene is stored under several names."""
    write_scenes(folder / "scenes", num_scenes=min(count, DISTINCT_SCENES), seed=700_000)
    scenes = sorted((folder / "scenes" / "images").iterdir())
    images = folder / "images"
    images.mkdir()
    for index in range(count):
        shutil.copy(scenes[index % len(scenes)], images / f"{index:06d}.jpg")
    return sorted(images.iterdir())


def bare_loop(paths: list[Path], source: ModelSource, shape: LoopShape) -> float:
    """Images a second over all processes, model loading and one warm-up batch not counted."""
    parts = [paths[i :: shape.processes] for i in range(shape.processes)]
    if shape.processes == 1:
        return _loop(parts[0], source, shape)
    with get_context("spawn").Pool(shape.processes) as pool:
        rates = pool.starmap(_loop, [(part, source, shape) for part in parts])
    return sum(rates)


def _loop(paths: list[Path], source: ModelSource, shape: LoopShape) -> float:
    torch.set_num_threads(shape.torch_threads)
    model = build_model(source)
    options = DetectOptions()

    def decode(path: Path) -> CanvasImage:
        return decode_to_canvas(path.read_bytes(), model.input_spec, limits=DecodeLimits(), name=path.name)

    with ThreadPoolExecutor(shape.decode_threads) as pool:
        for batch in _batches(pool, decode, paths[:BATCH_SIZE]):
            _infer(model, batch, options)
        started = time.perf_counter()
        for batch in _batches(pool, decode, paths):
            _infer(model, batch, options)
        return len(paths) / (time.perf_counter() - started)


def _batches(pool: ThreadPoolExecutor, decode: object, paths: list[Path]) -> Iterator[list[CanvasImage]]:
    waiting = iter(paths)
    ahead = [pool.submit(decode, path) for path in islice(waiting, READ_AHEAD)]
    while ahead:
        batch = [future.result() for future in ahead[:BATCH_SIZE]]
        ahead = ahead[BATCH_SIZE:] + [pool.submit(decode, path) for path in islice(waiting, BATCH_SIZE)]
        yield batch


def _infer(model: torch.nn.Module, batch: list[CanvasImage], options: DetectOptions) -> None:
    canvases = torch.stack([torch.from_numpy(image.canvas) for image in batch])
    model.predict(canvases, [image.fit for image in batch], options)


def main() -> None:
    """Run both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--weights")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    cores = os.cpu_count() or 1
    section = ModelSection(name=asked.model, weights=asked.weights)
    source = fetch_model(section, Access()).source
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_images(folder, asked.images)
        shapes = [LoopShape(1, cores, cores), LoopShape(1, 1, 1), LoopShape(cores, 1, 1)]
        loops = {shape: bare_loop(paths, source, shape) for shape in shapes}
        spec = build_spec(
            {
                "source": {"uri": str(folder / "images")},
                "model": section.model_dump(),
                "resources": {"batch_size": BATCH_SIZE},
                "sink": {"uri": str(folder / "out")},
            },
            name="benchmark",
        )
        result = run_annotate(spec, listener=SilentListener())
    best = max(loops, key=lambda shape: loops[shape])
    report = {
        "hardware": f"{cores} cores ({platform.machine()}), {platform.system()}, torch {torch.__version__}",
        "model": asked.model,
        "images": asked.images,
        "bare_loops": [{**asdict(shape), "images_per_s": round(rate, 1)} for shape, rate in loops.items()],
        "job": {"images_per_s": round(result.images_per_s, 1), "startup_s": round(result.startup_s, 1)},
        "ratio_to_best_loop": round(result.images_per_s / loops[best], 3),
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
