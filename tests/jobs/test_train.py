"""Training on Ray Train: two epochs on two dozen scenes, interrupted, repeated, refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from cvcore.checkpoint import load_into, read_checkpoint, save_checkpoint
from cvcore.detect.yolo import build_tiny
from cvcore.errors import ModelError, SpecError
from cvcore.scenes import SceneSpec, write_scenes
from cvcore.train.augment import AugmentOptions
from cvcore.train.batches import ALONE, steps_per_epoch
from cvcore.train.loop import DetectorLoss, detector_loss
from cvcore.train.progress import OptimizeOptions, Progress
from cvcore.train.run import DetectorReport, RunOptions, detector_epochs
from cvcore.train.samples import load_samples
from jobs.train import run_train
from jobs.train_data import read_splits
from jobs.train_detector import DetectorProgress, DetectorRun, prepare_run
from jobs.train_record import EpochRecord
from jobs.train_run import keep_epoch
from jobs.train_spec import DetectorTrainSpec
from jobs.train_state import STATE_NAME, load_run, read_history
from tests.s3_files import new_bucket, upload
from tests.s3_servers import S3Server

LABELS = ("bolt", "nut", "washer", "gear", "bearing", "bracket")
SMALL = SceneSpec(min_side=200, max_side=280)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the workers: sums in another order end in another loss."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_scenes(folder / "train", num_scenes=24, seed=300, spec=SMALL)
    write_scenes(folder / "val", num_scenes=4, seed=900, spec=SMALL)
    return folder


def make_spec(folder: Path, out_folder: Path, /, **changes: Any) -> DetectorTrainSpec:
    settings = {
        "data": str(folder / "train"),
        "val_data": str(folder / "val"),
        "out": str(out_folder),
        "width": 4,
        "input_size": 96,
        "epochs": 2,
        "batch_size": 4,
        "lr": 4e-3,
        "num_threads": 1,
        "precision": "fp32",
    }
    return DetectorTrainSpec.model_validate({**settings, **changes})


@pytest.mark.usefixtures("ray_cluster")
def test_two_epochs_lower_the_loss_and_equal_the_bare_loop(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path / "out")
    told: list[EpochRecord] = []
    result = run_train(spec, on_epoch=told.append)
    assert tuple(told) == result.history
    assert [record.epoch for record in result.history] == [0, 1]
    assert result.history[1].loss < result.history[0].loss
    assert result.resumed_at == 0

    checkpoint = read_checkpoint(Path(result.checkpoint).read_bytes())
    assert checkpoint.labels == LABELS
    model = build_tiny(checkpoint.labels, **checkpoint.config)
    load_into(model, checkpoint.state)
    assert json.loads((tmp_path / "out/history.json").read_text())[1]["loss"] == result.history[1].loss
    assert [record.loss for record in result.history] == pytest.approx(bare_losses(spec), rel=1e-4)


@pytest.mark.usefixtures("ray_cluster")
def test_a_cut_off_run_continues_and_a_finished_one_rests(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path / "out")
    reference = bare_losses(spec)
    progress, reports = bare_run(spec)
    keep_epoch(DetectorRun(spec, ALONE), progress, next(reports), None)

    continued = run_train(spec)
    assert continued.resumed_at == 1
    assert [record.epoch for record in continued.history] == [0, 1]
    assert [record.loss for record in continued.history] == pytest.approx(reference, rel=1e-4)

    before = (tmp_path / "out" / STATE_NAME).stat().st_mtime_ns
    again = run_train(spec)
    assert again.resumed_at == 2
    assert again.history == continued.history
    assert (tmp_path / "out" / STATE_NAME).stat().st_mtime_ns == before


@pytest.mark.usefixtures("ray_cluster")
def test_two_workers_share_an_epoch(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path / "out", num_workers=2)
    result = run_train(spec)
    assert len(result.history) == 2
    assert result.history[1].loss < 1.05 * result.history[0].loss
    saved = load_run(spec)
    assert saved is not None
    assert saved.progress["step"] == 2 * 24 // (2 * spec.batch_size)


def bare_run(spec: DetectorTrainSpec) -> tuple[DetectorProgress, Iterator[DetectorReport]]:
    """The same run without Ray."""
    torch.manual_seed(spec.seed)
    model = build_tiny(LABELS, width=4, input_size=96)
    train, held_out = (
        load_samples(split.dataset, split.source.read_image, LABELS, model.input_spec)
        for split in read_splits(spec)
    )
    total = spec.epochs * steps_per_epoch(len(train.samples), spec.batch_size)
    compute = detector_loss(model, DetectorLoss(model))
    progress = Progress(model, model, compute, OptimizeOptions(spec.lr, total, total // 4))
    views = AugmentOptions(model.augmentation)
    options = RunOptions(spec.epochs, spec.batch_size, augment=views)
    return progress, detector_epochs(progress, train, held_out, options)


def bare_losses(spec: DetectorTrainSpec) -> list[float]:
    return [report.terms["total"] for report in bare_run(spec)[1]]


def test_another_runs_state_is_not_continued(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path / "out")
    progress, reports = bare_run(spec)
    keep_epoch(DetectorRun(spec, ALONE), progress, next(reports), None)
    with pytest.raises(SpecError, match="other settings"):
        run_train(make_spec(data, tmp_path / "out", lr=1e-3))


def test_how_a_run_is_carried_out_does_not_make_it_another(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path)
    assert make_spec(data, tmp_path, max_failures=0, num_threads=2).digest == spec.digest
    assert make_spec(data, tmp_path, seed=1).digest != spec.digest


def test_data_that_cannot_be_trained_on_is_refused_before_ray_starts(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nothing"):
        run_train(make_spec(data, tmp_path / "out", data=str(tmp_path / "nothing")))
    document = json.loads((data / "val/annotations.json").read_text())
    document["categories"].append({"id": 7, "name": "spring"})
    shutil.copytree(data / "val/images", tmp_path / "images")
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(SpecError, match="spring"):
        run_train(make_spec(data, tmp_path / "out", val_data=str(tmp_path)))


def test_unknown_fields_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="learning_rate"):
        make_spec(data, tmp_path, learning_rate=1.0)


def test_data_and_state_may_live_on_s3(data: Path, tmp_path: Path, s3_environment: S3Server) -> None:
    bucket = new_bucket(s3_environment)
    files = sorted(path for path in (data / "val").rglob("*") if path.is_file())
    upload(s3_environment, bucket, {f"val/{f.relative_to(data / 'val')}": f.read_bytes() for f in files})
    remote = make_spec(data, tmp_path, data=f"s3://{bucket}/val", out=f"s3://{bucket}/out")
    local = make_spec(data, tmp_path, data=str(data / "val"))
    progress, reports = bare_run(remote)
    saved = keep_epoch(DetectorRun(remote, ALONE), progress, next(reports), None)
    assert saved.history[0].loss == pytest.approx(next(bare_run(local)[1]).terms["total"], rel=1e-4)
    loaded = load_run(remote)
    assert loaded is not None
    assert loaded.history == saved.history == read_history(remote)


def test_anchors_are_fitted_to_the_data_on_request(data: Path, tmp_path: Path) -> None:
    _, _, model = prepare_run(make_spec(data, tmp_path, anchors="fit"))
    areas = [w * h for w, h in model.config["anchors"]]
    assert len(areas) == 9
    assert areas == sorted(areas)
    assert model.config["anchors"] != build_tiny(LABELS).config["anchors"]


@pytest.mark.parametrize(
    ("labels", "given"), [(LABELS, 1.0), (LABELS[:5], 0.95)], ids=["its classes", "other classes"]
)
def test_a_run_may_start_from_a_checkpoint(
    data: Path, tmp_path: Path, labels: tuple[str, ...], given: float
) -> None:
    torch.manual_seed(5)
    start = build_tiny(labels, width=4, input_size=96)
    body = save_checkpoint(start.state_dict(), model="tiny", config=start.config, labels=labels, training={})
    file = tmp_path / "start.safetensors"
    file.write_bytes(body)
    _, _, model = prepare_run(make_spec(data, tmp_path, init=str(file)))
    before = start.state_dict()
    kept = [
        torch.equal(value, before[name])
        for name, value in model.state_dict().items()
        if value.shape == before[name].shape
    ]
    assert all(kept)
    assert len(kept) >= given * len(before)
    assert model.labels == LABELS


def test_weights_of_another_width_are_refused(data: Path, tmp_path: Path) -> None:
    start = build_tiny(LABELS, width=8, input_size=96)
    body = save_checkpoint(start.state_dict(), model="tiny", config=start.config, labels=LABELS, training={})
    file = tmp_path / "start.safetensors"
    file.write_bytes(body)
    with pytest.raises(ModelError, match=r"does not fit.*Give the width"):
        prepare_run(make_spec(data, tmp_path, init=str(file)))
