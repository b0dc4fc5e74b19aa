"""The report of scans, built from a folder that no model made, and looked at in a browser."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from cvcore.anomaly.drift import Drift
from cvcore.anomaly.heatmap import encode_heatmap
from cvcore.anomaly.options import ScoreOptions
from cvcore.errors import SpecError
from jobs.calibration import CalibrationFile
from jobs.decisions import ScanRoot, decide
from jobs.ledger import Ledger
from jobs.pinned import pin_inputs
from jobs.report.build import write_report
from jobs.report.scans import NUM_BINS, overlay_heatmap, score_bins
from jobs.run_folder import JobRecord, RunFolder
from jobs.schemas import score_schema
from jobs.sink import encode_part
from jobs.storage import ObjectInfo, open_store
from jobs.train_record import EpochRecord
from tests.browsers import open_browser, quiet_page
from tests.plates import plate

STORE = open_store("/")
HOSTILE = "<script>document.title='owned'</script>.png"


def calibration() -> CalibrationFile:
    scores = np.sort(np.random.default_rng(1).gamma(3.0, 1.0, 200))
    return CalibrationFile(
        model_sha256="0" * 64,
        score="mse",
        options=ScoreOptions(),
        target_fpr=0.02,
        scores=scores,
        map_range=(2.0, 8.0),
        inputs={},
        normals=None,
        latents=None,
        source="/normal",
        digest="d",
        num_odd=2,
        robust=False,
    )


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two scans: of three pictures, the worst with a hostile name, and of one that cannot be read."""
    images = tmp_path / "in"
    images.mkdir()
    root = ScanRoot(str(tmp_path / "scans"))
    names = ["fine.png", "worst.png", HOSTILE.replace("/", "_")]
    for index, name in enumerate(names):
        (images / name).write_bytes(plate(index, hole=index > 0))
    STORE.put(root.calibration("c" * 64), calibration().encode())
    _scan(root, 1, images, {names[0]: 2.0, names[1]: 30.0, names[2]: 20.0})
    _scan(root, 2, images, {"gone.png": 25.0, "bad.png": None})
    drift = Drift(40, 0.4, {"brightness": 1e-9}, {"brightness": (0.5, 0.3)})
    STORE.put(root.drift(2), json.dumps(asdict(drift)).encode())
    return tmp_path / "scans"


def _scan(root: ScanRoot, number: int, images: Path, raws: dict[str, float | None]) -> None:
    folder = RunFolder(root.scan(number))
    heat = np.zeros((16, 16), np.float32)
    heat[4:8, 4:8] = 40
    rows = [
        {
            "uri": str(images / name),
            "etag": STORE.stat(str(images / name)).etag if (images / name).exists() else "x",
            "width": 40,
            "height": 36,
            "status": "ok" if raw is not None else "decode",
            "error_code": None if raw is not None else "corrupt",
            "anomaly_raw": raw,
            "anomaly_score": None if raw is None else 0.5,
            "is_anomaly": raw and raw > 10,
            "heatmap": encode_heatmap(heat, center=8, scale=6) if raw is not None and raw > 10 else None,
        }
        for name, raw in raws.items()
    ]
    record = JobRecord(
        job_id=f"{number}" * 64,
        identity="i",
        model={"name": "line3", "digests": {"weights": "0", "calibration": "c" * 64}},
        code_version="0",
        source=str(images),
        num_inputs=len(rows),
        num_units=1,
        images_per_unit=8,
        units_per_file=1,
        skipped={},
        spec={"model": {"name": "models/line3/"}},
        job="scan",
    )
    STORE.put(folder.job, json.dumps(asdict(record)).encode())
    STORE.put(folder.file(0), encode_part(pa.Table.from_pylist(rows, schema=score_schema(None)), {}))
    failed = sum(raw is None for raw in raws.values())
    counts = {"inputs": len(rows), "ok": len(rows) - failed, "failed": failed}
    failures = {"corrupt": failed} if failed else {}
    STORE.put(folder.success, json.dumps({"counts": counts, "failures": failures}).encode())
    decide(root, number, STORE)
    Ledger(root.uri, STORE).advance(
        number, pin_inputs([ObjectInfo(row["uri"], row["etag"], 1) for row in rows]), writer="w"
    )


