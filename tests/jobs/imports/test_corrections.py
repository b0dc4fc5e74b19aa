"""Corrections of a run: kept beside it, seen in queries, refused whole where they are wrong."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cvcore.errors import SpecError
from jobs.export.export import export_run
from jobs.export.options import Options
from jobs.export.rows import Choice
from jobs.imports.corrections import import_corrections
from jobs.query.session import open_query
from jobs.storage import Access
from tests.cluster.test_cli_mistakes import check_refused
from tests.cluster.test_cli_mistakes import run as veedor
from tests.conftest import point_at
from tests.exchange import make_rows, video_rows, write_run
from tests.jobs.export.test_round_trips import submit
from tests.s3_files import new_bucket, upload
from tests.s3_servers import S3Server


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path, make_rows(tmp_path))


def ask(run: Path, sql: str) -> list[tuple[Any, ...]]:
    return list(open_query(str(run), access=Access()).ask(sql).rows)


def exported(run: Path, to: str, **options: Any) -> Path:
    out = run.parent / to
    export_run(str(run), to=to, out=str(out), access=Access(), options=Options(**options))
    if to == "label-studio":
        submit(out / "tasks.json")
    return out


def digest(run: Path) -> dict[str, str]:
    files = [path for path in run.rglob("*") if path.is_file() and "corrections" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def give_back(run: Path, source: Path, of: str, **more: Any) -> dict[str, int]:
    done = import_corrections(str(source), str(run), of=of, who="ann", access=Access(), **more)
    return dict(done.actions)


@pytest.mark.parametrize("of", ["coco", "yolo", "voc", "cvat", "label-studio", "fiftyone", "csv"])
def test_what_comes_back_as_it_went_is_accepted(run: Path, of: str) -> None:
    before = digest(run)
    actions = give_back(run, exported(run, of), of)
    assert actions == {"accept": 15, "empty": 1}
    assert digest(run) == before
    columns = "uri, label, x0, y0, x1, y1, score"
    assert ask(run, f"select {columns} from reviewed order by all") == ask(
        run, f"select {columns} from detections order by all"
    )
    assert ask(run, "select distinct who, tool, action from corrections order by all") == [
        ("ann", of, "accept"),
        ("ann", of, "empty"),
    ]


def test_when_it_was_said_is_an_instant(run: Path) -> None:
    when = datetime(2026, 5, 4, 10, 30, tzinfo=UTC)
    give_back(run, exported(run, "coco"), "coco", when=when)
    assert ask(run, "select distinct made from corrections") == [(when,)]
    asked = veedor("query", run, "select distinct made from corrections", "--csv")
    assert asked.output == "made\n2026-05-04 10:30:00+00:00\n"


@pytest.mark.parametrize("of", ["mot", "cvat", "coco"])
def test_of_tracks_too(tmp_path: Path, of: str) -> None:
    run = write_run(tmp_path, video_rows(tmp_path), tracks=True)
    total = ask(run, "select count(*) from detections")[0][0]
    assert give_back(run, exported(run, of), of) == {"accept": total}
    columns = "frame_index, track_id, label, x0, y0, x1, y1"
    assert ask(run, f"select {columns} from reviewed order by all") == ask(
        run, f"select {columns} from detections order by all"
    )


def test_a_person_s_changes_are_seen_in_the_view(run: Path) -> None:
    out = exported(run, "coco")
    content = json.loads((out / "annotations.json").read_text())
    changed = content["annotations"]
    moved, relabelled, removed = changed[0], changed[1], changed.pop(2)
    moved["bbox"][0] += 1.5
    relabelled["category_id"] = relabelled["category_id"] % 3 + 1
    added = {"id": 999, "image_id": changed[3]["image_id"], "category_id": 1, "bbox": [1, 2, 3, 4]}
    changed.append(added)
    (out / "annotations.json").write_text(json.dumps(content))
    actions = give_back(run, out, "coco", tool="labelme")
    assert actions == {"accept": 12, "move": 1, "relabel": 1, "reject": 1, "add": 1, "empty": 1}
    assert ask(run, "select count(*), count(score) from reviewed") == [(15, 14)]
    names = {each["id"]: each["name"] for each in content["categories"]}
    assert ask(run, "select x0, score, number from reviewed where action = 'move'") == [
        (pytest.approx(moved["bbox"][0]), moved["score"], moved["number"])
    ]
    assert ask(run, "select label, number from reviewed where action = 'relabel'") == [
        (names[relabelled["category_id"]], relabelled["number"])
    ]
    assert ask(run, "select label, x0, y0, x1, y1, score, number from reviewed where action = 'add'") == [
        ("car", 1, 2, 4, 6, None, None)
    ]
    assert ask(run, "select number from corrections where action = 'reject'") == [(removed["number"],)]
    assert ask(run, "select distinct tool from corrections") == [("labelme",)]


def test_a_later_import_takes_the_place_of_an_earlier_one_of_the_same_image(run: Path) -> None:
    out = exported(run, "coco")
    content = json.loads((out / "annotations.json").read_text())
    every = content["annotations"]
    first = content["images"][0]["id"]
    content["annotations"] = [each for each in every if each["image_id"] != first]
    (out / "annotations.json").write_text(json.dumps(content))
    assert give_back(run, out, "coco")["reject"] == 3
    assert ask(run, "select count(*) from reviewed") == [(12,)]
    content |= {"annotations": [e for e in every if e["image_id"] == first], "images": content["images"][:1]}
    (out / "annotations.json").write_text(json.dumps(content))
    assert give_back(run, out, "coco") == {"accept": 3}
    assert ask(run, "select count(*) from reviewed") == [(15,)]
    assert [path.name for path in sorted((run / "corrections").iterdir())] == [
        "000001.parquet",
        "000002.parquet",
    ]


def test_what_was_not_shown_is_not_rejected(run: Path) -> None:
    choice = Choice(("car",), 0.3)
    out = exported(run, "label-studio", choice=choice)
    assert "reject" in give_back(run, out, "label-studio")
    shutil.rmtree(run / "corrections")
    assert set(give_back(run, out, "label-studio", shown=choice)) <= {"accept", "empty"}


def test_a_task_that_nobody_looked_at_says_nothing(run: Path) -> None:
    out = exported(run, "label-studio")
    tasks = json.loads((out / "tasks.json").read_text())
    del tasks[0]["annotations"]
    (out / "tasks.json").write_text(json.dumps(tasks))
    assert give_back(run, out, "label-studio") == {"accept": 12, "empty": 1}


def test_brushes_that_lost_their_boxes_are_objects_each(tmp_path: Path) -> None:
    """Label Studio keeps a box's mask where a person removes the box alone: without its parent."""
    run = write_run(tmp_path, make_rows(tmp_path, masks=True), masks=True)
    out = exported(run, "label-studio")
    tasks = json.loads((out / "tasks.json").read_text())
    (annotation,) = tasks[0]["annotations"]
    brushes = [region for region in annotation["result"] if region["type"] == "brushlabels"]
    annotation["result"] = [
        {key: value for key, value in region.items() if key != "parentID"} for region in brushes
    ]
    (out / "tasks.json").write_text(json.dumps(tasks))
    assert give_back(run, out, "label-studio") == {"accept": 12, "move": 3, "empty": 1}


