"""Training on normal images: pinned, streamed, continued to the same weights, refused where it must be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvcore.anomaly.memory_bank import PatchCore
from cvcore.autoencode.base import Autoencoder
from cvcore.checkpoint import read_checkpoint
from cvcore.errors import SpecError
from cvcore.models import ModelSource, build_model
from cvcore.train.batches import ALONE
from cvcore.train.epochs import START
from jobs.train import TrainingError, run_train
from jobs.train_autoencoder import AutoencoderRun, check_autoencoder_data
from jobs.train_catalog import build_train_spec
from jobs.train_images import ImageFeed, pin_images
from jobs.train_normals_spec import AutoencoderTrainSpec, MemoryTrainSpec
from jobs.train_record import EpochRecord, TrainResult
from jobs.train_run import keep_epoch
from jobs.train_state import load_run
from tests.corpus import good_image
from tests.data import shared_data
from tests.plates import CONFIG, SIZE, plate, write_plates
from tests.s3_files import new_bucket, upload
from tests.s3_servers import S3Server

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the workers: sums in another order end in another loss."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plates(tmp_path_factory.mktemp("normals") / "in", 60)


def make_spec(data: Path | str, out: Path | str, **changes: Any) -> AutoencoderTrainSpec:
    settings = {
        "data": str(data),
        "out": str(out),
        "model": "conv_autoencoder",
        "epochs": 3,
        "batch_size": 8,
        "lr": 1e-2,
        "warmup_steps": 2,
        "held_out": 0.2,
        "num_threads": 1,
        "precision": "fp32",
        **CONFIG,
    }
    return AutoencoderTrainSpec.model_validate({**settings, **changes})


def weights(checkpoint: str) -> dict[str, torch.Tensor]:
    return read_checkpoint(Path(checkpoint).read_bytes()).state


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.allclose(first[name], second[name], rtol=1e-4, atol=1e-6) for name in first)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> TrainResult:  # noqa: ARG001
    """An undisturbed run."""
    told: list[EpochRecord] = []
    result = run_train(make_spec(data, tmp_path_factory.mktemp("whole")), on_epoch=told.append)
    assert tuple(told) == result.history
    return result


def test_a_run_learns_and_continues_after_a_cut_to_the_same_weights(
    data: Path, whole: TrainResult, tmp_path: Path
) -> None:
    assert [record.epoch for record in whole.history] == [0, 1, 2]
    assert whole.history[2].held_out["loss"] < 0.8 * whole.history[0].held_out["loss"]
    checkpoint = read_checkpoint(Path(whole.checkpoint).read_bytes())
    assert checkpoint.config == CONFIG
    assert checkpoint.training["held_out"]["data"]["images"] == 48
    model = build_model(ModelSource("", weights=Path(whole.checkpoint).read_bytes()))
    assert isinstance(model, Autoencoder)

    spec = make_spec(data, tmp_path / "cut")
    check_autoencoder_data(spec)
    torch.manual_seed(spec.seed)
    run = AutoencoderRun(spec, ALONE)
    progress = run.progress(run.network(), bf16=False)
    reports = run.reports(progress, first_epoch=0, standing=START, share=lambda score: float(score or 0))
    keep_epoch(run, progress, next(reports), None)  # and then the worker dies
    continued = run_train(spec)
    assert continued.resumed_at == 1
    assert [r.loss for r in continued.history] == pytest.approx([r.loss for r in whole.history], rel=1e-3)
    assert same(weights(continued.checkpoint), weights(whole.checkpoint))
    assert run_train(spec).resumed_at == 3


def test_what_is_read_anew_in_every_epoch_gives_the_same_as_what_is_kept(
    data: Path, whole: TrainResult, tmp_path: Path
) -> None:
    read = run_train(make_spec(data, tmp_path, max_cached_bytes=0))
    assert same(weights(whole.checkpoint), weights(read.checkpoint))


def test_two_workers_learn_together(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path / "two", num_workers=2, batch_size=4, model="vae", latent_size=4)
    result = run_train(spec)
    assert result.history[-1].held_out["loss"] < result.history[0].held_out["loss"]
    saved = load_run(spec)
    assert saved is not None
    assert saved.progress["step"] == 3 * 6


def test_a_loss_that_is_not_finite_stops_and_keeps_the_best(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path / "nan", lr=1e30, epochs=4, warmup_steps=0, model="vae")
    with pytest.raises(TrainingError, match=r"loss is .* lower the learning rate"):
        run_train(spec)


def test_the_feed_gives_every_usable_image_in_the_order_of_units(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path / "feed")
    split = pin_images(spec, held_out=0.2, at_least=1)
    assert (split.train.num_rows, split.held_out.num_rows) == (48, 12)
    names = {
        part.rows(range(part.num_rows)).column("uri")[0].as_py() for part in (split.train, split.held_out)
    }
    assert len(names) == 2
    feed = ImageFeed(spec, split.train, AutoencoderRun(spec, ALONE).model.input_spec)
    order = list(range(feed.plan.num_units))
    forward = np.concatenate(list(feed.blocks(order)))
    assert forward.shape == (48, SIZE, SIZE, 3)
    backward = list(feed.blocks(order[::-1]))
    assert np.array_equal(np.concatenate(backward[::-1]), forward)
    assert feed.failures() == {}


def test_images_are_pinned_by_the_first_attempt(tmp_path: Path) -> None:
    folder = write_plates(tmp_path / "in", 20)
    spec = make_spec(folder, tmp_path / "out")
    first = pin_images(spec, held_out=0.2, at_least=1)
    write_plates(folder, 30)
    again = pin_images(spec, held_out=0.2, at_least=1)
    assert again.train.digest == first.train.digest
    other = pin_images(make_spec(folder, tmp_path / "out2"), held_out=0.2, at_least=1)
    assert other.train.num_rows + other.held_out.num_rows == 30


def test_a_sample_bounds_what_is_learned_from(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path / "few", max_images=20)
    split = pin_images(spec, held_out=0.25, at_least=1)
    assert (split.train.num_rows, split.held_out.num_rows) == (15, 5)


def refuse(spec: Any, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        run_train(spec)


def test_data_that_nothing_can_be_learned_from(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_plates(tmp_path / "one", 1)
    (tmp_path / "alike").mkdir()
    for index in range(20):
        (tmp_path / "alike" / f"{index}.png").write_bytes(plate(1))
    wanted = {
        "empty": "has 0 images",
        "none": "none",
        "one": r"has 1 image: .* at least 10",
        "alike": "look alike",
    }
    for name, words in wanted.items():
        out = tmp_path / f"out-{name}"
        refuse(make_spec(tmp_path / name, out), words)
        assert not list(out.glob("*.safetensors")), "nothing was learned, so nothing is kept"


def test_some_broken_images_are_left_out_and_many_are_refused(tmp_path: Path) -> None:
    folder = write_plates(tmp_path / "in", 40)
    (folder / "000.png").write_bytes(b"not an image")
    (folder / "001.jpg").write_bytes(good_image(3))  # another size
    result = run_train(make_spec(folder, tmp_path / "out", epochs=1, held_out=0.1))
    data = result.details["data"]
    assert data["images"] + data["held_out_images"] in (41, 40)
    for index in range(2, 14):
        (folder / f"{index:03d}.png").write_bytes(b"")
    refuse(make_spec(folder, tmp_path / "out2", epochs=1), r"more than 10% of the .* cannot be used")


def test_settings_of_another_model_are_refused(data: Path, tmp_path: Path) -> None:
    content = {"data": str(data), "out": str(tmp_path), "model": "vae", "hidden": [10]}
    with pytest.raises(SpecError, match="hidden is no setting of vae"):
        build_train_spec(content, name="the run")
    with pytest.raises(SpecError, match=r"cannot be trained.*conv_autoencoder"):
        build_train_spec({**content, "model": "conv_autoencodr"}, name="the run")
    with pytest.raises(SpecError, match="memory_size"):
        build_train_spec({**content, "hidden": None, "memory_size": 5}, name="the run")


def test_images_may_lie_in_a_bucket(s3_environment: S3Server) -> None:
    bucket = new_bucket(s3_environment)
    upload(s3_environment, bucket, {f"in/{index:02d}.png": plate(index) for index in range(24)})
    storage = {"endpoint_url": s3_environment.url}
    result = run_train(make_spec(f"s3://{bucket}/in/", f"s3://{bucket}/model", epochs=1, storage=storage))
    assert result.checkpoint == f"s3://{bucket}/model/model.safetensors"
    assert result.details["data"] | {"digest": ""} == {
        "images": 19,
        "held_out_images": 5,
        "digest": "",
        "failures": {},
    }


def test_a_memory_of_patches_is_filled_from_a_backbones_features(data: Path, tmp_path: Path) -> None:
    file = shared_data("weights", "squeezenet1_1-imagenet", "squeezenet1_1.safetensors")
    content = {
        "data": str(data),
        "out": str(tmp_path / "memory"),
        "model": "patchcore",
        "weights": str(file),
        "input_size": 64,
        "memory_size": 50,
        "num_threads": 1,
    }
    spec = build_train_spec(content, name="the run")
    assert isinstance(spec, MemoryTrainSpec)
    result = run_train(spec)
    assert result.details["patches"] == 50
    assert result.details["data"]["images"] == 60
    model = build_model(ModelSource("", weights=Path(result.checkpoint).read_bytes()))
    assert isinstance(model, PatchCore)
    assert int(model.stored) == 50
    again = run_train(build_train_spec({**content, "out": str(tmp_path / "again")}, name="the run"))
    assert same(weights(again.checkpoint), weights(result.checkpoint))
