"""Detecting and tracking from pixels: the cut into units and the number of actors change no track."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cvcore.scenes.video import VideoSceneSpec, render_video_scene
from cvcore.video.encode import VideoWriter
from jobs.progress import SilentListener
from jobs.spec import validate_spec
from jobs.track import run_track
from jobs.track_spec import TrackSpec
from tests.runs import read_rows

NUM_FRAMES = 100
# Frames a unit -> actors: about 1, 7 and 50 units, and cuts by chance.
CUTS = {
    NUM_FRAMES: 1,
    NUM_FRAMES // 7 + 1: 3,
    2: 3,
    random.Random(3).randint(3, 40): 1,
    random.Random(4).randint(3, 40): 3,
}


def track(folder: Path, *, frames_per_unit: int, actors: int) -> tuple[int, pa.Table, pa.Table]:
    """Files of the run (a unit each), rows in frame order, and tracks."""
    out = folder / f"out-{frames_per_unit}-{actors}"
    content = {
        "source": {"uri": str(folder / "in")},
        # The last bits of a convolution depend on the batch and the threads.
        "resources": {"actors": actors, "cpus_per_actor": 0.5, "batch_size": 1},
        "sink": {"uri": str(out), "images_per_unit": frames_per_unit},
    }
    spec = validate_spec(content, TrackSpec, name="test")
    result = run_track(spec, listener=SilentListener())
    assert result.manifest["counts"]["ok"] == NUM_FRAMES
    rows = read_rows(str(out)).sort_by("frame_index").combine_chunks().replace_schema_metadata()
    return len(list((out / "data").iterdir())), rows, pq.read_table(out / "tracks.parquet")


@pytest.mark.usefixtures("ray_cluster")
def test_neither_the_cut_into_units_nor_the_actors_change_a_track(tmp_path: Path) -> None:
    scene = VideoSceneSpec(num_frames=NUM_FRAMES, width=240, height=180)
    (tmp_path / "in").mkdir()
    with VideoWriter(
        tmp_path / "in" / "line.mp4",
        fps=scene.fps,
        width=scene.width,
        height=scene.height,
        keyframe_interval=2,
    ) as writer:
        for frame in render_video_scene(7, scene):
            writer.write(frame.image)
    runs = {cut: track(tmp_path, frames_per_unit=cut, actors=actors) for cut, actors in CUTS.items()}
    _, rows, tracks = runs[NUM_FRAMES]
    assert tracks.num_rows > 3
    assert max(length.as_py() for length in tracks.column("length")) > NUM_FRAMES // 4
    for cut, (_, other_rows, other_tracks) in runs.items():
        assert other_rows.equals(rows), f"{cut} frames a unit"
        assert other_tracks.equals(tracks), f"{cut} frames a unit"
    assert len({units for units, _, _ in runs.values()}) > 1, "the cuts were cuts"
