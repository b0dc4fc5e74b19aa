"""The compress job, and the way back: images as an autoencoder's codes."""

from __future__ import annotations

import io
from contextlib import ExitStack
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pydantic import Field

from cvcore.autoencode.coding import Prior, decode_latent
from cvcore.errors import SpecError
from jobs.calibration import KeptCalibration, from_npy, read_calibration
from jobs.model_facts import ModelFacts, check_reconstructs
from jobs.model_files import fetch_model, model_folder
from jobs.outcome import RunResult
from jobs.pictures import Written, write_pictures
from jobs.progress import Listener
from jobs.purpose import Purpose
from jobs.run_folder import RunFolder, read_job
from jobs.run_job import run_job
from jobs.run_rows import iter_tables
from jobs.scan_spec import CALIBRATION_NAME
from jobs.spec import ExactSpec, ModelSection
from jobs.stages.tasks import CodeTask, Task
from jobs.storage import Access, join, open_store, resolve_location


class CompressSpec(ExactSpec):
    """Code images as an autoencoder's latent vectors; `step`, between levels, is in units of their spread."""

    job: Literal["compress"] = "compress"
    step: Annotated[float, Field(gt=0)] = 0.5


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
    prior, calibration = read_prior(spec.model, spec.storage.access())

    def task(facts: ModelFacts) -> Task:
        check_reconstructs(facts, spec.model.name)
        return CodeTask(spec.step, prior)

    return Purpose(task, {"calibration": calibration.sha256}, calibration.check_model)


def read_prior(model: ModelSection, access: Access) -> tuple[bytes, KeptCalibration]:
    """The latent vectors' distribution, (2, D) as .npy, and the calibration beside a model that it is from.

    Raises:
        SpecError: if there is none, or one without latent vectors.
    """
    uri = join(model_folder(model.name), CALIBRATION_NAME)
    calibration = read_calibration(uri, access)
    if calibration.file.latents is None:
        raise SpecError(f"{uri} holds no latent vectors: calibrate an autoencoder")
    prior = Prior.fit(from_npy(calibration.file.latents))
    buffer = io.BytesIO()
    np.save(buffer, np.stack([prior.means, prior.scales]), allow_pickle=False)
    return buffer.getvalue(), calibration


def write_decoded(run_uri: str, out: str, *, access: Access, model: str | None = None) -> Written:
    """Write what the codes of a compress run stand for as PNG files of the inputs' sizes.

    Raises:
        SpecError, ModelError: for another run, or another model or calibration than it was made with.
    """
    import torch

    from cvcore.autoencode.base import Autoencoder
    from cvcore.models import build_model
    from jobs.stages.image_heads import encode_png

    folder = RunFolder(resolve_location(run_uri).rstrip("/"))
    record = read_job(folder, open_store(folder.uri, access))
    if record is None or record.job != "compress":
        raise SpecError(f"{folder.uri} is no run of veedor compress")
    section = ModelSection.model_validate(record.spec["model"])
    section = section if model is None else section.model_copy(update={"name": model})
    fetched = fetch_model(section, access)
    prior_body, calibration = read_prior(section, access)
    now = {**fetched.digests, "calibration": calibration.sha256}
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

    return write_pictures(run_uri, out, "code", picture, access=access)


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
