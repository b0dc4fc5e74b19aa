"""Measuring scans against what is known of their inputs: which are defective, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from cvcore.anomaly.heatmap import decode_heatmap
from cvcore.errors import ImageError, SpecError
from cvcore.image.decode import decode_to_canvas
from cvcore.metrics.anomaly import Ranking, aupro
from cvcore.types import InputSpec
from jobs.decisions import ScanRoot
from jobs.ledger import Ledger
from jobs.run_folder import RunFolder
from jobs.run_rows import iter_tables
from jobs.storage import Access, ObjectMissing, Store, base_name, join, open_store, resolve_location

NORMAL_NAMES = ("good", "normal", "ok")
MASK_FOLDERS = ("masks", "ground_truth")
RECALL = 0.95
COLUMNS = ("uri", "status", "anomaly_raw", "frame_index", "heatmap")


@dataclass(frozen=True)
class PixelFigures:
    """Of all pixels of all images, on the heat maps' canvas."""

    auroc: float
    aupro: float


@dataclass(frozen=True)
class AnomalyEvaluation:
    """How well scans tell anomalies from normals.

    Attributes:
        num_normal, num_anomalous: images that were compared.
        num_failed: inputs without a score.
        auroc, average_precision, best_f1: of images.
        best_threshold: the raw score that has the best F1.
        fpr_at_recall: the least false positive rate that finds 95 % of the anomalies.
        by_kind: image AUROC of each kind of anomaly against all normals.
        pixels: None where not every image has a heat map and every anomaly a mask; `no_pixels` says why.
    """

    num_normal: int
    num_anomalous: int
    num_failed: int
    auroc: float
    average_precision: float
    best_f1: float
    best_threshold: float
    fpr_at_recall: float
    by_kind: dict[str, float]
    pixels: PixelFigures | None
    no_pixels: str


def is_scan_folder(uri: str, access: Access) -> bool:
    """Whether a folder holds finished scans."""
    location = resolve_location(uri).rstrip("/")
    return bool(Ledger(location, open_store(location, access)).last)


def evaluate_anomalies(scans: str, truth: str, *, access: Access) -> AnomalyEvaluation:
    """Compare what was scanned with a dataset in the layout of MVTec AD.

    The name of the folder that an image lies in says what it is: `good` (or `normal`, `ok`) is normal, any
    other is a kind of anomaly. Masks of anomalies lie in `truth`, in masks/<kind>/<name>.png, or in
    ground_truth/<kind>/<name>_mask.png. Of an object that was scanned in several versions, the last counts.

    Raises:
        SpecError: for a folder without scans, or without both kinds of images.
    """
    root = ScanRoot(resolve_location(scans).rstrip("/"))
    store = open_store(root.uri, access)
    rows = _rows(root, store)
    scored = [row for row in rows if row["status"] == "ok"]
    kinds = [base_name(row["uri"].rpartition("/")[0]) for row in scored]
    anomalous = np.array([kind.lower() not in NORMAL_NAMES for kind in kinds], bool)
    if not len(scored) or anomalous.all() or not anomalous.any():
        raise SpecError(
            f"of {len(scored)} scored images {int(anomalous.sum())} lie in folders of anomalies: to evaluate "
            f"them, some must lie in a folder called {' or '.join(NORMAL_NAMES)}, and some in others"
        )
    raw = np.array([row["anomaly_raw"] for row in scored], np.float64)
    ranking = Ranking.of(raw, anomalous)
    best_f1, best_threshold = ranking.best_f1()
    by_kind = {}
    for kind in sorted({kind for kind, bad in zip(kinds, anomalous, strict=True) if bad}):
        chosen = ~anomalous | np.array([each == kind for each in kinds])
        by_kind[kind] = Ranking.of(raw[chosen], anomalous[chosen]).auroc()
    pixels, reason = _pixel_figures(scored, kinds, anomalous, resolve_location(truth), access)
    return AnomalyEvaluation(
        int((~anomalous).sum()),
        int(anomalous.sum()),
        len(rows) - len(scored),
        ranking.auroc(),
        ranking.average_precision(),
        best_f1,
        best_threshold,
        ranking.fpr_at_recall(RECALL),
        by_kind,
        pixels,
        reason,
    )


def _rows(root: ScanRoot, store: Store) -> list[dict[str, Any]]:
    """The last row of each image."""
    last = Ledger(root.uri, store).last
    if not last:
        raise SpecError(f"{root.uri} holds no finished scan: name the --out of veedor scan")
    found: dict[tuple[str, int | None], dict[str, Any]] = {}
    for number in range(1, last + 1):
        for table in iter_tables(RunFolder(root.scan(number)), store, COLUMNS):
            for row in table.to_pylist():
                found[row["uri"], row["frame_index"]] = row
    return list(found.values())


def _pixel_figures(
    rows: list[dict[str, Any]],
    kinds: list[str],
    anomalous: npt.NDArray[np.bool_],
    truth: str,
    access: Access,
) -> tuple[PixelFigures | None, str]:
    without = sum(row["heatmap"] is None for row in rows)
    if without == len(rows):
        return None, "no image has a heat map: this score has none, or --heatmap-score 0 keeps them all"
    if without:
        return None, f"{without:,} images have no heat map: scan with --heatmap-score 0 to have them all"
    store = open_store(truth, access)
    maps = [decode_heatmap(row["heatmap"]) for row in rows]
    masks = []
    for row, kind, bad, values in zip(rows, kinds, anomalous.tolist(), maps, strict=True):
        if not bad:
            masks.append(np.zeros(values.shape, bool))
            continue
        mask = _read_mask(store, truth, kind, row["uri"], values.shape)
        if mask is None:
            return None, f"there is no mask of {row['uri']} in {truth}"
        masks.append(mask)
    scores = np.concatenate([values.ravel() for values in maps])
    pixels = np.concatenate([mask.ravel() for mask in masks])
    return PixelFigures(Ranking.of(scores, pixels).auroc(), aupro(maps, masks)), ""


def _read_mask(
    store: Store, truth: str, kind: str, uri: str, shape: tuple[int, ...]
) -> npt.NDArray[np.bool_] | None:
    """A mask on a heat map's canvas; None where there is none."""
    for place in _mask_places(truth, kind, uri):
        try:
            body = store.read(place)
        except ObjectMissing:
            continue
        try:
            spec = InputSpec(height=shape[0], width=shape[1], fit="stretch")
            return decode_to_canvas(body, spec, name=place).canvas[..., 0] > 127
        except ImageError as error:
            raise SpecError(f"{place} is no mask: {error}") from error
    return None


def _mask_places(truth: str, kind: str, uri: str) -> Iterator[str]:
    stem = PurePosixPath(base_name(uri)).stem
    for folder in MASK_FOLDERS:
        yield join(truth, folder, kind, f"{stem}.png")
        yield join(truth, folder, kind, f"{stem}_mask.png")
