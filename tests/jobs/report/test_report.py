"""The whole report: from a run's folder to a page that is complete, inert and self-contained."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from cvcore.errors import SpecError
from jobs.report.build import build_report, survey_run, write_report
from jobs.report.run import read_run
from jobs.run_folder import RunFolder
from jobs.storage import StorageError, open_store
from jobs.storage.local import LocalStore
from tests.jobs.report.fabricate import (
    detection,
    failed_row,
    ok_row,
    part_bytes,
    random_rows,
    save_picture,
    write_run,
)
from tests.s3_servers import S3Server

STORE = LocalStore()
BOX = (4.0, 4.0, 40.0, 30.0)
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">\u2028{{ 7 * 7 }}&amp;'
VOID = {"meta", "br", "img", "input", "link", "rect", "line"}


class Page(HTMLParser):
    """A page's elements, attributes and texts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.styles: list[str] = []
        self.texts: list[str] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag not in VOID:
            self._open.append((tag, found))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag, "elements are nested properly"

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open[-1] if self._open else ("", {})
        if tag == "script":
            self.scripts.append((attributes, data))
        elif tag == "style":
            self.styles.append(data)
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def data(self) -> dict[str, Any]:
        (body,) = [text for attributes, text in self.scripts if attributes.get("type") == "application/json"]
        loaded: dict[str, Any] = json.loads(body)
        return loaded

    @property
    def program(self) -> str:
        (body,) = [text for attributes, text in self.scripts if "type" not in attributes]
        return body


def full_run(folder: Path, **options: Any) -> str:
    """A finished run over six small pictures of which two failed."""
    photos = folder / "photos"
    rows = [
        ok_row(save_picture(photos / "a.jpg"), [detection(3, 0.9, BOX), detection(0, 0.4, BOX)]),
        ok_row(save_picture(photos / "b.jpg", color=(200, 40, 40)), [detection(2, 0.55, BOX)]),
        ok_row(save_picture(photos / "c.jpg"), []),
        failed_row(str(photos / "d.jpg"), "read", "missing", "the object is gone"),
        failed_row(str(photos / "e.jpg"), "decode", "truncated", "the file is cut short"),
    ]
    return write_run(folder / "run", rows, rows_per_part=2, source=str(photos), **options)


def test_the_page_shows_the_run_and_its_numbers(tmp_path: Path) -> None:
    page = Page(build_report(full_run(tmp_path), store=STORE))
    for expected in (
        "Finished",
        "3fa91c000000",
        str(tmp_path / "photos"),
        "2026-05-04 10:00 – 10:05 UTC",
        "8 CPUs, 1 GPU (H200) · 2 actors · batch 32 · precision bf16",
        "1 min 31 s",
        "the object is gone",
        "2 of 5 inputs",
        "3 of the model's labels were not found",
    ):
        assert expected in page.text
    assert "Unfinished" not in page.text
    assert [label["name"] for label in page.data["labels"]] == ["car", "dog", "person"]
    assert [len(tab["cards"]) for tab in page.data["tabs"]] == [2, 2, 2, 2, 1, 2]


def test_a_model_file_is_called_by_its_name_and_messages_do_not_repeat_locations(tmp_path: Path) -> None:
    rows = [failed_row("/photos/cut.jpg", "decode", "truncated", "/photos/cut.jpg: the file is cut short")]
    page = Page(build_report(write_run(tmp_path / "run", rows, model="/models/yolo.v3.cfg"), store=STORE))
    assert "yolo.v3 · sha256 abababababab" in page.text
    assert "cut.jpg the file is cut short" in page.text
    assert page.data["cards"][0]["error"] == "the file is cut short"


def test_the_rate_weighs_attempts_by_what_they_did(tmp_path: Path) -> None:
    run = read_run(full_run(tmp_path), STORE)
    # 2 images at 50/s and 3 at 100/s take 0.07 s.
    assert run.images_per_s == pytest.approx(5 / 0.07)
    assert run.wall_s == pytest.approx(91.0)


def test_pictures_are_embedded_and_small(tmp_path: Path) -> None:
    html = build_report(full_run(tmp_path), store=STORE)
    cards = {card["name"]: card for card in Page(html).data["cards"]}
    assert cards["a.jpg"]["picture"].startswith("data:image/jpeg;base64,")
    assert cards["a.jpg"]["dets"][0][1:] == [0.9, list(BOX), None]
    assert cards["d.jpg"]["picture"] is None
    assert len(html) < 120_000


