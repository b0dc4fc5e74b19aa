"""Calibrating and scanning: what a row says, what is scanned, what is decided, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from cvcore.anomaly.heatmap import decode_heatmap
from cvcore.anomaly.options import ScoreOptions
from cvcore.anomaly.scorers import Scorer
from cvcore.errors import ModelError, SpecError, TooFewNormalsError
from cvcore.image.decode import decode_to_canvas
from cvcore.models import ModelSource, build_model
from jobs.alerts import AlertSettings
from jobs.calibrate import Calibrated, run_calibrate
from jobs.decisions import decide_again
from jobs.evaluate_anomalies import evaluate_anomalies
from jobs.outcome import RunResult
from jobs.progress import SilentListener
from jobs.scan import run_scan
from jobs.scan_spec import CalibrateSpec, ScanSpec
from jobs.storage import Access
from tests.corpus import encode, toy_model
from tests.plates import plate, write_model, write_plates
from tests.runs import read_local_rows

pytestmark = pytest.mark.usefixtures("ray_cluster")
RESOURCES = {"actors": 1, "batch_size": 8}
silent = SilentListener()


def calibrate(folder: Path, normal: Path, **changes: Any) -> Calibrated:
    content = {
        "source": {"uri": str(normal)},
        "model": {"name": f"{folder}/"},
        "resources": RESOURCES,
        "target_fpr": 0.05,
        "sink": {"uri": str(folder)},
    }
    return run_calibrate(CalibrateSpec.model_validate({**content, **changes}), listener=silent)


def scan(
    model: Path, source: Path | str, out: Path | str, *, alerts: Any = None, **changes: Any
) -> RunResult:
    content = {
        "source": {"uri": str(source)},
        "model": {"name": f"{model}/"},
        "resources": RESOURCES,
        "sink": {"uri": str(out)},
    }
    spec = ScanSpec.model_validate({**content, **changes})
    return run_scan(spec, listener=silent, alerts=alerts or AlertSettings())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, calibrated on 60 plates."""
    folder = tmp_path_factory.mktemp("model")
    write_plates(folder / "normal", 60, seed=500)
    calibrate(write_model(folder / "model"), folder / "normal")
    return folder / "model"


def rows_of(out: Path, number: int = 1) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_local_rows(out / "scans" / f"{number:06d}").to_pylist()
    return rows


def test_rows_say_what_the_model_says_of_each_image_alone(model: Path, tmp_path: Path) -> None:
    source = write_plates(tmp_path / "in", 9)
    write_plates(tmp_path / "in" / "holes", 4, hole=True)
    (source / "bad.png").write_bytes(b"no image")
    result = scan(model, source, tmp_path / "out", scan={"heatmap_score": 0.0})
    assert result.manifest["counts"]["inputs"] == 14
    assert result.manifest["counts"]["failed"] == 1
    calibration = json.loads((model / "calibration.json").read_text())
    network = build_model(ModelSource("", weights=(model / "model.safetensors").read_bytes()))
    scorer = Scorer(network, "mse", ScoreOptions())
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 14
    for row in rows:
        if row["status"] != "ok":
            assert row["anomaly_score"] is row["is_anomaly"] is row["heatmap"] is row["embedding"] is None
            continue
        canvas = decode_to_canvas(Path(row["uri"]).read_bytes(), scorer.model.input_spec).canvas  # type: ignore[arg-type]
        found = scorer.score(torch.from_numpy(canvas)[None])
        assert row["anomaly_raw"] == pytest.approx(float(found.raw[0]), rel=1e-4)
        share = sum(score < row["anomaly_raw"] for score in calibration["scores"]) / 61
        if share < 0.85:  # beyond, the fitted tail says
            assert row["anomaly_score"] == pytest.approx(share, abs=0.02)
        assert min(share, 0.85) - 0.02 <= row["anomaly_score"] <= 1
        assert found.latents is not None
        assert row["embedding"] == pytest.approx(found.latents[0].tolist(), rel=1e-3, abs=1e-4)
        assert found.maps is not None
        order = np.argsort(found.maps[0].numpy().ravel())
        assert (np.diff(decode_heatmap(row["heatmap"]).ravel()[order]) >= -2 / 65535).all()
        luma = canvas.astype(float) @ [0.299, 0.587, 0.114] / 255
        assert (row["brightness"], row["contrast"]) == pytest.approx((luma.mean(), luma.std()), rel=1e-3)


def test_heat_maps_are_kept_of_the_worst_alone(model: Path, tmp_path: Path) -> None:
    write_plates(tmp_path / "in", 30)
    scan(model, tmp_path / "in", tmp_path / "out", scan={"heatmap_score": 0.8})
    kept = [row["heatmap"] is not None for row in rows_of(tmp_path / "out")]
    wanted = [r["is_anomaly"] or r["anomaly_score"] >= 0.8 for r in rows_of(tmp_path / "out")]
    assert kept == wanted
    assert 0 < sum(kept) < 30


