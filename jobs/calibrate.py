"""The calibrate job: score normal images, and keep what the scores of normal images are, beside the model."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cvcore.anomaly.calibration import Calibration, Threshold
from cvcore.anomaly.options import LATENT, MAP_KINDS, ScoreName
from cvcore.errors import ModelError, TooFewNormalsError
from jobs.calibration import CalibrationFile, to_npy
from jobs.model_facts import ModelFacts
from jobs.model_files import fetch_model, model_folder
from jobs.outcome import RunResult
from jobs.prepare import PREFLIGHT_ATTEMPTS
from jobs.progress import Listener
from jobs.purpose import Purpose
from jobs.run_folder import RunFolder, new_writer, read_job
from jobs.run_job import run_job
from jobs.run_rows import read_table, vectors_of
from jobs.scan_spec import CALIBRATION_NAME, CalibrateSpec
from jobs.stages.tasks import ScoreTask, Task
from jobs.storage import join, open_store

Floats = npt.NDArray[np.float64]
MAX_NORMALS = 2000
"""Latent vectors and images' properties that a calibration keeps."""
ODD_RANGES = 3.0
"""Scores so many interquartile ranges above the third quartile look odd (Tukey 1977: far out)."""
INPUTS = ("brightness", "contrast", "width", "height")
COLUMNS = ("uri", "status", "anomaly_raw", "embedding", *INPUTS)


@dataclass(frozen=True)
class Calibrated:
    """What calibrating came to."""

    uri: str
    result: RunResult
    file: CalibrationFile
    threshold: Threshold
    odd: tuple[str, ...]


def run_calibrate(
    spec: CalibrateSpec,
    *,
    listener: Listener,
    address: str | None = None,
    verbose: bool = False,
    sessions: ExitStack | None = None,
) -> Calibrated:
    """Score the normal images of `spec.source` as a run of its own, and write the calibration from its rows.

    Every call looks at the images anew; one that was killed continues. The file is replaced.

    Raises:
        SpecError, ModelError, TooFewNormalsError: for images or a model that cannot be used.
        JobFailed: when the run stopped on the way.
    """
    chosen: list[ScoreName] = []

    def task(facts: ModelFacts) -> Task:
        chosen[:] = [choose_score(spec, facts)]
        # A latent score is fitted afterwards, to latent vectors that every score's rows bring.
        measured = MAP_KINDS[0] if chosen[0] in LATENT else chosen[0]
        return ScoreTask(measured, spec.score.options)

    folder = model_folder(spec.model.name)
    store = open_store(folder, spec.storage.access(attempts=PREFLIGHT_ATTEMPTS))
    model = fetch_model(spec.model, spec.storage.access(attempts=PREFLIGHT_ATTEMPTS))
    run_uri = _run_uri(folder, spec)
    run = spec.model_copy(update={"sink": spec.sink.model_copy(update={"uri": run_uri})})
    result = run_job(
        run, Purpose(task), listener=listener, address=address, verbose=verbose, sessions=sessions
    )
    if not chosen:  # the run was finished before, and nothing was inspected
        from jobs.model_facts import model_facts

        task(model_facts(model.source))
    record = read_job(RunFolder(run_uri), store)
    assert record is not None, "the run that was just finished has a record"
    rows = read_table(RunFolder(run_uri), store, COLUMNS)
    assert rows is not None, "a run is planned for at least one input"
    file, odd = fit_calibration(
        spec, chosen[0], rows, model_sha256=record.model["digests"]["weights"], digest=record.job_id
    )
    target = join(folder, CALIBRATION_NAME)
    store.put(target, file.encode())
    _forget_attempt(folder, spec)
    return Calibrated(target, result, file, file.threshold(), odd)


def choose_score(spec: CalibrateSpec, facts: ModelFacts) -> ScoreName:
    """The score that is asked for, or the model's default.

    Raises:
        ModelError: if the model does not give it.
    """
    if not facts.scores:
        raise ModelError(f"{spec.model.name} gives no anomaly scores: train an autoencoder, or patchcore")
    if spec.score.name is None:
        return facts.scores[0]
    if spec.score.name not in facts.scores:
        raise ModelError(
            f"{spec.model.name} does not give the score {spec.score.name!r}: choose one of "
            f"{', '.join(facts.scores)}"
        )
    return spec.score.name


