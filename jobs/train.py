"""Train on Ray Train: detectors, classifiers and segmenters on datasets, the others on normal images.

Killing a run at any time and starting it again with the same spec continues after the last finished epoch,
and makes the same steps as a run that was never interrupted. A run that has ended is not repeated.
"""

from __future__ import annotations

import os
import tempfile

import ray
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from cvcore.errors import SpecError, VeedorError
from cvcore.train.progress import LossIsNotFiniteError
from jobs.ray_session import ray_session
from jobs.storage import join
from jobs.storage.roots import VARIABLE
from jobs.train_autoencoder import check_autoencoder_data
from jobs.train_classifier import check_classifier_data
from jobs.train_detector import check_detector_data
from jobs.train_memory import check_memory_data, run_memory
from jobs.train_normals_spec import AutoencoderTrainSpec, MemoryTrainSpec
from jobs.train_record import TrainResult
from jobs.train_segmenter import check_segmenter_data
from jobs.train_spec import (
    ClassifierTrainSpec,
    DetectorTrainSpec,
    EpochsTrainSpec,
    SegmenterTrainSpec,
    TrainSpec,
)
from jobs.train_state import CHECKPOINT_NAME, SavedRun, load_run
from jobs.train_watch import OnEpoch, watch_history
from jobs.train_worker import train_worker

SPARE_CPUS = 0.5


class TrainingError(VeedorError):
    """The workers failed more often than `max_failures` allows."""


def run_train(
    spec: TrainSpec,
    *,
    address: str | None = None,
    verbose: bool = False,
    on_epoch: OnEpoch | None = None,
) -> TrainResult:
    """Carry out a training run, or the rest of it.

    Args:
        spec: what to train, on what, and how long.
        address: of a Ray cluster; None uses `RAY_ADDRESS`, one already joined, or an embedded one.
        verbose: show what Ray says.
        on_epoch: told of every epoch this call trains, in order, soon after it is kept; from another thread.

    Raises:
        SpecError: for data, settings or an `out` that cannot be trained with.
        TrainingError: when the workers keep failing.
    """
    if isinstance(spec, MemoryTrainSpec):
        weights = check_memory_data(spec)
        with ray_session(address=address, verbose=verbose):
            return run_memory(spec, weights)
    assert isinstance(spec, EpochsTrainSpec)
    _check_data(spec)
    saved = load_run(spec)
    resumed_at = len(saved.history) if saved else 0
    if saved is None or not saved.finished:
        with ray_session(address=address, verbose=verbose) as session:
            _check_room(spec, session.shape.num_cpus, session.shape.num_gpus)
            with watch_history(spec, on_epoch, done=resumed_at):
                _fit(spec, num_cpus=session.shape.num_cpus, verbose=verbose)
        saved = load_run(spec)
    assert saved is not None
    return _result(spec, saved, resumed_at)


def _check_data(spec: EpochsTrainSpec) -> None:
    """Refuse what no worker could train with, before any is started."""
    if isinstance(spec, DetectorTrainSpec):
        check_detector_data(spec)
    elif isinstance(spec, ClassifierTrainSpec):
        check_classifier_data(spec)
    elif isinstance(spec, SegmenterTrainSpec):
        check_segmenter_data(spec)
    else:
        assert isinstance(spec, AutoencoderTrainSpec)
        check_autoencoder_data(spec)


def _check_room(spec: EpochsTrainSpec, num_cpus: float, num_gpus: float) -> None:
    """Refuse what the cluster could never schedule: Ray would wait forever."""
    if spec.num_workers > num_cpus:
        raise SpecError(f"num_workers {spec.num_workers} needs as many CPUs; the cluster has {num_cpus:g}")
    if spec.num_workers * spec.gpus_per_worker > num_gpus:
        raise SpecError(
            f"{spec.num_workers} workers with {spec.gpus_per_worker:g} GPUs each need more than the "
            f"cluster's {num_gpus:g} GPUs; set gpus_per_worker: 0 to train on CPUs"
        )


def _fit(spec: EpochsTrainSpec, *, num_cpus: float, verbose: bool) -> None:
    # Something is left for the tasks that decode, which a worker waits for.
    resources = {"CPU": min(1.0, (num_cpus - SPARE_CPUS) / spec.num_workers)}
    if spec.gpus_per_worker:
        resources["GPU"] = spec.gpus_per_worker
    # Ray Train wants a folder for its own notes. State that matters goes to `spec.out` through the store.
    with tempfile.TemporaryDirectory(prefix="veedor-train-") as notes:
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={
                "spec": spec.model_dump(mode="json"),
                "allowed_roots": os.environ.get(VARIABLE),
            },
            scaling_config=ScalingConfig(
                num_workers=spec.num_workers,
                use_gpu=spec.gpus_per_worker > 0,
                resources_per_worker=resources,
            ),
            run_config=RunConfig(
                name="train",
                storage_path=notes,
                failure_config=FailureConfig(max_failures=spec.max_failures),
                logging_config=LoggingConfig(log_level="INFO" if verbose else "ERROR"),
            ),
        )
        try:
            refusal = trainer.fit().return_value
        except WorkerGroupError as error:
            raise _cause(error) from error
        except (TrainingFailedError, ray.exceptions.RayError) as error:
            raise TrainingError(f"training stopped: {error}") from error
    if refusal is not None:
        raise _as_told(refusal)


def _as_told(error: VeedorError) -> VeedorError:
    """A worker's error as the user is told of it."""
    if isinstance(error, LossIsNotFiniteError):
        return TrainingError(f"{error}. The best epoch before is kept")
    return error


def _cause(error: WorkerGroupError) -> VeedorError:
    """The user's mistake that a worker met, if that is what it was."""
    for failure in error.worker_failures.values():
        if isinstance(failure, VeedorError):
            return _as_told(failure)
    rank, failure = next(iter(sorted(error.worker_failures.items())))
    return TrainingError(
        f"training stopped after its last retry; worker {rank}: {type(failure).__name__}: {failure}. "
        "Run the same command again to continue after the last finished epoch"
    )


def _result(spec: EpochsTrainSpec, saved: SavedRun, resumed_at: int) -> TrainResult:
    return TrainResult(
        checkpoint=join(spec.out, CHECKPOINT_NAME),
        history=saved.history,
        best_epoch=saved.standing.best_epoch,
        details=saved.details,
        resumed_at=resumed_at,
    )
