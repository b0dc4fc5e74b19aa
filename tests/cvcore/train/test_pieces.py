from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cvcore.darknet.detector import DarknetDetector
from cvcore.detect.yolo import build_tiny
from cvcore.errors import SpecError
from cvcore.scenes import SceneSpec, write_scenes
from cvcore.train.augment import AugmentOptions
from cvcore.train.average import WeightAverage
from cvcore.train.batches import Batch, Shard, ahead, epoch_batches, steps_per_epoch
from cvcore.train.epochs import Standing
from cvcore.train.loop import DetectorLoss, detector_loss
from cvcore.train.progress import LossIsNotFiniteError, OptimizeOptions, Progress
from cvcore.train.run import RunOptions, detector_epochs
from cvcore.train.samples import Dataset, load_samples
from cvcore.train.schedule import learning_rate
from jobs.datasets import open_dataset

LABELS = ("bolt", "nut", "washer", "gear", "bearing", "bracket")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    write_scenes(path, num_scenes=8, seed=70, spec=SceneSpec(min_side=200, max_side=300))
    return path


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    model = build_tiny(width=4, input_size=96)
    source = open_dataset(str(folder))
    return load_samples(source.read(), source.read_image, LABELS, model.input_spec)


def test_samples_map_back_to_the_document(dataset: Dataset) -> None:
    by_image: dict[int, list[list[float]]] = {}
    for annotation in dataset.document["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation["bbox"])
    for sample in dataset.samples:
        source = sample.fit.to_source(sample.boxes)
        source[:, 2:] -= source[:, :2]
        assert torch.allclose(source, torch.tensor(by_image[sample.image_id]), atol=1e-3)
        assert sample.canvas.shape == (96, 96, 3)


def test_an_image_that_cannot_be_decoded_costs_itself_alone(folder: Path) -> None:
    spec, source = build_tiny(width=4, input_size=96).input_spec, open_dataset(str(folder))
    broken = source.read().images[3].name

    def read(name: str) -> bytes:
        body = source.read_image(name)
        return body[: len(body) // 2] if name == broken else body

    whole = load_samples(source.read(), source.read_image, LABELS, spec)
    found = load_samples(source.read(), read, LABELS, spec)
    assert [s.image_id for s in found.samples] == [s.image_id for k, s in enumerate(whole.samples) if k != 3]
    assert found.document == whole.document
    assert sum(found.failures.values()) == 1
    assert not whole.failures


def test_batches_are_the_same_with_canvases_kept_or_read_again(folder: Path, dataset: Dataset) -> None:
    spec, source = build_tiny(width=4, input_size=96).input_spec, open_dataset(str(folder))
    some = 3 * spec.num_bytes
    again = load_samples(source.read(), source.read_image, LABELS, spec, max_cached_bytes=some)
    options = AugmentOptions(("mosaic", "flip", "jitter"))
    for one, other in zip(
        *(
            epoch_batches(samples, epoch=1, seed=5, batch_size=2, options=options)
            for samples in (dataset.samples, again.samples)
        ),
        strict=True,
    ):
        assert torch.equal(one.canvases, other.canvases)
        assert torch.equal(one.truth.boxes, other.truth.boxes)


def test_labels_that_the_model_lacks_are_refused(folder: Path) -> None:
    spec, source = build_tiny(width=4, input_size=96).input_spec, open_dataset(str(folder))
    with pytest.raises(SpecError, match="bracket"):
        load_samples(source.read(), source.read_image, LABELS[:5], spec)


def test_an_epoch_shows_every_sample_once_over_all_shards(dataset: Dataset) -> None:
    canvases = []
    for rank in range(2):
        for batch in epoch_batches(
            dataset.samples, epoch=1, seed=5, batch_size=2, options=None, shard=Shard(rank, 2)
        ):
            canvases += [canvas.numpy().tobytes() for canvas in batch.canvases]
    assert sorted(canvases) == sorted(sample.canvas.tobytes() for sample in dataset.samples)


def test_epochs_repeat_by_seed_and_differ_by_number(dataset: Dataset) -> None:
    def first(epoch: int) -> bytes:
        batches = epoch_batches(dataset.samples, epoch=epoch, seed=5, batch_size=4, options=AugmentOptions())
        return next(ahead(batches)).canvases.numpy().tobytes()

    assert first(0) == first(0)
    assert first(0) != first(1)


def test_ahead_changes_nothing_and_passes_errors_on() -> None:
    assert list(ahead(iter([]))) == []

    def failing() -> object:
        yield from ()
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(ahead(failing()))  # type: ignore[arg-type]


def test_steps_per_epoch_leaves_short_batches_out() -> None:
    assert steps_per_epoch(100, 16) == 6
    assert steps_per_epoch(100, 16, 2) == 3
    assert steps_per_epoch(3, 16) == 1


def test_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(k, peak=1.0, total_steps=100, warmup_steps=10) for k in range(100)]
    assert rates[9] == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01, abs=0.005)
    assert rates[55] == pytest.approx(0.505, abs=0.01)