def fit_calibration(
    spec: CalibrateSpec, score: ScoreName, rows: pa.Table, *, model_sha256: str, digest: str
) -> tuple[CalibrationFile, tuple[str, ...]]:
    """From a run's rows to a calibration, and where the images are that look odd.

    Raises:
        TooFewNormalsError: for too few usable images, or images that all score alike.
    """
    usable = rows.filter(pc.equal(rows.column("status"), "ok"))
    if not usable.num_rows:
        raise TooFewNormalsError(f"none of the {rows.num_rows} images of {spec.source.uri} can be used")
    latents = vectors_of(usable)
    raw = usable.column("anomaly_raw").to_numpy().astype(np.float64)
    normals: npt.NDArray[np.float32] | None = None
    if score in LATENT:
        assert latents is not None, "models that give latent scores have latent vectors"
        # Vectors that a score was fitted to lie too near to themselves to tell what is normal.
        fitted = np.arange(len(latents)) % 2 == 0
        normals = latents[fitted][:MAX_NORMALS]
        usable = usable.filter(pa.array(~fitted))
        latents = latents[~fitted]
        raw = _latent_scores(score, spec, normals, latents)
    odd = find_odd(raw)
    places = tuple(usable.column("uri").filter(pa.array(odd)).to_pylist())
    if spec.robust:
        raw, usable = raw[~odd], usable.filter(pa.array(~odd))
        latents = None if latents is None else latents[~odd]
    calibration = Calibration.fit(raw)
    threshold = calibration.threshold(spec.target_fpr)
    file = CalibrationFile(
        model_sha256=model_sha256,
        score=score,
        options=spec.score.options,
        target_fpr=spec.target_fpr,
        scores=calibration.scores,
        map_range=(float(np.median(raw)), threshold.raw),
        inputs={name: usable.column(name).to_numpy()[:MAX_NORMALS].astype(np.float64) for name in INPUTS},
        normals=None if normals is None else to_npy(normals),
        latents=None if latents is None else to_npy(latents[:MAX_NORMALS]),
        source=spec.source.uri,
        digest=digest,
        num_odd=int(odd.sum()),
        robust=spec.robust,
    )
    return file, places


def find_odd(raw: Floats) -> npt.NDArray[np.bool_]:
    """Which scores lie far out among the others (Tukey 1977)."""
    first, third = np.quantile(raw, [0.25, 0.75])
    found: npt.NDArray[np.bool_] = raw > third + ODD_RANGES * (third - first)
    return found


def _latent_scores(
    score: ScoreName, spec: CalibrateSpec, normals: npt.NDArray[Any], latents: npt.NDArray[Any]
) -> Floats:
    import torch

    from cvcore.anomaly.latent import Mahalanobis, NearestNeighbors

    fitted = torch.from_numpy(normals)
    scorer: Mahalanobis | NearestNeighbors
    if score == "mahalanobis":
        scorer = Mahalanobis.fit(fitted)
    else:
        scorer = NearestNeighbors(fitted, spec.score.neighbors)
    return scorer.score(torch.from_numpy(latents)).numpy().astype(np.float64)


def _attempt_uri(folder: str, spec: CalibrateSpec) -> str:
    return join(folder, "_veedor", f"calibrating-{spec.identity()[:16]}")


def _run_uri(folder: str, spec: CalibrateSpec) -> str:
    """The run of this call: that of an attempt that did not end, or a new one."""
    store = open_store(folder, spec.storage.access(attempts=PREFLIGHT_ATTEMPTS))
    note = _attempt_uri(folder, spec)
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{new_writer()[1:7]}"
    store.create(note, name.encode(), writer=new_writer())
    return join(folder, "calibrations", store.read(note).decode())


def _forget_attempt(folder: str, spec: CalibrateSpec) -> None:
    open_store(folder, spec.storage.access()).delete(_attempt_uri(folder, spec))
