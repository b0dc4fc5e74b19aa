"""The commands for videos: what works from the outside, and what is refused in one clear message."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cluster.test_cli_mistakes import check_refused, run
from tests.corpus import good_image, toy_model
from tests.cvcore.video.clips import make_clip

MOT = "".join(f"{frame},-1,{10 + 4 * frame},20,30,40,0.9,-1,-1,-1\n" for frame in range(1, 31))


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    """An imported run of one sequence."""
    (tmp_path / "walk.txt").write_text(MOT)
    out = tmp_path / "detections"
    result = run("import", tmp_path / "walk.txt", "--out", out, "--fps", "10")
    assert result.exit_code == 0, result.output
    assert "1 sequences, 30 frames, 30 detections" in result.output
    return out


@pytest.mark.usefixtures("ray_cluster")
def test_detections_of_another_tool_are_tracked_measured_and_given_back(
    detections: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tracks"
    result = run("track", "--detections", detections, "--tracker", "sort", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    last = json.loads(result.output.strip().splitlines()[-1])
    assert last["counts"] | {"inputs": 30, "videos": 1, "tracks": 1, "tracked": 30} == last["counts"]
    assert pq.read_table(out / "tracks.parquet").column("length").to_pylist() == [30]
    result = run("export", out, "--out", tmp_path / "text")
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "text" / "walk.txt").read_text().splitlines()
    assert [line.split(",")[:6] for line in lines] == [
        [str(frame), "1", f"{10.0 + 4 * frame}", "20.0", "30.0", "40.0"] for frame in range(1, 31)
    ]
    again = run("track", "--detections", detections, "--tracker", "sort", "--out", out)
    assert again.exit_code == 0
    assert "finished before; nothing was done" in again.output


def test_a_track_job_can_be_looked_at_before_it_runs(detections: Path, tmp_path: Path) -> None:
    result = run("track", "--detections", detections, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "tracker: bytetrack" in result.output
    assert "videos: 1" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], ["name either source"], id="nothing to track"),
        pytest.param(["--detections", "gone"], ["is no run"], id="no such run"),
        pytest.param(
            ["--detections", "gone", "--tracker", "deepsort"], ["track.tracker", "bytetrack"], id="tracker"
        ),
        pytest.param(["pics"], ["no image or video", "1 .jpg"], id="no videos"),
        pytest.param(["pics", "--fps", "0"], ["video.fps", "greater than 0"], id="fps"),
        pytest.param(["pics", "--fps", "1", "--stride", "2"], ["exclude each other"], id="two samplings"),
    ],
)
def test_what_cannot_be_tracked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.jpg").write_bytes(good_image(1))
    monkeypatch.chdir(tmp_path)
    check_refused(run("track", *arguments, "--out", "out"), tmp_path / "out", *words)


def test_text_that_is_not_mot_s_is_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1,1,5,5,10,10\n2,1,5,five,10,10\n")
    check_refused(
        run("import", tmp_path / "a.txt", "--out", tmp_path / "out"), tmp_path / "out", "a.txt", "line 2"
    )
    (tmp_path / "empty").mkdir()
    check_refused(
        run("import", tmp_path / "empty", "--out", tmp_path / "out"), tmp_path / "out", "no MOT text"
    )


def test_formats_that_are_not_known_are_refused(detections: Path, tmp_path: Path) -> None:
    for command in (("export", detections), ("import", tmp_path / "walk.txt")):
        result = run(*command, "--out", tmp_path / "new", "--format", "moth")
        check_refused(result, tmp_path / "new", "no format 'moth'", "Did you mean 'mot'")


def test_a_run_of_images_has_no_mot_text(tmp_path: Path, detections: Path) -> None:
    check_refused(run("export", tmp_path, "--out", tmp_path / "new"), tmp_path / "new", "is not a run")
    check_refused(run("import", tmp_path / "walk.txt", "--out", detections), None, "finished run")


def test_a_video_is_planned_frame_by_frame(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(make_clip("h264", "mp4", num_frames=40))
    toy = toy_model(tmp_path / "toy")
    model = ["--model", toy["name"], "--weights", toy["weights"], "--labels", toy["labels"]]
    result = run("annotate", tmp_path / "in", "--out", tmp_path / "out", "--stride", "4", *model, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "Planned 10 frames in 1 unit, of 1 video" in result.output
    assert "stride: 4" in result.output