def test_only_what_is_new_is_scanned_and_an_empty_window_is_a_success(model: Path, tmp_path: Path) -> None:
    source, out = write_plates(tmp_path / "in", 5), tmp_path / "out"
    assert scan(model, source, out).manifest["scan"]["scored"] == 5
    again = scan(model, source, out)
    assert again.outcome == "finished"
    assert again.manifest["counts"]["inputs"] == 0
    assert not (out / "scans" / "000002").exists()
    (source / "late.png").write_bytes(plate(77))
    (source / "001.png").write_bytes(plate(78))  # another version
    (source / "002.png").unlink()
    assert scan(model, source, out).manifest["scan"]["number"] == 2
    assert [Path(row["uri"]).name for row in rows_of(out, 2)] == ["001.png", "late.png"]
    shutil.rmtree(source)
    source.mkdir()
    assert scan(model, source, out).manifest["counts"]["inputs"] == 0


def test_a_threshold_changes_decisions_and_no_score(model: Path, tmp_path: Path) -> None:
    write_plates(tmp_path / "in", 40)
    out = tmp_path / "out"
    scan(model, tmp_path / "in", out)
    before = {path: path.read_bytes() for path in (out / "scans").rglob("*") if path.is_file()}
    counts = {}
    for fpr in (0.3, 0.05, 0.3):
        (decided,) = decide_again(str(out), fpr, access=Access())
        counts[fpr] = decided.num_anomalies
        columns = "sum(is_anomaly::int), min(anomaly_raw) filter (is_anomaly), count(*)"
        query = f"select {columns} from '{out}/decisions/*.parquet'"
        ((anomalies, lowest, rows),) = duckdb.sql(query).fetchall()
        assert (anomalies or 0, rows) == (decided.num_anomalies, 40)
        assert lowest is None or lowest > decided.threshold.raw
    assert counts[0.3] > counts[0.05]
    assert {path: path.read_bytes() for path in (out / "scans").rglob("*") if path.is_file()} == before
    write_plates(tmp_path / "in", 3, seed=900)  # scans to come follow
    assert scan(model, tmp_path / "in", out).manifest["scan"]["target_fpr"] == 0.3


def test_a_scan_that_was_begun_otherwise_says_how_to_go_on(model: Path, tmp_path: Path) -> None:
    source, out = write_plates(tmp_path / "in", 3), tmp_path / "out"
    scan(model, source, out)
    for name in (
        "_veedor/ledger/scan-000001.parquet",
        "scans/000001/_SUCCESS.json",
    ):  # as if it had been killed
        (out / name).unlink()
    with pytest.raises(
        SpecError, match=r"heatmap_score was 0.95 and is 0.5.*delete .*scans/000001: the next"
    ):
        scan(model, source, out, scan={"heatmap_score": 0.5})
    shutil.rmtree(out / "scans" / "000001")
    assert scan(model, source, out, scan={"heatmap_score": 0.5}).manifest["scan"]["scored"] == 3