def test_average_follows_and_settles_on_constant_weights() -> None:
    model = nn.Linear(2, 2)
    average = WeightAverage(model, decay=0.9, ramp_steps=5)
    start = average.model.weight.clone()
    with torch.no_grad():
        model.weight += 1.0
    for _ in range(200):
        average.update(model)
    assert torch.allclose(average.model.weight, start + 1.0, atol=1e-4)
    assert not average.model.weight.requires_grad


def make_progress(epochs: int, dataset: Dataset) -> Progress[DarknetDetector, Batch]:
    torch.manual_seed(3)
    model = build_tiny(width=4, input_size=96)
    total = epochs * steps_per_epoch(len(dataset.samples), 4)
    return Progress(model, model, detector_loss(model, DetectorLoss(model)), OptimizeOptions(3e-3, total, 2))


def test_a_run_that_was_interrupted_makes_the_same_steps(dataset: Dataset) -> None:
    options = RunOptions(epochs=3, batch_size=4, seed=1)
    whole = make_progress(3, dataset)
    whole_reports = list(detector_epochs(whole, dataset, dataset, options))

    broken = make_progress(3, dataset)
    first = next(detector_epochs(broken, dataset, dataset, options))
    continued = make_progress(3, dataset)
    continued.restore(broken.state())
    rest = list(detector_epochs(continued, dataset, dataset, options, first_epoch=1, standing=first.standing))
    assert [r.terms for r in [first, *rest]] == [r.terms for r in whole_reports]
    for mine, theirs in zip(
        continued.average.model.state_dict().values(), whole.average.model.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_training_lowers_the_loss(dataset: Dataset) -> None:
    options = RunOptions(epochs=30, batch_size=4, augment=None)
    losses = [
        r.terms["total"] for r in detector_epochs(make_progress(30, dataset), dataset, dataset, options)
    ]
    assert losses[-1] < 0.8 * losses[0]
    assert all(math.isfinite(loss) for loss in losses)


def test_a_loss_that_is_not_finite_stops_before_it_moves_a_weight() -> None:
    model = nn.Linear(2, 1)
    progress = Progress(model, model, lambda x: {"total": model(x).sum()}, OptimizeOptions(0.1, 10, 0))
    before = model.weight.detach().clone()
    with pytest.raises(LossIsNotFiniteError, match="at step 0"):
        progress.train_epoch([torch.full((1, 2), float("nan"))])
    assert torch.equal(model.weight, before)
    means = progress.train_epoch([torch.ones(1, 2), torch.ones(3, 2)])
    assert progress.step == 2
    assert list(means) == ["total"]


def test_patience_ends_a_run_that_does_not_improve(dataset: Dataset) -> None:
    options = RunOptions(epochs=10, batch_size=4, patience=2)
    unbeatable = Standing(best_epoch=0, best_score=2.0)
    reports = list(
        detector_epochs(
            make_progress(10, dataset), dataset, dataset, options, first_epoch=1, standing=unbeatable
        )
    )
    assert [r.epoch for r in reports] == [1, 2]
    assert not any(r.is_best for r in reports)
    assert np.isfinite(reports[0].terms["total"])
