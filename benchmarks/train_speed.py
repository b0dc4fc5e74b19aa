"""Training samples a second: epochs of `veedor train`'s worker, against a plain loop with a DataLoader.

    python benchmarks/train_speed.py [--json] [--images 1000]

Both train the same autoencoder on the same files with the same batches, one process on one thread each; the
worker's images come through Ray Data, the plain loop's through a DataLoader with one worker process. First
epochs read and decode; later ones find the decoded images in memory, where the plain loop keeps them too.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from common import Claim, argument_parser, report
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from cvcore.image.decode import decode_to_canvas
from cvcore.scenes.inspection import render_inspection
from cvcore.train.batches import ALONE
from cvcore.train.progress import OptimizeOptions, Progress
from cvcore.train.reconstruct import LossModule, ViewOptions, autoencoder_loss
from jobs.train_autoencoder import AutoencoderRun, check_autoencoder_data
from jobs.train_normals_spec import AutoencoderTrainSpec

EPOCHS = 4
BATCH = 16
DISTINCT = 100


def write_images(folder: Path, count: int) -> None:
    """Pictures of the inspection station; a hundred different ones, under as many names as are asked for."""
    bodies = [render_inspection(seed).image for seed in range(DISTINCT)]
    for index in range(count):
        Image.fromarray(bodies[index % DISTINCT]).save(folder / f"{index:05d}.png")


class Files(Dataset[torch.Tensor]):
    """The files as canvases, kept once they were decoded (in each process of the loader)."""

    def __init__(self, files: list[Path], spec: Any) -> None:
        self._files = files
        self._spec = spec
        self._kept: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> torch.Tensor:
        if index not in self._kept:
            path = self._files[index]
            canvas = decode_to_canvas(path.read_bytes(), self._spec, name=path.name).canvas
            self._kept[index] = torch.from_numpy(canvas)
        return self._kept[index]


def ours(run: AutoencoderRun) -> list[float]:
    """Seconds of each epoch, of the training alone."""
    progress = run.progress(run.network(), bf16=False)
    seconds = []
    for epoch in range(EPOCHS):
        began = time.perf_counter()
        progress.train_epoch(run._batches(epoch))
        seconds.append(time.perf_counter() - began)
    return seconds


def plain(run: AutoencoderRun, files: list[Path], steps: int) -> list[float]:
    model = run.model
    network = LossModule(model)
    compute = autoencoder_loss(model, network, ViewOptions(), generator=torch.Generator())
    progress = Progress(model, network, compute, OptimizeOptions(1e-3, EPOCHS * steps, 1))
    loader = DataLoader(
        Files(files, model.input_spec),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=1,
        persistent_workers=True,
    )
    seconds = []
    for _ in range(EPOCHS):
        began = time.perf_counter()
        progress.train_epoch(loader)
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    parser = argument_parser("train_speed", __doc__)
    parser.add_argument("--images", type=int, default=1000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "in")
        folder.mkdir()
        write_images(folder, asked.images)
        spec = AutoencoderTrainSpec(
            data=str(folder),
            out=str(Path(name, "out")),
            model="conv_autoencoder",
            width=16,
            batch_size=BATCH,
            epochs=EPOCHS,
            held_out=0.02,
        )
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        check_autoencoder_data(spec)
        run = AutoencoderRun(spec, ALONE)
        files = sorted(folder.iterdir())
        steps = run._steps
        turns = {"ours": [ours(run)], "plain": [plain(run, files, steps)]}
        turns["ours"].append(ours(AutoencoderRun(spec, ALONE)))
        turns["plain"].append(plain(run, files, steps))
        ray.shutdown()
    images = steps * BATCH
    rates: dict[str, dict[str, float]] = {}
    for who, runs in turns.items():
        rates[who] = {
            "first": max(images / seconds[0] for seconds in runs),
            "later": max(images / float(np.mean(seconds[1:])) for seconds in runs),
        }
    claims = []
    for when, what in (("first", "first epoch, which reads and decodes"), ("later", "later epochs")):
        ratio = rates["ours"][when] / rates["plain"][when]
        measured = f"{ratio:.2f} ({rates['ours'][when]:.0f} / {rates['plain'][when]:.0f} samples/s)"
        claims.append(
            Claim(
                f"training, {what}: samples/s, ÷ a plain loop with DataLoader",
                "≥ 0.9",
                measured,
                ratio >= 0.9,
            )
        )
    report("train_speed", claims, {"seconds": turns, "rates": rates, "images": asked.images}, asked.json)


if __name__ == "__main__":
    main()
