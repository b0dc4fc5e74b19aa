"""The export as FiftyOne itself reads it, with its own database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.export.export import export_run
from jobs.storage import Access
from tests.exchange import LABELS, make_rows, video_rows, write_run

INSTALLED = Path(sys.prefix) / "fiftyone"
READ = """
import json, sys
import fiftyone
kind = fiftyone.types.FiftyOneImageDetectionDataset
names = ("label", "bounding_box", "confidence", "number", "track_id")
for labels, images in json.loads(sys.argv[1]):
    where = {"labels_path": labels, "data_path": images}
    found = fiftyone.Dataset.from_dir(dataset_type=kind, label_field="found", **where)
    print(json.dumps({
        "classes": found.default_classes,
        "samples": {
            sample.filepath: [
                [each.get_field(name) if each.has_field(name) else None for name in names]
                for each in sample.found.detections
            ]
            for sample in found
        },
    }))
"""

Rows = list[dict[str, Any]]


def read(exports: list[tuple[Path, Path]], home: Path) -> list[dict[str, Any]]:
    """What a process of its own has of exports and their images; skips where FiftyOne does not run."""
    mongod = INSTALLED / "fiftyone" / "db" / "bin" / "mongod"
    if not mongod.is_file():
        pytest.skip("FiftyOne is not installed: `make tools` installs it")
    runs = subprocess.run([mongod, "--version"], capture_output=True, text=True, check=False)
    if runs.returncode:
        pytest.skip(f"FiftyOne's database does not run on this system: {runs.stderr.strip()}")
    environment = {
        **os.environ,
        "PYTHONPATH": str(INSTALLED),
        "HOME": str(home),
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    }
    asked = json.dumps([[str(out / "labels.json"), str(images)] for out, images in exports])
    done = subprocess.run(
        [sys.executable, "-c", READ, asked],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=home,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"classes"')]


def exported(folder: Path, rows: Rows, *, tracks: bool = False) -> Path:
    out = folder / "fiftyone"
    export_run(str(write_run(folder, rows, tracks=tracks)), to="fiftyone", out=str(out), access=Access())
    return out


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Rows, dict[str, Any]]]:
    """Rows of images and of a video's frames, each with what FiftyOne has of their export."""
    folder, video = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("video")
    rows, frame_rows = make_rows(folder, write_images=True), video_rows(video)
    exports = [exported(folder, rows), exported(video, frame_rows, tracks=True)]
    # Frames are images of their own: files of their names stand in for them.
    for name in json.loads((exports[1] / "labels.json").read_text())["labels"]:
        frame = video / "frames" / f"{name}.jpg"
        frame.parent.mkdir(parents=True, exist_ok=True)
        frame.touch()
    found = read(list(zip(exports, (folder / "images", video / "frames"), strict=True)), folder)
    return list(zip((rows, frame_rows), found, strict=True))


def test_images_boxes_labels_scores_and_numbers(both: list[tuple[Rows, dict[str, Any]]]) -> None:
    rows, found = both[0]
    assert found["classes"] == list(LABELS)
    looked_at = [row for row in rows if row["status"] == "ok"]
    assert set(found["samples"]) == {row["uri"] for row in looked_at}
    for row in looked_at:
        given = found["samples"][row["uri"]]
        assert [(label, score, number) for label, _, score, number, _ in given] == [
            (each["label"], each["score"], number) for number, each in enumerate(row["detections"])
        ]
        for each, (_, box, *_) in zip(row["detections"], given, strict=True):
            x, y, width, height = np.array(box) * ([row["width"], row["height"]] * 2)
            np.testing.assert_allclose([x, y, x + width, y + height], each["box"], rtol=1e-6)


def test_frames_and_tracks(both: list[tuple[Rows, dict[str, Any]]]) -> None:
    rows, found = both[1]
    given = [[each[4] for each in found["samples"][uri]] for uri in sorted(found["samples"])]
    assert given == [[each["track_id"] for each in row["detections"]] for row in rows]
