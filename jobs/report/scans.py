"""The report of a folder of scans: what was decided, how scores are spread, and the worst with their maps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from markupsafe import Markup
from PIL import Image

from cvcore.anomaly.calibration import Threshold
from cvcore.anomaly.drift import Drift
from cvcore.anomaly.heatmap import decode_heatmap
from cvcore.errors import SpecError, VeedorError
from jobs.calibration import CalibrationFile
from jobs.decisions import ScanRoot, highest, iter_decisions, scan_calibration
from jobs.ledger import Ledger
from jobs.model_files import model_folder
from jobs.report import text
from jobs.report.cards import short_name
from jobs.report.page import PLOT_STYLES, asset_text, content_policy, find_template
from jobs.report.pictures import data_uri, decode_small, encode_jpeg
from jobs.report.plot import Plot
from jobs.report.run import Run, read_decoding, read_run
from jobs.report.training import held_out_plot, read_record
from jobs.run_folder import RunFolder
from jobs.run_rows import read_file
from jobs.storage import Access, ObjectMissing, StorageError, Store, open_store
from jobs.visible import visible

TEMPLATE = "scans.html.j2"
SCAN_STYLES = (*PLOT_STYLES, "scans.css")
NUM_WORST, NUM_PASSED = 24, 8
NUM_BINS = 40
PICTURE_BYTES = 40_000
MAX_LISTED = 50
ROW_COLUMNS = ("uri", "etag", "frame_index", "width", "height", "heatmap", "status", "error_code")
# From transparent below the threshold to what is far above it: black body, as thermal cameras show.
RAMP = ((0.0, (40, 0, 80)), (0.35, (200, 20, 60)), (0.7, (255, 140, 0)), (1.0, (255, 250, 180)))

Place = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class ScanLine:
    """One scan, in the table."""

    number: int
    when: str
    inputs: int
    failed: int
    anomalies: int
    psi: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScanCard:
    """One input; `picture` and `overlay` are data URIs, or `missing` says why there is none."""

    name: str
    uri: str
    scan: int
    score: str
    raw: str
    is_anomaly: bool
    picture: str | None
    overlay: str | None
    missing: str


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of the histogram of scores: heights of normal images and of scanned ones, 0 to 1."""

    name: str
    normal: float
    scanned: float


@dataclass
class _Survey:
    """What one pass over the decisions gives."""

    raws: list[npt.NDArray[np.float32]] = field(default_factory=list)
    lines: list[ScanLine] = field(default_factory=list)
    worst: list[dict[str, Any]] = field(default_factory=list)
    passed: list[dict[str, Any]] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


def build_scans_report(root_uri: str, *, store: Store, access: Access) -> str:
    """One HTML page that refers to nothing outside itself.

    Raises:
        SpecError: for a folder without finished scans.
        StorageError: if one of its files cannot be read; an input that cannot be read is a card that says so.
    """
    root = ScanRoot(root_uri)
    last = Ledger(root.uri, store).last
    if not last:
        raise SpecError(f"{root.uri} holds no finished scan: name the --out of veedor scan")
    survey = _survey(root, last, store)
    calibration = scan_calibration(root, last, store)
    asked = json.loads(store.read(root.threshold))["fpr"] if store.exists(root.threshold) else None
    threshold = calibration.threshold(asked)
    run = read_run(root.scan(last), store)
    reader = _picture_reader(run, access)
    cards = [[_card(root, row, store, reader) for row in rows] for rows in (survey.worst, survey.passed)]
    raws = np.concatenate(survey.raws).astype(np.float64) if survey.raws else np.empty(0)
    bins, mark = score_bins(calibration.scores, raws, threshold.raw)
    return find_template(TEMPLATE).render(
        root=visible(root.uri),
        source=visible(run.record.source),
        model=visible(str(run.record.spec["model"]["name"])),
        policy=content_policy(""),
        style=Markup(asset_text(SCAN_STYLES)),
        facts=_facts(calibration, threshold, run),
        warnings=_warnings(threshold, survey.lines[-1], calibration),
        counters=_counters(survey, last),
        bins=bins,
        mark=mark,
        worst=cards[0],
        passed=cards[1],
        lines=list(reversed(survey.lines))[:MAX_LISTED],
        failures=survey.failures.most_common(),
        training=_training(run, access),
    )


