"""Whether what is scanned still looks like what a model was calibrated on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
PSI_BINS = 10
PSI_SHIFTED = 0.25
"""A population stability index above which practice speaks of a shift; below 0.1, of none."""
P_SHIFTED = 0.001
MAX_COMPONENTS = 10
MIN_SAMPLE = 20
"""Smaller samples are not compared."""


def population_stability(reference: Floats, sample: Floats, *, bins: int = PSI_BINS) -> float:
    """The population stability index of two samples: the symmetrised Kullback-Leibler divergence, nats, of
    their shares in the reference's quantile bins. Empty bins count half an item.
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for values in (reference, sample):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        counts = np.maximum(counts, 0.5)
        shares.append(counts / counts.sum())
    expected, actual = shares
    return float(np.sum((actual - expected) * np.log(actual / expected)))


@dataclass(frozen=True, slots=True)
class LatentReference:
    """The mean of normal latent vectors and the directions in which they vary most.

    Attributes:
        mean: (D,).
        components: (K, D), orthonormal rows.
        covariance: (K, K), of the vectors along the components.
        count: vectors that these are of.
    """

    mean: Floats
    components: Floats
    covariance: Floats
    count: int

    @classmethod
    def fit(cls, vectors: Floats) -> LatentReference:
        """Of normal vectors, (N, D), N at least 2: a principal component for each five, up to ten."""
        count = len(vectors)
        mean = vectors.mean(axis=0)
        keep = max(1, min(MAX_COMPONENTS, vectors.shape[1], count // 5))
        _, _, rows = np.linalg.svd(vectors - mean, full_matrices=False)
        components = rows[:keep]
        along = (vectors - mean) @ components.T
        return cls(mean, components, np.atleast_2d(np.cov(along, rowvar=False)), count)

    def mean_shift(self, vectors: Floats) -> float:
        """The chance, if nothing had changed, of a mean as far off as that of `vectors`, (M, D): Hotelling's
        two-sample T-squared test along the components (Hotelling 1931).
        """
        size, other = len(self.components), len(vectors)
        along = (vectors - self.mean) @ self.components.T
        freedom = self.count + other - 2
        own = np.atleast_2d(np.cov(along, rowvar=False))
        pooled = ((self.count - 1) * self.covariance + (other - 1) * own) / freedom
        gap = along.mean(axis=0)
        squared = self.count * other / (self.count + other) * gap @ np.linalg.pinv(pooled) @ gap
        statistic = squared * (freedom - size + 1) / (freedom * size)
        return float(stats.f.sf(statistic, size, freedom - size + 1))


@dataclass(frozen=True, slots=True)
class Reference:
    """What a calibration saw.

    Attributes:
        scores: raw ones.
        inputs: `brightness`, `contrast`, `width` and `height` of its images.
        latents: of models that have them.
    """

    scores: Floats
    inputs: Mapping[str, Floats]
    latents: LatentReference | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a scan is from its calibration.

    Attributes:
        count: images that were compared.
        score_psi: of raw scores; None for too few images.
        p_values: of `latent` (Hotelling's test) and of each input's property (Kolmogorov and Smirnov's).
        means: of each property: the calibration's, the scan's.
    """

    count: int
    score_psi: float | None = None
    p_values: Mapping[str, float] = field(default_factory=dict)
    means: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def warnings(self) -> list[str]:
        """What a user should look at."""
        found = []
        if self.score_psi is not None and self.score_psi > PSI_SHIFTED:
            found.append(
                f"scores are spread otherwise than in the calibration (population stability index "
                f"{self.score_psi:.2f}; above {PSI_SHIFTED} is a shift)"
            )
        for name, chance in self.p_values.items():
            if chance >= P_SHIFTED:
                continue
            if name == "latent":
                found.append(f"the mean latent vector has moved (p = {chance:.1e})")
            else:
                before, now = self.means[name]
                found.append(
                    f"{name} has changed from {before:.3g} to {now:.3g} in the mean (p = {chance:.1e})"
                )
        return found


def measure_drift(
    reference: Reference, scores: Floats, inputs: Mapping[str, Floats], latents: Floats | None
) -> Drift:
    """Compare a scan's images with its calibration's.

    A shift of scores alone may be defects; one of inputs, the light or a lens.
    """
    count = len(scores)
    if count < MIN_SAMPLE or len(reference.scores) < MIN_SAMPLE:
        return Drift(count)
    p_values, means = {}, {}
    if reference.latents is not None and latents is not None:
        p_values["latent"] = reference.latents.mean_shift(latents)
    for name, before in reference.inputs.items():
        now = inputs[name]
        means[name] = (float(before.mean()), float(now.mean()))
        p_values[name] = float(stats.ks_2samp(before, now).pvalue)
    return Drift(count, population_stability(reference.scores, scores), p_values, means)
