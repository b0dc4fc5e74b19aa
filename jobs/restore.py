"""The denoise and compress jobs, and the way back from codes: what autoencoders make of images."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from cvcore.errors import ModelError, SpecError
from jobs.calibration import from_npy, read_calibration
from jobs.model_facts import ModelFacts
from jobs.model_files import fetch_model, model_folder
from jobs.outcome import RunResult
from jobs.prepare import Purpose
from jobs.progress import Listener
from jobs.run_folder import RunFolder, read_job
from jobs.run_job import run_job
from jobs.run_rows import iter_tables
from jobs.scan_spec import CALIBRATION_NAME
from jobs.spec import ModelSection, PipelineSpec, Precision
from jobs.stages.settings import CodeTask, RestoreTask, Task
from jobs.storage import Access, join, name_below, open_store, resolve_location


class ImageSpec(PipelineSpec):
    """What both jobs have in common."""

    model: ModelSection

    @property
    def precision(self) -> Precision:
        """Always full: codes of one machine are read on another."""
        return "fp32"


class DenoiseSpec(ImageSpec):
    """Send images through a denoising autoencoder.

    `noise` (standard deviation, 0 to 1 gray) is added before, to measure how much of it is taken away again.
    """

    job: Literal["denoise"] = "denoise"
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0


class CompressSpec(ImageSpec):
    """Code images as an autoencoder's latent vectors; `step`, between levels, is in units of their spread."""

    job: Literal["compress"] = "compress"
    step: Annotated[float, Field(gt=0)] = 0.5


def run_denoise(
    spec: DenoiseSpec,
    *,
    listener: Listener,
    address: str | None = None,
    verbose: bool = False,
    sessions: ExitStack | None = None,
) -> RunResult:
    """`jobs.run_job.run_job`, to restore."""
    return run_job(
        spec, to_restore(spec), listener=listener, address=address, verbose=verbose, sessions=sessions
    )


def to_restore(spec: DenoiseSpec) -> Purpose:
    """The purpose of a denoise job."""

    def task(facts: ModelFacts) -> Task:
        _check_autoencoder(spec, facts)
        return RestoreTask(spec.noise)

    return Purpose(task)


def run_compress(
    spec: CompressSpec,
    *,
    listener: Listener,
    address: str | None = None,
    verbose: bool = False,
    sessions: ExitStack | None = None,
) -> RunResult:
    """`jobs.run_job.run_job`, to code under what the model's calibration saw."""
    return run_job(
        spec, to_code(spec), listener=listener, address=address, verbose=verbose, sessions=sessions
    )


def to_code(spec: CompressSpec) -> Purpose:
    """The purpose of a compress job."""
    prior, sha256 = read_prior(spec.model, spec.storage.access())

    def task(facts: ModelFacts) -> Task:
        _check_autoencoder(spec, facts)
        return CodeTask(spec.step, prior)

    return Purpose(task, {"calibration": sha256})


def _check_autoencoder(spec: ImageSpec, facts: ModelFacts) -> None:
    if not facts.reconstructs:
        raise ModelError(f"{spec.model.name} reconstructs nothing: use a trained autoencoder")


def read_prior(model: ModelSection, access: Access) -> tuple[bytes, str]:
    """The latent vectors' distribution, (2, D) as .npy, from the calibration beside a model, and its digest.

    Raises:
        SpecError: if there is none, or it is of another model.
    """
    from cvcore.autoencode.coding import Prior

    uri = join(model_folder(model.name), CALIBRATION_NAME)
    calibration, sha256 = read_calibration(uri, access)
    if calibration.latents is None:
        raise SpecError(f"{uri} holds no latent vectors: calibrate an autoencoder")
    prior = Prior.fit(from_npy(calibration.latents))
    buffer = io.BytesIO()
    np.save(buffer, np.stack([prior.means, prior.scales]), allow_pickle=False)
    return buffer.getvalue(), sha256


@dataclass(frozen=True)
class Written:
    """Pictures that were written, and rows that held none."""

    uri: str
    num_images: int
    num_failed: int


def write_images(run_uri: str, out: str, *, access: Access) -> Written:
    """Write the pictures of a denoise run as PNG files, under their inputs' names."""
    return _write(run_uri, out, "image", lambda row: row["image"], access)