def _survey(root: ScanRoot, last: int, store: Store) -> _Survey:
    survey = _Survey()
    for number in range(1, last + 1):
        run = read_run(root.scan(number), store)
        counts = (run.manifest or {}).get("counts", {"inputs": 0, "failed": 0})
        survey.failures.update((run.manifest or {}).get("failures", {}))
        anomalies = 0
        for decisions in iter_decisions(root, number, store):
            anomalies += pc.sum(decisions.column("is_anomaly")).as_py() or 0
            survey.raws.append(decisions.column("anomaly_raw").to_numpy())
            survey.worst = highest(survey.worst, decisions, anomalous=True, count=NUM_WORST)
            survey.passed = highest(survey.passed, decisions, anomalous=False, count=NUM_PASSED)
        survey.lines.append(_line(root, number, run, counts, anomalies, store))
    return survey


def _line(
    root: ScanRoot, number: int, run: Run, counts: dict[str, int], anomalies: int, store: Store
) -> ScanLine:
    psi = "–"
    notes: tuple[str, ...] = ()
    try:
        content = json.loads(store.read(root.drift(number)))
        content["means"] = {name: tuple(pair) for name, pair in content["means"].items()}
        drift = Drift(**content)
        psi = "–" if drift.score_psi is None else f"{drift.score_psi:.2f}"
        notes = tuple(drift.warnings())
    except ObjectMissing:
        pass
    when = text.moment(run.span[0]) if run.span else "–"
    return ScanLine(number, when, counts["inputs"], counts["failed"], anomalies, psi, notes)


def _facts(calibration: CalibrationFile, threshold: Threshold, run: Run) -> list[tuple[str, str]]:
    low, high = threshold.fpr_low, threshold.fpr_high
    return [
        ("Source", visible(run.record.source)),
        ("Model", visible(str(run.record.spec["model"]["name"]))),
        ("Score", calibration.score),
        ("Threshold", f"{threshold.raw:.4g}"),
        (
            "False positives",
            f"{threshold.target_fpr:.2g} asked for, {low:.2g} to {high:.2g} with 95 % confidence",
        ),
        ("Calibrated on", f"{len(calibration.scores):,} normal images"),
    ]


def _warnings(threshold: Threshold, last: ScanLine, calibration: CalibrationFile) -> list[str]:
    found = [f"Scan {last.number}: {note}." for note in last.notes]
    warning = threshold.warning()
    if warning:
        found.append(warning[0].upper() + warning[1:] + ".")
    if calibration.num_odd and not calibration.robust:
        looks = "looks" if calibration.num_odd == 1 else "look"
        found.append(
            f"{calibration.num_odd:,} of the calibration's normal images {looks} odd among the others."
        )
    return found


def _counters(survey: _Survey, last: int) -> list[tuple[str, str, str, str]]:
    inputs, failed = (sum(getattr(line, name) for line in survey.lines) for name in ("inputs", "failed"))
    anomalies = sum(line.anomalies for line in survey.lines)
    scored = inputs - failed
    return [
        ("Scans", text.integer(last), "", "plain"),
        ("Inputs", text.integer(inputs), "", "plain"),
        (
            "Anomalies",
            text.integer(anomalies),
            text.percent(anomalies, scored),
            _tone(anomalies),
        ),
        ("Failed", text.integer(failed), text.percent(failed, inputs), _tone(failed)),
    ]


def _tone(count: int) -> str:
    return "bad" if count else "plain"


