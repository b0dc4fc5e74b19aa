"""Exports as a whole: what is refused, what is filtered, and that nothing half written stays."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cvcore.errors import SpecError
from jobs.export.export import export_run
from jobs.export.names import image_name
from jobs.export.options import Options
from jobs.export.queue import doubt
from jobs.export.rows import Choice
from jobs.storage import Access, StoreFull
from jobs.storage.s3 import S3Store
from tests.cluster.test_cli_mistakes import check_refused
from tests.cluster.test_cli_mistakes import run as veedor
from tests.conftest import point_at
from tests.exchange import make_rows, video_rows, write_run
from tests.s3_files import client, new_bucket, upload
from tests.s3_servers import S3Server


def export(run: Path | str, out: Path | str, to: str = "coco", **options: object) -> None:
    export_run(str(run), to=to, out=str(out), access=Access(), options=Options(**options))  # type: ignore[arg-type]


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_run_that_is_not_finished_is_refused_or_said(tmp_path: Path) -> None:
    run = write_run(tmp_path, make_rows(tmp_path), finished=False, num_inputs=9)
    with pytest.raises(SpecError, match=r"not finished.*--partial"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export(run, tmp_path / "out", partial=True)
    assert json.loads((tmp_path / "out/annotations.json").read_text())["info"]["partial"] is True
    manifest = json.loads((tmp_path / "out/veedor.json").read_text())
    assert manifest["partial"] is True
    assert manifest["counts"]["not_looked_at"] == 2


@pytest.mark.parametrize("to", ["yolo", "voc", "fiftyone", "cvat", "label-studio"])
def test_a_run_without_sizes_leaves_nothing(tmp_path: Path, to: str) -> None:
    rows = make_rows(tmp_path)
    rows[-1]["width"] = None
    run = write_run(tmp_path, rows)
    with pytest.raises(SpecError, match=r"does not know the size of .*img 006"):
        export(run, tmp_path / "out", to)
    assert names(tmp_path) == names(run.parent)
    assert not [path for path in tmp_path.iterdir() if path.name != "run"]


@pytest.mark.parametrize("to", ["voc", "cvat", "label-studio"])
def test_labels_that_xml_cannot_hold(tmp_path: Path, to: str) -> None:
    run = write_run(tmp_path, make_rows(tmp_path), labels=("car", "traffic light", "dog", "bell\x07"))
    with pytest.raises(SpecError, match=f"{to} cannot hold the label"):
        export(run, tmp_path / "out", to)
    export(run, tmp_path / "out", "coco")


def test_an_output_in_use(tmp_path: Path) -> None:
    run = write_run(tmp_path, make_rows(tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("x")
    with pytest.raises(SpecError, match=r"not empty, it holds .*mine\.txt.*--overwrite"):
        export(run, tmp_path / "out")
    export(run, tmp_path / "out", overwrite=True)
    assert names(tmp_path / "out") == {"annotations.json", "results.json", "failures.csv", "veedor.json"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_two_images_with_one_text(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=2)
    rows[1]["uri"] = rows[0]["uri"].replace(".jpg", ".png")
    run = write_run(tmp_path, rows, parts=1)
    for to in ("yolo", "voc"):
        with pytest.raises(SpecError, match="another image"):
            export(run, tmp_path / "out", to)
        assert not (tmp_path / "out").exists()


def test_labels_and_scores_choose_detections_but_no_images(tmp_path: Path) -> None:
    rows = make_rows(tmp_path)
    run = write_run(tmp_path, rows)
    export(run, tmp_path / "out", choice=Choice(("car",), 0.4))
    document = json.loads((tmp_path / "out/annotations.json").read_text())
    every = [each for row in rows for each in row["detections"] or ()]
    wanted = [k for k, each in enumerate(every, 1) if each["label"] == "car" and each["score"] >= 0.4]
    assert [each["id"] for each in document["annotations"]] == wanted
    assert len(document["images"]) == 6
    with pytest.raises(SpecError, match=r"no label 'cart'\. Did you mean 'car'"):
        export(run, tmp_path / "new", choice=Choice(("cart",)))


def queue(run: Path, out: Path, order: str, limit: int = 3) -> list[str]:
    export(run, out, "label-studio", order=order, limit=limit)
    with (out / "queue.csv").open() as file:
        listed = [row["uri"] for row in csv.DictReader(file)]
    assert [task["data"]["uri"] for task in json.loads((out / "tasks.json").read_text())] == listed
    return listed


def test_the_most_doubtful_come_first(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=12)
    looked = [row for row in rows if row["detections"] is not None]
    looked.sort(key=lambda row: -doubt(each["score"] for each in row["detections"]))
    found = queue(write_run(tmp_path, rows), tmp_path / "out", "uncertain")
    assert found == [row["uri"] for row in looked[:3]]


def test_the_rarest_label_comes_first(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=12)
    for row in rows:
        for each in row["detections"] or ():
            each["label"] = "car"
    rows[8]["detections"][1]["label"] = "dog"
    assert queue(write_run(tmp_path, rows), tmp_path / "out", "rare")[0] == rows[8]["uri"]


def test_a_draw_is_the_seed_s(tmp_path: Path) -> None:
    run = write_run(tmp_path, make_rows(tmp_path, num=12))
    one, two = (queue(run, tmp_path / name, "random", 5) for name in "ab")
    assert one == two
    assert len(set(one)) == 5


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([], 0), ([1.0, 0.0], 0), ([0.99, 0.5], 1), ([0.75], 0.5), ([None], 0)],
    ids=["nothing", "certain", "one in doubt", "half", "no score"],
)
def test_doubt(scores: list[float | None], expected: float) -> None:
    assert doubt(scores) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--format", "kitti"], ["no format 'kitti'"], id="format"),
        pytest.param(["--format", "mot"], ["no rows of videos"], id="mot of images"),
        pytest.param(["--order", "rarest", "--limit", "3"], ["Did you mean 'rare'"], id="order"),
        pytest.param(["--format", "coco", "--order", "rare"], ["needs a limit"], id="no limit"),
        pytest.param(["--format", "coco", "--limit", "0"], ["at least 1"], id="limit"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    run = write_run(tmp_path, make_rows(tmp_path))
    check_refused(veedor("export", run, "--out", tmp_path / "out", *arguments), tmp_path / "out", *words)


def test_the_command_says_what_a_format_cannot_hold(tmp_path: Path) -> None:
    run = write_run(tmp_path, make_rows(tmp_path))
    result = veedor("export", run, "--out", tmp_path / "out", "--format", "yolo")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "15 detections in 6 images, 1 of them empty; 1 failed" in text
    assert "yolo cannot hold: scores (15)" in text


@pytest.mark.parametrize("to", ["yolo", "cvat"])
def test_to_and_from_a_bucket(
    tmp_path: Path, to: str, moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(moto_s3, monkeypatch)
    bucket = new_bucket(moto_s3)
    run = write_run(tmp_path, make_rows(tmp_path))
    files = {f"run/{p.relative_to(run)}": p.read_bytes() for p in run.rglob("*") if p.is_file()}
    upload(moto_s3, bucket, files)
    export(run, tmp_path / "out", to)
    export(f"s3://{bucket}/run", f"s3://{bucket}/out/{to}/", to)
    listed = client(moto_s3).list_objects_v2(Bucket=bucket, Prefix=f"out/{to}/")["Contents"]
    found = {each["Key"].removeprefix(f"out/{to}/") for each in listed}
    assert found == {name for name in names(tmp_path / "out") if (tmp_path / "out" / name).is_file()}
    body = client(moto_s3).get_object(Bucket=bucket, Key=f"out/{to}/failures.csv")["Body"].read()
    assert body == (tmp_path / "out/failures.csv").read_bytes()


def test_a_bucket_that_refuses_midway_is_left_without_a_rest(
    tmp_path: Path, moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(moto_s3, monkeypatch)
    bucket = new_bucket(moto_s3)
    run = write_run(tmp_path, make_rows(tmp_path))
    put = S3Store.put

    def refuse(store: S3Store, uri: str, body: bytes) -> None:
        if uri.endswith("img 004.txt"):
            raise StoreFull(f"{uri}: no room")
        put(store, uri, body)

    monkeypatch.setattr(S3Store, "put", refuse)
    with pytest.raises(StoreFull, match="no room"):
        export(run, f"s3://{bucket}/out", "yolo")
    assert "Contents" not in client(moto_s3).list_objects_v2(Bucket=bucket)


def test_a_track_that_leaves_is_outside_and_what_comes_back_is_a_keyframe(tmp_path: Path) -> None:
    run = write_run(tmp_path, video_rows(tmp_path), tracks=True)
    export(run, tmp_path / "out", "cvat")
    text = (tmp_path / "out/videos/line 3.mp4.xml").read_text()
    track = text.split("<track ")[2].split("</track>")[0]
    frames = [
        (int(box.split('frame="')[1].split('"')[0]), 'outside="1"' in box) for box in track.split("<box")[1:]
    ]
    seen = [(frame, False) for frame in range(12) if frame not in (4, 5, 9)]
    assert frames == sorted([*seen, (4, True), (9, True)])


@pytest.mark.parametrize(
    ("uri", "frame", "source", "expected"),
    [
        pytest.param("/a/b/c.jpg", None, "/a", "b/c.jpg", id="below"),
        pytest.param("s3://k/a/c.jpg", None, "s3://k/a/", "c.jpg", id="prefix"),
        pytest.param("/a/c.mp4", 7, "/a", "c.mp4/frame_000007.jpg", id="frame"),
        pytest.param("/a/c.jpg", None, "/a/c.jpg", "c.jpg", id="the source itself"),
        pytest.param("/x/c.jpg", None, "/a", "x/c.jpg", id="elsewhere"),
        pytest.param("s3://k/a/../../c.jpg", None, "s3://k/a", "%2E%2E/%2E%2E/c.jpg", id="leads out"),
        pytest.param("s3://k/a//c.jpg", None, "s3://k/a", "%2F/c.jpg", id="empty part"),
        pytest.param("s3://k/a/b\x07.jpg", None, "s3://k/a", "b%07.jpg", id="control character"),
    ],
)
def test_names(uri: str, frame: int | None, source: str, expected: str) -> None:
    assert image_name(uri, frame, source) == expected
