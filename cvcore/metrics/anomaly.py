"""How well scores tell anomalies from normals, for images and for pixels.

Ties count as they should: a threshold takes all of them or none. Definitions are those of scikit-learn where
it has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
PRO_MAX_FPR = 0.3


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scores of things that are anomalous or not, counted at each threshold from the highest down.

    Attributes:
        thresholds: (T,) distinct scores, falling; what scores at least a threshold is called anomalous.
        true_positives, false_positives: (T,) counts at each.
        positives, negatives: how many there are.
    """

    thresholds: FloatArray
    true_positives: npt.NDArray[np.int64]
    false_positives: npt.NDArray[np.int64]
    positives: int
    negatives: int

    @classmethod
    def of(cls, scores: npt.ArrayLike, anomalous: npt.ArrayLike) -> Ranking:
        """Rank scores, any shape, by what they should tell, the same shape.

        Raises:
            ValueError: if shapes differ, a score is not finite, or there are not both kinds.
        """
        values, truth = np.asarray(scores).ravel(), np.asarray(anomalous, bool).ravel()
        if values.shape != truth.shape:
            raise ValueError(f"{values.size} scores for {truth.size} truths")
        if not np.isfinite(values).all():
            raise ValueError("scores hold NaN or infinity: leave failed inputs out")
        positives = int(truth.sum())
        if not 0 < positives < truth.size:
            raise ValueError(
                f"of {truth.size} things {positives} are anomalous: there must be normal and anomalous ones"
            )
        order = np.argsort(-values, kind="stable")
        values, truth = values[order], truth[order]
        ends = np.append(np.flatnonzero(np.diff(values)), truth.size - 1)
        found = np.cumsum(truth, dtype=np.int64)[ends]
        return cls(values[ends], found, ends + 1 - found, positives, truth.size - positives)

    @property
    def recalls(self) -> FloatArray:
        """True positive rates, (T,)."""
        return self.true_positives / self.positives

    @property
    def precisions(self) -> FloatArray:
        return self.true_positives / (self.true_positives + self.false_positives)

    @property
    def false_positive_rates(self) -> FloatArray:
        return self.false_positives / self.negatives

    def auroc(self) -> float:
        """Area under the ROC curve: the chance that an anomaly scores above a normal, ties counted half."""
        return float(
            np.trapezoid(np.concatenate([[0.0], self.recalls]), np.append(0.0, self.false_positive_rates))
        )

    def average_precision(self) -> float:
        """The mean of precision over recall, without interpolation."""
        return float(np.sum(np.diff(self.recalls, prepend=0.0) * self.precisions))

    def best_f1(self) -> tuple[float, float]:
        """The greatest F1 of all thresholds, and the (highest) threshold that has it."""
        f1 = 2 * self.true_positives / (self.true_positives + self.false_positives + self.positives)
        best = int(np.argmax(f1))
        return float(f1[best]), float(self.thresholds[best])

    def fpr_at_recall(self, recall: float) -> float:
        """The least false positive rate at which at least `recall` of the anomalies are found."""
        if not 0 < recall <= 1:
            raise ValueError(f"recall must be above 0, at most 1, got {recall}")
        first = int(np.searchsorted(self.true_positives, np.ceil(recall * self.positives - 1e-9)))
        return float(self.false_positive_rates[first])


def aupro(maps: Sequence[FloatArray], masks: Sequence[BoolArray], *, max_fpr: float = PRO_MAX_FPR) -> float:
    """Area under the per-region overlap curve, up to a false positive rate, over that rate: 0 to 1.

    Bergmann et al. 2021 (The MVTec Anomaly Detection Dataset), section 5.2: at each threshold, the mean over
    all defects (8-connected regions of the masks) of the found share of each, against the false positive rate
    of normal pixels. All distinct scores are thresholds; the curve's last piece is interpolated.

    Args:
        maps: of each image, (H, W), scores.
        masks: of each image, (H, W), whether a pixel is anomalous.
        max_fpr: where the area ends.
    """
    if not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr must be above 0, at most 1, got {max_fpr}")
    scores, weights, regions = [], [], 0
    for scores_of_image, mask in zip(maps, masks, strict=True):
        if scores_of_image.shape != mask.shape:
            raise ValueError(f"a map of shape {scores_of_image.shape} for a mask of shape {mask.shape}")
        labelled, count = ndimage.label(mask, structure=np.ones((3, 3)))
        areas = np.bincount(labelled.ravel(), minlength=count + 1).astype(float)
        share = np.zeros(count + 1)
        share[1:] = 1 / areas[1:]
        scores.append(scores_of_image.ravel())
        weights.append(share[labelled.ravel()])
        regions += count
    values, overlap = np.concatenate(scores), np.concatenate(weights)
    normal = overlap == 0
    if not regions or not normal.any():
        raise ValueError("the masks must have both normal and anomalous pixels")
    if not np.isfinite(values).all():
        raise ValueError("maps hold NaN or infinity: leave failed inputs out")
    order = np.argsort(-values, kind="stable")
    values = values[order]
    ends = np.append(np.flatnonzero(np.diff(values)), values.size - 1)
    rates = np.append(0.0, np.cumsum(normal[order])[ends] / normal.sum())
    overlaps = np.append(0.0, np.cumsum(overlap[order])[ends] / regions)
    last = int(np.searchsorted(rates, max_fpr, side="right"))
    if last < len(rates):
        edge = np.interp(max_fpr, rates[last - 1 : last + 1], overlaps[last - 1 : last + 1])
        rates, overlaps = np.append(rates[:last], max_fpr), np.append(overlaps[:last], edge)
    return float(np.trapezoid(overlaps, rates) / max_fpr)