def test_the_worst_are_shown_with_their_heat_maps_and_nothing_runs(scans: Path) -> None:
    page = Path(write_report(str(scans)))
    with open_browser() as browser, quiet_page(browser, page) as shown:
        assert shown.inner_text("h1") == "models/line3/"
        values = shown.locator(".counter .value").all_inner_texts()
        assert values == ["2", "5", "3", "1"]
        cards = shown.locator(".scan-card.anomalous")
        texts = cards.all_inner_texts()
        assert [text.split("raw ")[1].split(" ")[0] for text in texts] == ["30", "25", "20"]
        assert "in/worst.png" in texts[0]
        assert HOSTILE.replace("/", "_") in texts[2]
        assert cards.nth(0).locator("img").count() == 2
        assert cards.nth(1).locator("img").count() == 0  # the object is gone
        sizes = shown.eval_on_selector_all("img", "all => all.map(i => [i.naturalWidth, i.naturalHeight])")
        assert sizes == [[40, 36]] * 5
        banners = " ".join(shown.locator(".banner").all_inner_texts())
        assert "Scan 2: brightness has changed from 0.5 to 0.3" in banners
        assert "2 of the calibration's normal images look odd" in banners
        assert "corrupt" in shown.inner_text("body")
        line = shown.locator(".threshold").first.bounding_box()
        chart = shown.locator(".score-chart").first.bounding_box()
        assert line is not None
        assert chart is not None
        assert chart["x"] < line["x"] < chart["x"] + chart["width"]


def test_the_models_training_is_shown_where_it_is_at_hand(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / "line3"
    folder.mkdir(parents=True)
    losses = (0.5, 0.1, 0.3)
    history = [asdict(EpochRecord(k, 1.0, {}, {"loss": loss})) for k, loss in enumerate(losses)]
    (folder / "history.json").write_text(json.dumps(history))
    with open_browser() as browser, quiet_page(browser, Path(write_report(str(scans)))) as shown:
        assert shown.inner_text(".line-plot figcaption") == "epoch 2 was kept"
        assert shown.locator(".line-plot path.count-line").count() == 1


def test_the_same_scans_give_the_same_page(scans: Path) -> None:
    first = Path(write_report(str(scans))).read_bytes()
    assert Path(write_report(str(scans))).read_bytes() == first


def test_a_folder_without_scans_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="not a run"):
        write_report(str(tmp_path))


def test_bins_hold_everything_and_place_the_threshold() -> None:
    normal, scanned = np.linspace(0, 1, 101), np.array([0.2, 5.0, 900.0])
    bins, mark = score_bins(normal, scanned, 1.0)
    assert len(bins) == NUM_BINS
    assert max(each.normal for each in bins) == max(each.scanned for each in bins) == 1
    assert bins[-1].scanned == 1
    assert 0 < mark < 1
    alike, mark = score_bins(np.ones(5), np.empty(0), 1.0)
    assert sum(each.normal for each in alike) == 1
    assert 0 <= mark <= 1


def test_heat_lies_where_the_map_is_hot() -> None:
    values = np.zeros((10, 10), np.float32)
    values[:5, :5] = 0.95
    image = Image.open(io.BytesIO(plate(1))).convert("RGB")
    shown = np.asarray(overlay_heatmap(image, values)).astype(int)
    gray = np.asarray(image.convert("L")).astype(int)
    assert np.abs(shown[-1, -1] - gray[-1, -1]).max() == 0
    assert np.abs(shown[3, 3] - gray[3, 3]).max() > 60