def decompress(run_uri: str, out: str, *, access: Access, model: str | None = None) -> Written:
    """Write what the codes of a compress run stand for as PNG files of the inputs' sizes.

    Raises:
        SpecError, ModelError: for another run, or another model or calibration than it was made with.
    """
    import torch
    from PIL import Image

    from cvcore.autoencode.base import Autoencoder
    from cvcore.autoencode.coding import Prior, decode_latent
    from cvcore.models import build_model
    from jobs.stages.image_heads import encode_png

    folder = RunFolder(resolve_location(run_uri).rstrip("/"))
    record = read_job(folder, open_store(folder.uri, access))
    if record is None or record.job != "compress":
        raise SpecError(f"{folder.uri} is no run of veedor compress")
    section = ModelSection.model_validate(record.spec["model"])
    section = section if model is None else section.model_copy(update={"name": model})
    fetched = fetch_model(section, access)
    prior_body, sha256 = read_prior(section, access)
    now = {**fetched.digests, "calibration": sha256}
    if now != record.model["digests"]:
        raise SpecError(
            f"{section.name} and its calibration are not those that {folder.uri} was made with: codes can "
            "be read with those alone; name them with --model"
        )
    network = build_model(fetched.source)
    assert isinstance(network, Autoencoder)
    prior = Prior(*np.load(io.BytesIO(prior_body)).astype(np.float64))

    @torch.inference_mode()
    def picture(row: dict[str, Any]) -> bytes:
        code = decode_latent(row["code"], prior)
        decoded = network.decode(torch.from_numpy(code.latent).float()[None])[0]
        with Image.open(io.BytesIO(encode_png(decoded))) as small:
            full = small.resize((code.width, code.height), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        full.save(buffer, "PNG")
        return buffer.getvalue()

    return _write(run_uri, out, "code", picture, access)


def _write(run_uri: str, out: str, column: str, picture: Any, access: Access) -> Written:
    folder = RunFolder(resolve_location(run_uri).rstrip("/"))
    store = open_store(folder.uri, access)
    record = read_job(folder, store)
    if record is None or not store.exists(folder.success):
        raise SpecError(f"{folder.uri} is no finished run: name the --out of a job")
    target = resolve_location(out).rstrip("/")
    sink = open_store(target, access)
    written = failed = 0
    for row in _rows(folder, store, column):
        if row[column] is None:
            failed += 1
            continue
        name = PurePosixPath(name_below(row["uri"], record.source))
        frame = "" if row["frame_index"] is None else f"-{row['frame_index']:06d}"
        sink.put(join(target, str(name.with_name(f"{name.stem}{frame}.png")).lstrip("/")), picture(row))
        written += 1
    return Written(target, written, failed)


def _rows(folder: RunFolder, store: Any, column: str) -> Iterator[dict[str, Any]]:
    for table in iter_tables(folder, store, ("uri", "frame_index", column)):
        if column not in table.column_names:
            raise SpecError(f"{folder.uri} holds no column {column!r}: it is the run of another job")
        yield from table.to_pylist()


def code_figures(run_uri: str, *, access: Access) -> str:
    """How long a compress run's codes are, and how near they come."""
    folder = RunFolder(resolve_location(run_uri).rstrip("/"))
    tables = list(iter_tables(folder, open_store(folder.uri, access), ("width", "height", "code", "psnr")))
    table = pa.concat_tables(tables)
    table = table.filter(pc.is_valid(table.column("code")))
    if not table.num_rows:
        return "No input could be coded"
    mean_bytes = pc.mean(pc.binary_length(table.column("code"))).as_py()
    pixels = pc.sum(pc.multiply(table.column("width"), table.column("height"))).as_py()
    bits = 8 * mean_bytes * table.num_rows / pixels
    ratio = pc.mean(table.column("psnr")).as_py()
    return f"{mean_bytes:.0f} bytes an image, {bits:.3f} bits a pixel; PSNR {ratio:.2f} dB on the canvas"


def mean_figures(run_uri: str, names: tuple[str, ...], *, access: Access) -> dict[str, float]:
    """Means of a run's columns over the rows that have them."""
    folder = RunFolder(resolve_location(run_uri).rstrip("/"))
    tables = list(iter_tables(folder, open_store(folder.uri, access), names))
    if not tables:
        return {}
    table = pa.concat_tables(tables)
    means = {name: pc.mean(table.column(name)).as_py() for name in names if name in table.column_names}
    return {name: value for name, value in means.items() if value is not None}