def test_nothing_refers_to_the_outside(tmp_path: Path) -> None:
    page = Page(build_report(full_run(tmp_path), store=STORE))
    refering = {"src", "href", "xlink:href", "srcset", "action", "formaction", "poster", "data", "background"}
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form"), tag
        for name in refering & attributes.keys():
            assert attributes[name].startswith(("#", "data:")), (tag, name, attributes[name])
    css = "\n".join(page.styles)
    assert not re.search(r"url\s*\(|@import|image-set|https?:|//[a-z]", css)
    program = page.program.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(
        r"https?:|fetch\(|XMLHttpRequest|WebSocket|import\s*\(|sendBeacon|EventSource", program
    )


def test_the_policy_allows_this_script_alone(tmp_path: Path) -> None:
    page = Page(build_report(full_run(tmp_path), store=STORE))
    policies = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(page.program.encode()).digest()).decode()
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src ")
    assert f"'sha256-{digest}'" in policies[0]


def test_hostile_text_is_inert_wherever_it_stands(tmp_path: Path) -> None:
    named = detection(1, 0.8, BOX) | {"label": HOSTILE}
    rows = [
        ok_row(f"/photos/{HOSTILE}.jpg", [named]),
        failed_row(f"/photos/x{HOSTILE}", "decode", HOSTILE, f"cannot read {HOSTILE}"),
    ]
    run_uri = write_run(
        tmp_path / "run", rows, source=HOSTILE, model=HOSTILE, labels=[HOSTILE, HOSTILE + "2"]
    )
    html = build_report(run_uri, store=STORE)
    page = Page(html)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "img" not in [tag for tag, _ in page.tags]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "{{ 7 * 7 }}" in page.text
    assert page.data["labels"][0]["name"] == HOSTILE
    assert page.data["cards"][0]["uri"].startswith("/photos/")
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert not set(block) & set("<>&\u2028")


def test_the_script_writes_text_only(tmp_path: Path) -> None:
    program = Page(build_report(full_run(tmp_path), store=STORE)).program
    assert "textContent" in program
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", program)


def test_an_unfinished_run_says_how_far_it_came(tmp_path: Path) -> None:
    run_uri = write_run(tmp_path / "run", random_rows(1, 40), finished=False, num_inputs=100)
    page = Page(build_report(run_uri, store=STORE))
    assert "Unfinished: 40 of 100 inputs done." in page.text
    assert "Finished" not in page.text.replace("Unfinished", "")


def test_a_run_without_rows_has_a_page(tmp_path: Path) -> None:
    waiting = write_run(tmp_path / "waiting", [], finished=False, num_inputs=100)
    assert "No unit of this run is finished" in Page(build_report(waiting, store=STORE)).text
    nothing = write_run(tmp_path / "nothing", [])
    page = Page(build_report(nothing, store=STORE))
    assert "This run had no inputs." in page.text
    assert page.data["cards"] == []


def test_a_manifest_that_disagrees_with_the_files_is_told(tmp_path: Path) -> None:
    run_uri = write_run(tmp_path / "run", random_rows(2, 48), rows_per_part=16)
    (tmp_path / "run/data/part-00001.parquet").unlink()
    assert "The manifest counts 48 inputs, the files hold 32" in Page(build_report(run_uri, store=STORE)).text


def test_units_that_wait_to_be_merged_count_once(tmp_path: Path) -> None:
    rows = random_rows(5, 40)
    run_uri = write_run(tmp_path / "run", rows[:20], rows_per_part=20, finished=False, num_inputs=60)
    folder = RunFolder(run_uri)
    record = json.loads(STORE.read(folder.job)) | {"units_per_file": 2}
    STORE.put(folder.job, json.dumps(record).encode())
    for unit, part in ((0, rows[:10]), (1, rows[10:20]), (3, rows[20:40])):
        STORE.put(folder.unit(unit, units_per_file=2), part_bytes(part))
    survey = survey_run(read_run(run_uri, STORE), STORE)
    assert survey.statistics.num_inputs == 40


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run_uri = full_run(tmp_path)
    assert build_report(run_uri, store=STORE) == build_report(run_uri, store=STORE)


@pytest.mark.parametrize(
    ("case", "spoil", "expected"),
    [
        ("gone", lambda path: path.unlink(), "The picture cannot be shown"),
        ("replaced", lambda path: save_picture(path, width=65), "changed after the plan was made"),
        ("broken", lambda path: path.write_bytes(b"not a picture"), "changed after the plan was made"),
    ],
)
def test_a_picture_that_is_no_longer_there_leaves_a_card_that_says_so(
    tmp_path: Path, case: str, spoil: Any, expected: str
) -> None:
    run_uri = full_run(tmp_path)
    spoil(tmp_path / "photos/a.jpg")
    cards = {card["name"]: card for card in Page(build_report(run_uri, store=STORE)).data["cards"]}
    assert cards["a.jpg"]["picture"] is None, case
    assert expected in cards["a.jpg"]["missing"]
    assert cards["b.jpg"]["picture"]


