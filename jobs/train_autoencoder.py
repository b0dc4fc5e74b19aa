"""Autoencoders' training runs: normal images from a folder or bucket, judged by held-out ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cvcore.autoencode.base import Autoencoder
from cvcore.catalog import find_model
from cvcore.checkpoint import Checkpoint
from cvcore.errors import SpecError
from cvcore.models import build_entry
from cvcore.train.batches import Shard
from cvcore.train.epochs import EpochReport, ShareScore, Standing, run_epochs
from cvcore.train.progress import Progress
from cvcore.train.reconstruct import LossModule, ViewOptions, autoencoder_loss, held_out_loss
from cvcore.train.stream import stream_batches
from jobs.plan import Plan, choose_images_per_unit
from jobs.train_images import ImageFeed, pin_images, read_split
from jobs.train_normals_spec import AutoencoderTrainSpec
from jobs.train_run import optimize_options

MIN_IMAGES = 10
WINDOW = 1024
"""Images that are shuffled together: units are samples in an order of the epoch's, so few are needed."""


def check_autoencoder_data(spec: AutoencoderTrainSpec) -> None:
    """Refuse what no worker could train with, before any is started; pins the images."""
    model = _build(spec)
    split = pin_images(spec, held_out=spec.held_out, at_least=MIN_IMAGES)
    plan = ImagePlan(spec, split.train.num_rows, model.input_spec.num_bytes)
    if plan.rows_per_worker < 1:
        raise SpecError(
            f"{spec.num_workers} workers are too many for {split.train.num_rows} images: lower num_workers"
        )


def _build(spec: AutoencoderTrainSpec) -> Autoencoder:
    model = build_entry(find_model(spec.model), None, spec.config, name=spec.model)
    assert isinstance(model, Autoencoder), "the spec admits autoencoders only"
    return model


class ImagePlan:
    """How many images and steps each worker has in an epoch, at least, whatever units fall to it."""

    def __init__(self, spec: AutoencoderTrainSpec, num_images: int, canvas_bytes: int) -> None:
        per_unit = choose_images_per_unit(num_images, canvas_bytes)
        units = -(-num_images // per_unit)
        short = units * per_unit - num_images
        self.rows_per_worker = units // spec.num_workers * per_unit - short
        self.steps = max(1, self.rows_per_worker // spec.batch_size)


class AutoencoderRun:
    """`jobs.train_run.TrainRun` of an autoencoder."""

    labels: tuple[str, ...] = ()

    def __init__(self, spec: AutoencoderTrainSpec, shard: Shard) -> None:
        self.spec = spec
        self.model = _build(spec)
        split = read_split(spec)
        canvas = self.model.input_spec
        self._shard = shard
        self._feed = ImageFeed(spec, split.train, canvas)
        self._steps = ImagePlan(spec, split.train.num_rows, canvas.num_bytes).steps
        self._window = max(16 * spec.batch_size, WINDOW)
        self._generator = torch.Generator()
        self._held_out: list[Tensor] = []
        if shard.rank == 0:
            feed = ImageFeed(spec, split.held_out, canvas)
            self._held_out = [
                torch.from_numpy(block) for block in feed.blocks(range(feed.plan.num_units)) if len(block)
            ]
            self._check_variety()

    @property
    def config(self) -> dict[str, Any]:
        return self.spec.config

    @property
    def model_name(self) -> str:
        return self.spec.model

    def network(self) -> nn.Module:
        return LossModule(self.model)

    def finish(self, read_best: Callable[[], Checkpoint]) -> None:
        del read_best

    def progress(self, network: nn.Module, *, bf16: bool) -> Progress[Autoencoder, Tensor]:
        views = ViewOptions(mirror=self.spec.mirror, noise=self.spec.noise)
        compute = autoencoder_loss(self.model, network, views, generator=self._generator, bf16=bf16)
        return Progress(self.model, network, compute, optimize_options(self.spec, self._steps))

    def reports(
        self,
        progress: Progress[Autoencoder, Tensor],
        *,
        first_epoch: int,
        standing: Standing,
        share: ShareScore,
    ) -> Iterator[EpochReport[float]]:
        def measure() -> tuple[float, float]:
            loss = held_out_loss(progress.average.model, self._held_out)
            return -loss, loss

        return run_epochs(
            progress,
            self._batches,
            measure if self._shard.rank == 0 else None,
            epochs=self.spec.epochs,
            patience=self.spec.patience,
            first_epoch=first_epoch,
            standing=standing,
            share=share,
        )

    def measured(self, report: EpochReport[float]) -> tuple[dict[str, float], dict[str, Any]]:
        assert report.found is not None
        plan: Plan = self._feed.plan
        data = {
            "images": plan.num_inputs,
            "held_out_images": sum(map(len, self._held_out)),
            "digest": plan.inputs.digest,
            "failures": self._feed.failures(),
        }
        return {"loss": report.found}, {"data": data}

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        """Seeds all that is random in the epoch: one that is repeated after a kill is the same."""
        rank, count = self._shard.rank, self._shard.world_size
        order = np.random.default_rng([self.spec.seed, epoch]).permutation(self._feed.plan.num_units)
        own = np.random.SeedSequence([self.spec.seed, epoch, rank])
        first, second = (int(word) for word in own.generate_state(2))
        torch.manual_seed(first)
        self._generator.manual_seed(second)
        return stream_batches(
            self._feed.blocks([int(unit) for unit in order[rank::count]]),
            batch_size=self.spec.batch_size,
            steps=self._steps,
            window=self._window,
            rng=np.random.default_rng(own),
        )

    def _check_variety(self) -> None:
        """Refuse copies of one image: there is nothing to learn from them."""
        first = next(iter(self._feed.blocks([0])))
        parts = [part.numpy() for part in self._held_out] + [first]
        if not sum(map(len, self._held_out)):
            raise SpecError("none of the held-out images can be used: see their errors, or raise held_out")
        one = self._held_out[0][0].numpy()
        if all((part == one).all() for part in parts):
            raise SpecError(
                f"all images of {self.spec.data} look alike: there is nothing to learn from copies of one"
            )