def _coco(out: Path, change: Any) -> Path:
    content = json.loads((out / "annotations.json").read_text())
    change(content)
    (out / "annotations.json").write_text(json.dumps(content))
    return out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            lambda c: c["images"].append({"id": 99, "file_name": "new.jpg", "width": 5, "height": 5}),
            r"1 of 7 images are not in the run: new\.jpg",
            id="an image of another run",
        ),
        pytest.param(
            lambda c: c["annotations"].append(c["annotations"][0] | {"id": 99, "category_id": 1}),
            "detection 0 is corrected twice",
            id="two corrections of one object",
        ),
        pytest.param(lambda c: c["images"].append(c["images"][0] | {"id": 99}), "twice", id="an image twice"),
        pytest.param(
            lambda c: c["annotations"][0].update(image_id=77), "names 77", id="an annotation of no image"
        ),
        pytest.param(lambda c: c.pop("images"), "no list images", id="no document"),
        pytest.param(lambda c: c.update(images=[], annotations=[]), "no images", id="nothing in it"),
    ],
)
def test_what_is_refused_leaves_nothing(run: Path, change: Any, words: str) -> None:
    out = _coco(exported(run, "coco"), change)
    with pytest.raises(SpecError, match=words):
        give_back(run, out, "coco")
    assert not (run / "corrections").exists()