def test_read_image_is_used_for_chosen_images_only(tmp_path: Path) -> None:
    run_uri, asked = full_run(tmp_path), []

    def read_image(uri: str) -> bytes:
        asked.append(Path(uri).name)
        return STORE.read(uri)

    build_report(run_uri, store=STORE, read_image=read_image, sizes={"highest": 1, "failed": 1})
    assert asked == ["a.jpg"]


def test_a_report_may_be_made_without_pictures(tmp_path: Path) -> None:
    html = build_report(full_run(tmp_path), store=STORE, pictures=False)
    assert "data:image" not in Page(html).data["cards"].__repr__()
    assert "made without pictures" in html


def test_many_detections_and_masks_stay_within_the_size(tmp_path: Path) -> None:
    rows = []
    for i in range(150):
        path = save_picture(tmp_path / f"photos/{i:03d}.jpg", width=640, height=480, color=(i, 255 - i, 90))
        boxes = [detection(j % 6, (j % 97) / 100, (j, j, j + 50.5, j + 60.5)) for j in range(300)]
        rows.append(ok_row(path, boxes, width=640, height=480))
    run_uri = write_run(tmp_path / "run", rows, source=str(tmp_path / "photos"))
    html = build_report(run_uri, store=STORE)
    assert len(html) < 8_000_000
    assert {card["more"] for card in Page(html).data["cards"]} == {200}


def test_write_report_puts_it_into_the_run_and_replaces_it(tmp_path: Path) -> None:
    run_uri = full_run(tmp_path)
    target = write_report(run_uri)
    assert target == f"{run_uri}/report.html"
    first = Path(target).read_bytes()
    assert write_report(run_uri + "/") == target
    assert Path(target).read_bytes() == first
    elsewhere = write_report(run_uri, out_uri=str(tmp_path / "out/page.html"))
    assert Path(elsewhere).read_bytes() == first


def test_a_run_and_its_inputs_on_s3(
    tmp_path: Path, moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in moto_s3.environment.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3", endpoint_url=moto_s3.url)
    s3.create_bucket(Bucket="reports")
    store, uri = open_store("s3://reports/run"), "s3://reports/photos/a.jpg"
    store.put(uri, Path(save_picture(tmp_path / "a.jpg")).read_bytes())
    row = ok_row(uri, [detection(3, 0.9, BOX)]) | {"etag": store.stat(uri).etag}
    local = Path(write_run(tmp_path / "run", [row], source="s3://reports/photos/"))
    for path in sorted(p for p in local.rglob("*") if p.is_file()):
        store.put(f"s3://reports/run/{path.relative_to(local)}", path.read_bytes())

    assert write_report("s3://reports/run/") == "s3://reports/run/report.html"
    (card,) = Page(store.read("s3://reports/run/report.html").decode()).data["cards"]
    assert card["picture"]
    store.put(uri, b"something else")
    (card,) = Page(build_report("s3://reports/run", store=store)).data["cards"]
    assert card["picture"] is None
    assert "changed" in card["missing"]


def test_masks_reach_the_page(tmp_path: Path) -> None:
    encoded = coco_mask.encode(np.ones((48, 64), np.uint8, order="F"))
    mask = {"size": [48, 64], "counts": encoded["counts"].decode()}
    path = save_picture(tmp_path / "photos/a.jpg")
    rows = [ok_row(path, [detection(3, 0.9, BOX, mask=mask), detection(0, 0.5, BOX)])]
    run_uri = write_run(tmp_path / "run", rows, masks=True, source=str(tmp_path / "photos"))
    (card,) = Page(build_report(run_uri, store=STORE)).data["cards"]
    drawn = [found[3] for found in card["dets"]]
    assert drawn[0][:4] == [0, 0, 64, 48]
    assert drawn[0][4].startswith("data:image/png;base64,")
    assert drawn[1] is None


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"is not a run: it has no _veedor/job\.json"):
        build_report(str(tmp_path), store=STORE)


def test_records_that_are_no_json_are_refused_by_name(tmp_path: Path) -> None:
    run_uri = full_run(tmp_path)
    STORE.put(RunFolder(run_uri).success, b"{")
    with pytest.raises(SpecError, match=r"_SUCCESS\.json is not JSON"):
        build_report(run_uri, store=STORE)


def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path: Path) -> None:
    run_uri = full_run(tmp_path)
    (tmp_path / "run/data/part-00001.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(StorageError, match=r"part-00001\.parquet is not readable Parquet"):
        build_report(run_uri, store=STORE)