def score_bins(
    normal: npt.NDArray[np.float64], scanned: npt.NDArray[np.float64], threshold: float
) -> tuple[list[Bin], float]:
    """Histograms of both on common bins, and where the threshold lies, 0 to 1.

    Each is scaled by its own highest bin; the last bin takes what is far out.
    """
    every = np.concatenate([normal, scanned, [threshold]])
    low = float(every.min())
    high = max(float(np.quantile(every, 0.99)), threshold + 0.25 * (threshold - low))
    high = high if high > low else low + 1.0
    edges = np.linspace(low, high, NUM_BINS + 1)
    heights = []
    for values in (normal, scanned):
        places = np.clip(((values - low) / (high - low) * NUM_BINS).astype(int), 0, NUM_BINS - 1)
        counts = np.bincount(places, minlength=NUM_BINS)
        heights.append(counts / max(1, counts.max()))
    bins = [
        Bin(f"{edges[i]:.4g} – {edges[i + 1]:.4g}", float(heights[0][i]), float(heights[1][i]))
        for i in range(NUM_BINS)
    ]
    return bins, (threshold - low) / (high - low)


ReadPicture = Callable[[dict[str, Any]], Image.Image]


def _picture_reader(run: Run, access: Access) -> ReadPicture:
    how = read_decoding(run, access)
    store = open_store(run.record.source, how.access)

    def read(row: dict[str, Any]) -> Image.Image:
        body = store.read(row["uri"], etag=row["etag"] or None)
        return decode_small(body, width=row["width"], height=row["height"], limits=how.limits)

    return read


def _card(root: ScanRoot, decision: dict[str, Any], store: Store, read: ReadPicture) -> ScanCard:
    row = _find_row(root, decision, store)
    picture, overlay, missing = None, None, ""
    if row is None:
        missing = "Its row is gone."
    elif row["frame_index"] is not None:
        missing = f"Frame {row['frame_index']} of a video."
    else:
        try:
            small = read(row)
            picture = data_uri(encode_jpeg(small, max_bytes=PICTURE_BYTES), "jpeg")
            if row["heatmap"] is not None:
                shown = overlay_heatmap(small, decode_heatmap(row["heatmap"]))
                overlay = data_uri(encode_jpeg(shown, max_bytes=PICTURE_BYTES), "jpeg")
        except (VeedorError, StorageError, OSError) as error:
            missing = visible(str(error))
    return ScanCard(
        name=short_name(decision["uri"]),
        uri=visible(decision["uri"]),
        scan=decision["scan"],
        score=f"{decision['anomaly_score']:.3f}",
        raw=f"{decision['anomaly_raw']:.4g}",
        is_anomaly=decision["is_anomaly"],
        picture=picture,
        overlay=overlay,
        missing=missing,
    )


def _find_row(root: ScanRoot, decision: dict[str, Any], store: Store) -> dict[str, Any] | None:
    """The whole row of a decision."""
    table = read_file(RunFolder(root.scan(decision["scan"])), store, decision["part"], ROW_COLUMNS)
    rows = table.filter(pc.equal(table.column("uri"), decision["uri"])).to_pylist()
    return next((row for row in rows if row["frame_index"] == decision["frame_index"]), None)


def overlay_heatmap(image: Image.Image, values: npt.NDArray[np.float32]) -> Image.Image:
    """A picture, dimmed to gray, under its heat map, (H, W) from 0 to 1, where it comes near the threshold's
    half or above.
    """
    size = image.size
    resized = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
    heat = np.clip((np.asarray(resized) - 0.35) / 0.6, 0.0, 1.0)
    places, colors = [stop for stop, _ in RAMP], np.array([color for _, color in RAMP], float)
    painted = np.stack([np.interp(heat, places, colors[:, channel]) for channel in range(3)], axis=-1)
    alpha = np.clip(heat * 2.5, 0.0, 0.85)[..., None]
    gray = np.asarray(image.convert("L").convert("RGB"), float)
    return Image.fromarray((gray * (1 - alpha) + painted * alpha).round().astype(np.uint8))


def _training(run: Run, access: Access) -> Plot | None:
    """The model's training, where its folder is at hand and keeps it."""
    try:
        folder = model_folder(str(run.record.spec["model"]["name"]))
        how = read_decoding(run, access)
        history = read_record(folder, open_store(folder, how.access))
    except (VeedorError, OSError, LookupError):
        return None
    return held_out_plot(history) if len(history) > 1 else None
