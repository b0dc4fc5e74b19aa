"""Images and videos of one bucket, through the whole job: every frame is a row, whatever became of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs.annotate import run_annotate
from jobs.progress import SilentListener
from jobs.spec import build_spec
from tests.corpus import good_image, toy_model
from tests.cvcore.video.clips import make_clip
from tests.runs import read_rows
from tests.s3_files import client, new_bucket, upload, upload_model
from tests.s3_servers import S3Server

NUM_FRAMES = 60


def media() -> dict[str, bytes]:
    """By name: images, whole videos in several containers, and videos with something wrong."""
    whole = make_clip("h264", "mp4", num_frames=NUM_FRAMES)
    middle = len(whole) // 2
    return {
        "a.jpg": good_image(1),
        "b.png": good_image(2, "PNG"),
        "bad.jpg": b"",
        "film.mkv": make_clip("h264", "mkv", num_frames=NUM_FRAMES),
        "film.mp4": whole,
        "film.webm": make_clip("vp9", "webm", num_frames=NUM_FRAMES),
        "hurt.mp4": whole[:middle] + bytes(400) + whole[middle + 400 :],
        "text.mp4": b"this is no video, whatever its name says",
    }


def spec_of(
    root: str, model: dict[str, str], *, out: str, per_unit: int, **video: object
) -> dict[str, object]:
    return {
        "source": {"uri": f"{root}/in"},
        "video": video,
        "model": model,
        "annotate": {"min_score": 0.0, "max_detections": 5},
        "resources": {"batch_size": 1},  # the last bits of a convolution depend on the batch
        "sink": {"uri": f"{root}/{out}", "images_per_unit": per_unit},
    }


def annotate(content: dict[str, object]) -> dict[str, int]:
    result = run_annotate(build_spec(content, name="test"), listener=SilentListener())
    counts: dict[str, int] = result.manifest["counts"]
    return counts


def comparable(rows: pa.Table, root: str) -> pa.Table:
    """Rows of a run wherever it was: without versions, with names below the root."""
    names = pc.replace_substring(rows.column("uri"), f"{root}/in/", "")
    plain = rows.set_column(0, "uri", names).drop_columns(["etag"]).replace_schema_metadata()
    errors = pc.replace_substring(plain.column("error"), f"{root}/in/", "")
    plain = plain.set_column(plain.schema.get_field_index("error"), "error", errors)
    return plain.sort_by([("uri", "ascending"), ("frame_index", "ascending")]).combine_chunks()


@pytest.fixture
def local(tmp_path: Path) -> tuple[str, dict[str, str]]:
    (tmp_path / "in").mkdir()
    for name, body in media().items():
        (tmp_path / "in" / name).write_bytes(body)
    return str(tmp_path), toy_model(tmp_path / "toy")


@pytest.mark.usefixtures("ray_cluster")
def test_any_cut_gives_the_same_rows_and_each_failure_costs_its_own(
    local: tuple[str, dict[str, str]],
) -> None:
    root, model = local
    tables = []
    for per_unit in (5, 23, 256):
        counts = annotate(spec_of(root, model, out=f"out-{per_unit}", per_unit=per_unit))
        tables.append(comparable(read_rows(f"{root}/out-{per_unit}"), root))
        assert counts["inputs"] == 3 + 4 * NUM_FRAMES + 1 == tables[-1].num_rows
        assert counts["inputs"] == counts["ok"] + counts["failed"]
        assert (counts["images"], counts["videos"]) == (3, 5)
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    rows = tables[0].to_pylist()
    for name in ("film.mkv", "film.mp4", "film.webm"):
        frames = [row for row in rows if row["uri"] == name]
        assert [row["frame_index"] for row in frames] == list(range(NUM_FRAMES))
        assert {row["status"] for row in frames} == {"ok"}
        times = [row["timestamp_s"] for row in frames]
        assert times == sorted(set(times))
    hurt = [row for row in rows if row["uri"] == "hurt.mp4"]
    failed = [row["frame_index"] for row in hurt if row["status"] != "ok"]
    assert 0 < len(failed) < NUM_FRAMES // 2, (
        "frames before the damage, and after the next keyframe, are kept"
    )
    assert {row["error_code"] for row in hurt if row["status"] != "ok"} <= {"corrupt", "truncated"}
    (text,) = [row for row in rows if row["uri"] == "text.mp4"]
    assert (text["status"], text["error_code"], text["frame_index"]) == ("decode", "not_a_video", None)
    images = [row for row in rows if row["uri"] in ("a.jpg", "b.png", "bad.jpg")]
    assert [row["frame_index"] for row in images] == [None] * 3


@pytest.mark.usefixtures("ray_cluster")
def test_a_bucket_gives_the_rows_of_a_folder(
    local: tuple[str, dict[str, str]], s3_environment: S3Server
) -> None:
    root, model = local
    bucket = new_bucket(s3_environment)
    upload(s3_environment, bucket, {f"in/{name}": body for name, body in media().items()})
    content = spec_of(
        f"s3://{bucket}", upload_model(s3_environment, bucket, model), out="out", per_unit=23, fps=2
    )
    content["storage"] = {"endpoint_url": s3_environment.url}
    counts = annotate(content)
    expected = annotate(spec_of(root, model, out="out", per_unit=23, fps=2))
    assert counts == expected
    theirs = comparable(read_rows(f"s3://{bucket}/out"), f"s3://{bucket}")
    assert theirs.equals(comparable(read_rows(f"{root}/out"), root))
    stored = (
        client(s3_environment).get_object(Bucket=bucket, Key="out/data/part-00000.parquet")["Body"].read()
    )
    assert pq.read_table(pa.BufferReader(stored)).column("frame_index").null_count == 3


@pytest.mark.usefixtures("ray_cluster")
def test_a_video_that_changed_after_planning_costs_its_rows(
    local: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import jobs.run_job

    root, model = local
    claim = jobs.run_job.claim_job

    def claim_then_change(*arguments: object, **options: object) -> object:
        claimed = claim(*arguments, **options)  # type: ignore[arg-type]
        Path(root, "in", "film.mp4").write_bytes(make_clip("h264", "mp4", num_frames=10))
        Path(root, "in", "film.webm").unlink()
        return claimed

    monkeypatch.setattr(jobs.run_job, "claim_job", claim_then_change)
    counts = annotate(spec_of(root, model, out="out", per_unit=30))
    rows = read_rows(f"{root}/out").to_pylist()
    for name, code in (("film.mp4", "changed"), ("film.webm", "missing")):
        found = [row for row in rows if row["uri"].endswith(name)]
        assert len(found) == NUM_FRAMES
        assert {(row["status"], row["error_code"]) for row in found} == {("read", code)}
    assert counts["inputs"] == counts["ok"] + counts["failed"]
    assert {row["status"] for row in rows if row["uri"].endswith("film.mkv")} == {"ok"}
