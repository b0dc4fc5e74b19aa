"""The track job: the same tracks whatever the cut, and nothing of the detections lost."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from cvcore.errors import SpecError
from cvcore.track.catalog import make_tracker
from jobs.mot import import_mot
from jobs.outcome import RunResult
from jobs.progress import SilentListener
from jobs.spec import validate_spec
from jobs.storage import Access
from jobs.track import run_track
from jobs.track_spec import TrackSection, TrackSpec

NUM_FRAMES = 120


def mot_text(seed: int) -> str:
    """Detections of three things that cross the picture, each missed now and then."""
    dice = random.Random(seed)
    lines = []
    for frame in range(1, NUM_FRAMES + 1):
        for thing in range(3):
            if dice.random() < 0.15:
                continue
            x, y = 10 + 3 * frame + dice.gauss(0, 1), 50 + 120 * thing + dice.gauss(0, 1)
            lines.append(f"{frame},-1,{x},{y},60,90,{dice.uniform(0.6, 1)},-1,-1,-1")
    return "\n".join(lines) + "\n"


def detections(folder: Path, *, frames_per_unit: int, num_videos: int = 2) -> Path:
    """A run of imported detections."""
    source = folder / "text"
    if not source.exists():
        source.mkdir()
        for number in range(num_videos):
            (source / f"line-{number}.txt").write_text(mot_text(number))
    out = folder / f"detections-{frames_per_unit}"
    import_mot(str(source), out=str(out), fps=25.0, frames_per_unit=frames_per_unit, access=Access())
    return out


def track(run: Path, out: Path, **section: object) -> RunResult:
    content = {"detections": str(run), "track": section, "sink": {"uri": str(out)}}
    return run_track(validate_spec(content, TrackSpec, name="test"), listener=SilentListener())


def rows_of(run: Path) -> pa.Table:
    return pq.read_table(run / "data").replace_schema_metadata()


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("tracker", ["bytetrack", "sort"])
def test_any_cut_gives_the_tracks_of_a_plain_loop(tmp_path: Path, tracker: str) -> None:
    tables, tracks = [], []
    for frames_per_unit in (3, 17, 256):
        run = detections(tmp_path, frames_per_unit=frames_per_unit)
        out = tmp_path / f"{tracker}-{frames_per_unit}"
        result = track(run, out, tracker=tracker)
        assert result.outcome == "finished"
        counts = result.manifest["counts"]
        assert (counts["inputs"], counts["videos"]) == (2 * NUM_FRAMES, 2)
        tables.append(rows_of(out).drop_columns(["etag"]))
        tracks.append(pq.read_table(out / "tracks.parquet"))
        assert counts["tracks"] == tracks[-1].num_rows
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    assert tracks[0].equals(tracks[1])
    assert tracks[0].equals(tracks[2])
    plain = make_tracker(TrackSection(tracker=tracker).options)  # type: ignore[arg-type]
    first = [row for row in tables[0].to_pylist() if row["uri"].endswith("line-0.txt")]
    for row in first:
        boxes = np.array([d["box"] for d in row["detections"]], float).reshape(-1, 4)
        scores = np.array([d["score"] for d in row["detections"]], float)
        ids = plain.update(boxes, scores, np.zeros(len(scores), int))
        assert [d["track_id"] for d in row["detections"]] == [None if i < 0 else i for i in ids.tolist()]


@pytest.mark.usefixtures("ray_cluster")
def test_detections_are_kept_and_tracks_sum_them_up(tmp_path: Path) -> None:
    run = detections(tmp_path, frames_per_unit=30)
    track(run, tmp_path / "out")
    before, after = rows_of(run), rows_of(tmp_path / "out")
    for name in before.column_names:
        if name != "detections":
            assert after.column(name).equals(before.column(name)), name
    kept = pc.list_flatten(after.column("detections")).combine_chunks()
    given = pc.list_flatten(before.column("detections")).combine_chunks()
    for name in ("box", "label", "label_id", "score"):
        assert kept.field(name).equals(given.field(name)), name
    for row in pq.read_table(tmp_path / "out" / "tracks.parquet").to_pylist():
        of_track = [
            (r["frame_index"], d)
            for r in after.to_pylist()
            if r["uri"] == row["uri"]
            for d in r["detections"]
            if d["track_id"] == row["track_id"]
        ]
        frames = [frame for frame, _ in of_track]
        assert (row["first_frame"], row["last_frame"], row["length"]) == (frames[0], frames[-1], len(frames))
        assert row["first_s"] == pytest.approx(frames[0] / 25)
        assert row["mean_score"] == pytest.approx(np.mean([d["score"] for _, d in of_track]), rel=1e-5)
        assert 1 <= len(row["path"]) <= 64
        assert [point["frame_index"] for point in row["path"]] == sorted(
            p["frame_index"] for p in row["path"]
        )


@pytest.mark.usefixtures("ray_cluster")
def test_short_gaps_are_filled_on_request(tmp_path: Path) -> None:
    run = detections(tmp_path, frames_per_unit=7)
    track(run, tmp_path / "plain")
    track(run, tmp_path / "filled", interpolate_gap=5)
    plain, filled = rows_of(tmp_path / "plain").to_pylist(), rows_of(tmp_path / "filled").to_pylist()
    added = 0
    for before, after in zip(plain, filled, strict=True):
        measured = [d for d in after["detections"] if not d["interpolated"]]
        assert [d["track_id"] for d in measured] == [d["track_id"] for d in before["detections"]]
        added += len(after["detections"]) - len(measured)
        ids = [d["track_id"] for d in after["detections"] if d["track_id"] is not None]
        assert len(ids) == len(set(ids)), "a track is in a frame once"
    assert added > 20
    ends = {
        t["track_id"]: (t["first_frame"], t["last_frame"]) for t in tracks_of(tmp_path / "filled", "line-1")
    }
    for track_id, (first, last) in ends.items():
        frames = [
            r["frame_index"]
            for r in filled
            if r["uri"].endswith("line-1.txt")
            for d in r["detections"]
            if d["track_id"] == track_id
        ]
        if last - first > NUM_FRAMES // 2:
            assert frames == list(range(first, last + 1)), "no gap is longer than five frames here"


def tracks_of(run: Path, name: str) -> list[dict[str, object]]:
    return [t for t in pq.read_table(run / "tracks.parquet").to_pylist() if t["uri"].endswith(f"{name}.txt")]


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_that_lost_parts_is_completed_the_same(tmp_path: Path) -> None:
    run = detections(tmp_path, frames_per_unit=11)
    out = tmp_path / "out"
    track(run, out)
    whole = {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*.parquet"))}
    (out / "_SUCCESS.json").unlink()
    (out / "tracks.parquet").unlink()
    for path in sorted((out / "data").iterdir())[3:9]:
        path.unlink()
    assert track(run, out).outcome == "finished"
    assert {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*.parquet"))} == whole
    left = out / "_veedor" / "tracks" / "part-00000.parquet"
    left.write_bytes(b"of a driver that was killed while tidying up")
    assert track(run, out).outcome == "already finished"
    assert not left.exists()


@pytest.mark.usefixtures("ray_cluster")
def test_files_of_several_units_hold_the_same_rows(tmp_path: Path) -> None:
    run = detections(tmp_path, frames_per_unit=11)
    track(run, tmp_path / "one")
    record = (run / "_veedor" / "job.json").read_text()
    assert '"units_per_file": 1' in record
    merged = tmp_path / "merged-detections"
    import_mot(
        str(tmp_path / "text"),
        out=str(merged),
        fps=25.0,
        frames_per_unit=11,
        access=Access(),
        units_per_file=4,
    )
    track(merged, tmp_path / "merged")
    assert len(list((tmp_path / "merged" / "data").iterdir())) == 6
    assert rows_of(tmp_path / "merged").equals(rows_of(tmp_path / "one"))


@pytest.mark.usefixtures("ray_cluster")
def test_another_job_is_refused_before_any_work(tmp_path: Path) -> None:
    run = detections(tmp_path, frames_per_unit=60)
    track(run, tmp_path / "out")
    with pytest.raises(SpecError, match=r"track.tracker was bytetrack and is sort"):
        track(run, tmp_path / "out", tracker="sort")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "name either source"),
        ({"source": {"uri": "/a"}, "detections": "/b"}, "name either source"),
        ({"detections": "/out"}, "detections' own folder"),
        ({"detections": "/b", "track": {"tracker": "deepsort"}}, "bytetrack"),
        ({"detections": "/b", "track": {"sort": {"max_age": -1}}}, "max_age"),
        ({"detections": "/b", "track": {"sort": {"max_agee": 1}}}, "max_agee"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused(content: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        validate_spec(content | {"sink": {"uri": "/out"}}, TrackSpec, name="test")


def test_what_is_no_finished_annotate_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="is no run"):
        track(tmp_path / "empty", tmp_path / "out")
    run = detections(tmp_path, frames_per_unit=60)
    (run / "_SUCCESS.json").unlink()
    with pytest.raises(SpecError, match="not finished"):
        track(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