def test_nothing_is_written_before_a_scan_is_known_to_be_possible(model: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        scan(model, tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_drift_is_told(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(30):
        (tmp_path / "in" / f"{index}.png").write_bytes(plate(index, light=-60))
    told = scan(model, tmp_path / "in", tmp_path / "out").manifest["scan"]["drift"]
    assert any(text.startswith("brightness has changed from") for text in told)
    kept = json.loads((tmp_path / "out" / "drift" / "000001.json").read_text())
    assert kept["count"] == 30
    assert kept["p_values"]["brightness"] < 1e-3


def test_alerts_are_written_for_each_anomaly(model: Path, tmp_path: Path) -> None:
    write_plates(tmp_path / "in", 30)
    decide = {"out": tmp_path / "out", "alerts": AlertSettings(file=str(tmp_path / "alerts.jsonl"))}
    found = scan(model, tmp_path / "in", **decide).manifest["scan"]
    lines = (tmp_path / "alerts.jsonl").read_text().splitlines() if found["anomalies"] else []
    assert len(lines) == found["anomalies"] > 0
    scan(model, tmp_path / "in", **decide)
    assert len((tmp_path / "alerts.jsonl").read_text().splitlines()) == len(lines)


def test_latent_scores_are_fitted_to_some_normals_and_calibrated_on_others(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    write_plates(tmp_path / "normal", 80, seed=500)
    for score in ("mahalanobis", "neighbors"):
        done = calibrate(folder, tmp_path / "normal", score={"name": score})
        assert len(done.file.scores) == 40
        assert done.file.normals is not None
        write_plates(tmp_path / "in", 40, seed=2000)
        scan(folder, tmp_path / "in", tmp_path / score)
        raws = [row["anomaly_raw"] for row in rows_of(tmp_path / score)]
        # New normals score as the calibration's do, not as those that the score was fitted to.
        assert np.median(raws) == pytest.approx(np.median(done.file.scores), rel=0.35)


def test_odd_normals_are_named_and_left_out_on_request(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    write_plates(tmp_path / "normal", 60)
    black = encode_black()
    for name in ("odd-1.png", "odd-2.png"):
        (tmp_path / "normal" / name).write_bytes(black)
    plain = calibrate(folder, tmp_path / "normal")
    assert {Path(uri).name for uri in plain.odd} >= {"odd-1.png", "odd-2.png"}
    robust = calibrate(folder, tmp_path / "normal", robust=True)
    assert robust.odd == plain.odd
    assert len(robust.file.scores) == 62 - len(robust.odd)
    assert robust.file.scores[-1] < plain.file.scores[-1]


def encode_black() -> bytes:
    return encode(Image.new("RGB", (40, 36)), "PNG")


def test_normals_that_are_too_few_alike_or_broken(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    write_plates(tmp_path / "few", 8)
    with pytest.raises(TooFewNormalsError, match="8 normal images are too few"):
        calibrate(folder, tmp_path / "few")
    (tmp_path / "alike").mkdir()
    for index in range(30):
        (tmp_path / "alike" / f"{index}.png").write_bytes(plate(3))
    with pytest.raises(TooFewNormalsError, match="copies of one"):
        calibrate(folder, tmp_path / "alike")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"x")
    with pytest.raises(TooFewNormalsError, match="none of the 1 images"):
        calibrate(folder, tmp_path / "broken")


def test_more_normals_are_seen_by_the_next_calibration(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    write_plates(tmp_path / "normal", 30)
    assert len(calibrate(folder, tmp_path / "normal").file.scores) == 30
    write_plates(tmp_path / "normal", 40)
    assert len(calibrate(folder, tmp_path / "normal").file.scores) == 40


def test_models_and_calibrations_that_do_not_fit_are_refused(model: Path, tmp_path: Path) -> None:
    write_plates(tmp_path / "in", 3)
    bare = write_model(tmp_path / "bare", seed=1)
    with pytest.raises(SpecError, match=r"there is no calibration at .*run veedor calibrate"):
        scan(bare, tmp_path / "in", tmp_path / "out")
    with pytest.raises(SpecError, match="made with another model"):
        scan(bare, tmp_path / "in", tmp_path / "out", calibration=str(model / "calibration.json"))
    (tmp_path / "bare" / "calibration.json").write_text("{}")
    with pytest.raises(SpecError, match="damaged"):
        scan(bare, tmp_path / "in", tmp_path / "out")
    with pytest.raises(ModelError, match=r"probability.*mse"):
        calibrate(model, tmp_path / "in", score={"name": "probability"})
    with pytest.raises(ModelError, match="no trained model"):
        calibrate(model, tmp_path / "in", model={"name": "conv_autoencoder"})
    toy = toy_model(tmp_path / "toy")
    with pytest.raises(ModelError):
        calibrate(tmp_path / "toy", tmp_path / "in", model=toy)
    assert not (tmp_path / "out" / "scans").exists()


def test_figures_equal_scikit_learns(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_plates(data / "test" / "good", 20)
    write_plates(data / "test" / "hole", 12, hole=True)
    scan(model, data / "test", tmp_path / "out", scan={"heatmap_score": 0.0})
    found = evaluate_anomalies(str(tmp_path / "out"), str(data), access=Access())
    rows = rows_of(tmp_path / "out")
    truth, raw = ["hole" in row["uri"] for row in rows], [row["anomaly_raw"] for row in rows]
    assert found.auroc == pytest.approx(roc_auc_score(truth, raw))
    assert found.average_precision == pytest.approx(average_precision_score(truth, raw))
    assert found.by_kind == {"hole": pytest.approx(found.auroc)}
    assert found.pixels is None
    assert "no mask" in found.no_pixels
    write_masks(data / "masks" / "hole", rows)
    pixels = evaluate_anomalies(str(tmp_path / "out"), str(data), access=Access()).pixels
    assert pixels is not None
    maps = np.stack([decode_heatmap(row["heatmap"]) for row in rows])
    masks = np.zeros(maps.shape, bool)
    masks[np.array(truth), 8:24, 8:24] = True
    assert pixels.auroc == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()))


def write_masks(folder: Path, rows: list[dict[str, Any]]) -> None:
    """A square in the middle, on the model's canvas."""
    folder.mkdir(parents=True)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    for row in rows:
        if "hole" in row["uri"]:
            Image.fromarray(mask).save(folder / Path(row["uri"]).name)


def test_a_dataset_of_one_kind_cannot_be_evaluated(model: Path, tmp_path: Path) -> None:
    write_plates(tmp_path / "in" / "good", 4)
    scan(model, tmp_path / "in", tmp_path / "out")
    with pytest.raises(SpecError, match="some must lie in a folder called good"):
        evaluate_anomalies(str(tmp_path / "out"), str(tmp_path), access=Access())
    with pytest.raises(SpecError, match="no finished scan"):
        evaluate_anomalies(str(tmp_path / "in"), str(tmp_path), access=Access())


def test_readers_see_one_table_of_all_scans(model: Path, tmp_path: Path) -> None:
    source, out = write_plates(tmp_path / "in", 4), tmp_path / "out"
    scan(model, source, out)
    write_plates(source, 2, seed=400)
    scan(model, source, out)
    query = f"select scan, count(*) from '{out}/decisions/*.parquet' group by 1 order by 1"
    assert duckdb.sql(query).fetchall() == [(1, 4), (2, 2)]
