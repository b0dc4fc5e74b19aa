"""Training images a second of detectors: `veedor train`'s loop, against a plain one with a DataLoader.

    python benchmarks/detector_train_speed.py [--json] [--only NAME ...] [--rounds 3]

Both train the same model on the same samples in memory, with the same views, batches and optimiser, one torch
thread each. The plain loop's views come from a DataLoader with one worker process, and it keeps no average of
its weights and looks for no loss that is not finite; ours makes views in a thread, and does both. Processor
time would hide who waits for whom, so the clock on the wall counts; rounds are short and in turns, and the
median of their ratios is told.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from common import Claim, argument_parser, report
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cvcore.scenes import SceneSpec, write_scenes
from cvcore.train.augment import AugmentOptions
from cvcore.train.batches import ALONE, ahead, collate, epoch_batches, sample_view
from cvcore.train.samples import Sample
from cvcore.train.views import View
from jobs.train_detector import DetectorRun, run_options
from jobs.train_spec import DetectorTrainSpec

RECIPES: dict[str, dict[str, Any]] = {
    "tiny": {"model": "tiny", "input_size": 320, "batch_size": 8},
    "ssd300": {"model": "ssd300", "backbone": "squeezenet1_1", "width": 0.25, "batch_size": 8},
}
IMAGES = 16


class Views(Dataset[View]):
    """A view of each sample, another one in each epoch of its own count."""

    def __init__(self, samples: Sequence[Sample], options: AugmentOptions | None, epoch: int) -> None:
        self._samples, self._options, self._epoch = samples, options, epoch

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> View:
        return sample_view(
            self._samples[index], self._samples, index, epoch=self._epoch, seed=0, options=self._options
        )


class Plain:
    """The loop that one writes first."""

    def __init__(self, run: DetectorRun) -> None:
        self._network = run.network()
        self._parameters = [p for p in self._network.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=1e-4, weight_decay=0.02)

    def train(self, loader: DataLoader[Any]) -> None:
        self._network.train()
        for batch in loader:
            self._optimizer.zero_grad()
            total = self._network(batch)["total"]
            total.backward()
            nn.utils.clip_grad_norm_(self._parameters, 10.0)
            self._optimizer.step()


def rounds_of(run: DetectorRun, rounds: int) -> Iterator[tuple[float, float]]:
    """Seconds of an epoch of ours and of a plain one, in turns, each first in every other round."""
    samples = run._train.samples
    options, batch_size = run_options(run.spec, run.model).augment, run.spec.batch_size
    progress = run.progress(run.network(), bf16=False)
    plain = Plain(run)

    def ours(epoch: int) -> float:
        began = time.perf_counter()
        progress.train_epoch(
            ahead(epoch_batches(samples, epoch=epoch, seed=0, batch_size=batch_size, options=options))
        )
        return time.perf_counter() - began

    def theirs(epoch: int) -> float:
        loader = DataLoader(
            Views(samples, options, epoch),
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=1,
            collate_fn=collate,
        )
        began = time.perf_counter()
        plain.train(loader)
        return time.perf_counter() - began

    for epoch in range(rounds + 1):
        if epoch % 2:
            other, own = theirs(epoch), ours(epoch)
        else:
            own, other = ours(epoch), theirs(epoch)
        if epoch:  # the first is to warm up
            yield own, other


def main() -> None:
    """Train each recipe a few epochs both ways."""
    parser = argument_parser("detector_train_speed", __doc__)
    parser.add_argument("--only", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--images", type=int, default=IMAGES)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    claims, seconds = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = SceneSpec(min_side=320, max_side=400)
        write_scenes(folder / "train", num_scenes=asked.images, seed=11, spec=spec)
        write_scenes(folder / "val", num_scenes=1, seed=900, spec=spec)
        for recipe, settings in ((each, RECIPES[each]) for each in asked.only):
            wanted = {"data": str(folder), "out": str(folder / "out"), "epochs": asked.rounds + 1, **settings}
            run = DetectorRun(DetectorTrainSpec.model_validate(wanted), ALONE)
            found = list(rounds_of(run, asked.rounds))
            seconds[recipe] = found
            ratio = statistics.median(other / own for own, other in found)
            images = asked.images - asked.images % run.spec.batch_size
            own, other = (images / statistics.median(side) for side in zip(*found, strict=True))
            claims.append(
                Claim(
                    f"training {recipe}: images/s, ÷ a plain loop with DataLoader",
                    "≥ 0.9",
                    f"{ratio:.2f} ({own:.1f} / {other:.1f} images/s)",
                    ratio >= 0.9,
                )
            )
            print(claims[-1].claim, claims[-1].measured, flush=True)
    report("detector_train_speed", claims, {"seconds": seconds, "recipes": RECIPES}, asked.json)


if __name__ == "__main__":
    main()