def test_a_file_that_is_not_there_is_said_to_be_missing(run: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"there is no file .*mine\.json"):
        give_back(run, tmp_path / "mine.json", "coco")
    with pytest.raises(SpecError, match=r"mine is no \.json file and holds no annotations\.json"):
        give_back(run, tmp_path / "mine", "coco")


IMAGE_FORMATS = ("coco", "yolo", "voc", "cvat", "label-studio", "fiftyone", "csv")


@pytest.mark.parametrize(
    ("of", "other"),
    [(of, other) for of in (*IMAGE_FORMATS, "mot") for other in IMAGE_FORMATS if of != other],
)
def test_a_file_of_another_format_is_refused(run: Path, of: str, other: str) -> None:
    source = exported(run, other)
    files = {"coco": "annotations.json", "label-studio": "tasks.json", "fiftyone": "labels.json"}
    if other in files and of in files:
        source = source / files[other]
    with pytest.raises(SpecError) as refused:
        give_back(run, source, of)
    assert str(run.parent) in str(refused.value)
    assert not (run / "corrections").exists()


def test_two_annotations_of_one_task(run: Path) -> None:
    out = exported(run, "label-studio")
    tasks = json.loads((out / "tasks.json").read_text())
    tasks[0]["annotations"] *= 2
    (out / "tasks.json").write_text(json.dumps(tasks))
    with pytest.raises(SpecError, match="has 2 annotations"):
        give_back(run, out, "label-studio")
    tasks[0]["annotations"][1] = {**tasks[0]["annotations"][1], "was_cancelled": True}
    (out / "tasks.json").write_text(json.dumps(tasks))
    assert give_back(run, out, "label-studio") == {"accept": 15, "empty": 1}


def test_a_name_that_ends_two_others(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=2)
    rows[1]["uri"] = rows[0]["uri"].replace("/a/", "/b/")
    run = write_run(tmp_path, rows, parts=1)
    image = {"id": 1, "file_name": "img 000.jpg", "width": 64, "height": 48}
    (tmp_path / "x.json").write_text(json.dumps({"images": [image], "annotations": [], "categories": []}))
    with pytest.raises(SpecError, match=r"more than one name in the run: a/img 000\.jpg and b/img 000\.jpg"):
        give_back(run, tmp_path / "x.json", "coco")


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        pytest.param('rle="0, 4000000000000"', "runs of a mask", id="a run of terabytes"),
        pytest.param('rle="3, -1, 2"', "runs of a mask", id="a negative run"),
        pytest.param('rle="a"', "invalid literal", id="no number"),
        pytest.param('left="9999"', "runs of a mask", id="outside of the image"),
    ],
)
def test_masks_that_are_none(tmp_path: Path, attribute: str, words: str) -> None:
    run = write_run(tmp_path, make_rows(tmp_path, masks=True), masks=True)
    out = exported(run, "cvat")
    name = attribute.partition("=")[0]
    text = (out / "annotations.xml").read_text()
    (out / "annotations.xml").write_text(re.sub(rf'(<mask[^>]*) {name}="[^"]*"', rf"\1 {attribute}", text))
    with pytest.raises(SpecError, match=words):
        give_back(run, out, "cvat")


def test_a_run_in_a_bucket_is_corrected_there(
    run: Path, moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(moto_s3, monkeypatch)
    bucket = new_bucket(moto_s3)
    files = {f"run/{p.relative_to(run)}": p.read_bytes() for p in run.rglob("*") if p.is_file()}
    upload(moto_s3, bucket, files)
    location, out = f"s3://{bucket}/run", f"s3://{bucket}/out"
    export_run(location, to="voc", out=out, access=Access())
    for number in (1, 2):
        done = import_corrections(out, location, of="voc", who="ann", access=Access())
        assert done.uri.endswith(f"run/corrections/00000{number}.parquet")
        assert done.actions == {"accept": 15, "empty": 1}
    answer = open_query(location, access=Access()).ask("select count(*), max(import) from corrections")
    assert list(answer.rows) == [(16, 2)]


def test_the_command(run: Path) -> None:
    out = exported(run, "cvat")
    result = veedor("import", out, "--format", "cvat", "--into", run, "--who", "ann")
    assert result.exit_code == 0, result.output
    assert "6 images: 15 accept, 1 empty" in " ".join(result.output.split())
    check_refused(veedor("import", out, "--format", "cvat"), None, "--into RUN", "--out")
    check_refused(veedor("import", out, "--format", "cva", "--into", run), None, "Did you mean 'cvat'")
