"""The calibration file beside a model: what its scores mean, learned from normal images."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cvcore.anomaly.calibration import Calibration, Threshold
from cvcore.anomaly.drift import LatentReference, Reference
from cvcore.anomaly.options import ScoreName, ScoreOptions
from cvcore.errors import SpecError
from jobs.stages.tasks import ScoreTask
from jobs.storage import Access, ObjectMissing, open_store

FORMAT = 1
MIN_SCALE = 1e-9
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationFile:
    """What `veedor calibrate` leaves.

    Attributes:
        model_sha256: of the weights that it is of.
        score, options: what was measured.
        target_fpr: the rate that was asked for.
        scores: raw ones of normal images, rising.
        map_range: the median and the threshold of `scores`, which heat maps are scaled by.
        inputs: `brightness`, `contrast`, `width`, `height` of the images.
        normals: latent vectors, (N, D) float32, that the score is fitted to, as .npy; None where it is not.
        latents: latent vectors, (N, D) float32, of the images, as .npy; None where there are none.
        source, digest: of the normal images.
        num_odd: images that looked odd among the others; `robust` says that they were left out.
    """

    model_sha256: str
    score: ScoreName
    options: ScoreOptions
    target_fpr: float
    scores: Floats
    map_range: tuple[float, float]
    inputs: dict[str, Floats]
    normals: bytes | None = field(repr=False)
    latents: bytes | None = field(repr=False)
    source: str
    digest: str
    num_odd: int
    robust: bool

    @property
    def calibration(self) -> Calibration:
        return Calibration.fit(self.scores)

    def threshold(self, fpr: float | None = None) -> Threshold:
        """For a rate; by default the one that was asked for."""
        return self.calibration.threshold(self.target_fpr if fpr is None else fpr)

    def task(self, heatmap_score: float) -> ScoreTask:
        """What a scan's actors are to do."""
        median, threshold = self.map_range
        return ScoreTask(
            self.score,
            self.options,
            self.normals,
            self.calibration,
            self.threshold().raw,
            heatmap_score,
            map_center=threshold,
            map_scale=max(threshold - median, MIN_SCALE),
        )

    def reference(self) -> Reference:
        """What scans are compared with."""
        latents = None if self.latents is None else LatentReference.fit(from_npy(self.latents))
        return Reference(self.scores, self.inputs, latents)

    def encode(self) -> bytes:
        """As JSON; equal contents give equal bytes."""
        content = {
            "format": FORMAT,
            "model_sha256": self.model_sha256,
            "score": self.score,
            "options": {
                "sigma": self.options.sigma,
                "reduction": self.options.reduction,
                "neighbors": self.options.neighbors,
            },
            "target_fpr": self.target_fpr,
            "scores": self.scores.tolist(),
            "map_range": list(self.map_range),
            "inputs": {name: values.tolist() for name, values in self.inputs.items()},
            "normals": None if self.normals is None else base64.b64encode(self.normals).decode(),
            "latents": None if self.latents is None else base64.b64encode(self.latents).decode(),
            "source": self.source,
            "digest": self.digest,
            "num_odd": self.num_odd,
            "robust": self.robust,
        }
        return json.dumps(content, sort_keys=True).encode()


def decode_calibration(body: bytes, *, name: str) -> CalibrationFile:
    """The inverse of `CalibrationFile.encode`; raises `SpecError` for anything else."""
    try:
        content: dict[str, Any] = json.loads(body)
        if content.pop("format") != FORMAT:
            raise SpecError(f"{name} is of another version of veedor: calibrate again")
        content["options"] = ScoreOptions(**content["options"])
        content["scores"] = np.array(content["scores"], np.float64)
        content["map_range"] = tuple(content["map_range"])
        content["inputs"] = {key: np.array(values, float) for key, values in content["inputs"].items()}
        for key in ("normals", "latents"):
            content[key] = None if content[key] is None else base64.b64decode(content[key])
        return CalibrationFile(**content)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise SpecError(f"{name} is damaged, or no calibration: calibrate again ({error})") from error


@dataclass(frozen=True)
class KeptCalibration:
    """A calibration as it was read: its location, its bytes, and their SHA-256."""

    uri: str
    file: CalibrationFile
    body: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    def check_model(self, digests: Mapping[str, str]) -> None:
        """Raises `SpecError` for another model than the one that was calibrated."""
        if self.file.model_sha256 != digests["weights"]:
            raise SpecError(
                f"{self.uri} was made with another model (SHA-256 {self.file.model_sha256[:12]}…, this has "
                f"{digests['weights'][:12]}…), whose scores mean something else: run veedor calibrate again"
            )


def read_calibration(uri: str, access: Access) -> KeptCalibration:
    """The calibration at a location.

    Raises:
        SpecError: if there is none.
    """
    try:
        body = open_store(uri, access).read(uri)
    except ObjectMissing as error:
        raise SpecError(
            f"there is no calibration at {uri}: run veedor calibrate with the model and normal images that "
            "it was not trained on"
        ) from error
    return KeptCalibration(uri, decode_calibration(body, name=uri), body)


def to_npy(vectors: npt.NDArray[Any]) -> bytes:
    """(N, D) as NumPy's .npy of float32."""
    buffer = io.BytesIO()
    np.save(buffer, vectors.astype(np.float32), allow_pickle=False)
    return buffer.getvalue()


def from_npy(body: bytes) -> Floats:
    """The inverse, as float64."""
    vectors: Floats = np.load(io.BytesIO(body), allow_pickle=False).astype(np.float64)
    return vectors
