"""Label Studio itself: it takes the tasks, shows them, and gives back what was made of them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect
from pycocotools import mask as coco_mask

from jobs.export.export import export_run
from jobs.storage import Access
from tests.browsers import open_browser
from tests.cluster.test_cli_mistakes import run as veedor
from tests.exchange import make_rows, write_run
from tests.jobs.export.test_corrected import ask
from tests.label_studio import Studio, label_studio

REGION = ".lsf-outliner-item"
# What is drawn, of the page's own objects (Konva's); where, in shares of the image; with which pixels.
SHOWN = "Htx.annotationStore.selected.names.get('image')"
STAGE = f"{SHOWN}.stageRef"
RELATIVE = f"""each => {{
    const [width, height] = [{SHOWN}.stageWidth, {SHOWN}.stageHeight];
    return [each.x() / width, each.y() / height, each.width() / width, each.height() / height];
}}"""
PIXELS = """each => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [each.image().naturalWidth, each.image().naturalHeight];
    canvas.getContext("2d").drawImage(each.image(), 0, 0);
    return canvas.toDataURL();
}"""

Project = tuple[int, Path, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with label_studio(tmp_path_factory.mktemp("studio")) as started:
        yield started


@pytest.fixture(scope="module")
def project(studio: Studio) -> Project:
    """A project with a run's queue: its number, the run, and the run's rows that were looked at."""
    rows = make_rows(studio.root, num=4, write_images=True, masks=True)
    run = write_run(studio.root, rows, masks=True)
    out = studio.root / "queue"
    export_run(str(run), to="label-studio", out=str(out), access=Access())
    setup = (out / "labeling.xml").read_text()
    number = studio.ask("/api/projects/", {"title": "queue", "label_config": setup})["id"]
    images = str(studio.root / "images")
    studio.ask("/api/storages/localfiles/", {"project": number, "path": images, "use_blob_urls": True})
    done = studio.ask(f"/api/projects/{number}/import", json.loads((out / "tasks.json").read_text()))
    assert done["task_count"] == done["prediction_count"] == 3
    return number, run, [row for row in rows if row["status"] == "ok"]


def open_task(studio: Studio, page: Page, project: int, index: int, num_regions: int) -> None:
    page.goto(f"{studio.url}/projects/{project}/data?task={studio.tasks(project)[index]['id']}")
    expect(page.locator(REGION)).to_have_count(num_regions, timeout=60_000)
    expect(page.locator("img[alt=image]")).to_be_visible(timeout=60_000)


def test_it_holds_what_was_exported(studio: Studio, project: Project) -> None:
    number, run, rows = project
    tasks = json.loads((run.parent / "queue" / "tasks.json").read_text())
    kept = studio.tasks(number)
    assert [task["data"]["uri"] for task in kept] == [row["uri"] for row in rows]
    for mine, theirs in zip(tasks, kept, strict=True):
        assert theirs["data"] == mine["data"]
        (prediction,) = theirs["predictions"]
        assert prediction["result"] == mine["predictions"][0]["result"]
        assert prediction["model_version"] == mine["predictions"][0]["model_version"]


def test_it_draws_boxes_and_masks_where_they_are(studio: Studio, project: Project) -> None:
    number, _, (row, *_) = project
    with open_browser() as browser:
        page = studio.open_page(browser, "/version")
        open_task(studio, page, number, 0, num_regions=6)
        page.wait_for_function(f"{STAGE}.find('Rect').length == 3 && {STAGE}.find('Image').length >= 4")
        boxes = np.array(page.evaluate(f"{STAGE}.find('Rect').map({RELATIVE})"))
        image, *masks = page.evaluate(f"{STAGE}.find('Image').filter(each => !each.name()).map({PIXELS})")
        _, *places = page.evaluate(f"{STAGE}.find('Image').filter(each => !each.name()).map({RELATIVE})")
    size = np.array([row["width"], row["height"]])
    boxes = boxes * np.tile(size, 2)
    boxes[:, 2:] += boxes[:, :2]
    expected = np.array([each["box"] for each in row["detections"]])
    np.testing.assert_allclose(
        boxes[np.argsort(boxes[:, 0])], expected[np.argsort(expected[:, 0])], atol=1e-3
    )
    with Image.open(row["uri"]) as photo:
        assert np.abs(_pixels(image)[..., :3].astype(int) - np.asarray(photo)).max() <= 1
    np.testing.assert_allclose(places, np.tile([0, 0, 1, 1], (3, 1)), atol=1e-3)
    drawn = {(_pixels(mask)[..., 3] > 0).tobytes() for mask in masks}
    kept = [each["mask"] | {"counts": each["mask"]["counts"].encode()} for each in row["detections"]]
    assert drawn == {coco_mask.decode(mask).astype(bool).tobytes() for mask in kept}


def _pixels(url: str) -> NDArray[np.uint8]:
    """A picture of the page: (H, W, 4) uint8."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def test_what_a_person_changes_comes_back(studio: Studio, project: Project) -> None:
    """In the page, the last object of the first image is removed; other images are submitted as they are."""
    number, run, (row, *_) = project
    with open_browser() as browser:
        page = studio.open_page(browser, "/version")
        open_task(studio, page, number, 0, num_regions=6)
        for left in (5, 4):  # the box, then its mask, which has moved up
            page.locator(REGION).nth(4).click()
            page.keyboard.press("Backspace")
            expect(page.locator(REGION)).to_have_count(left)
        with page.expect_response(lambda answer: "/annotations" in answer.url and answer.ok):
            page.get_by_role("button", name="Submit").click()
    for task in studio.tasks(number)[1:]:
        result = task["predictions"][0]["result"]
        studio.ask(f"/api/tasks/{task['id']}/annotations/", {"result": result})
    exported = studio.root / "answered.json"
    exported.write_text(json.dumps(studio.ask(f"/api/projects/{number}/export?exportType=JSON")))
    shown = veedor("import", exported, "--format", "label-studio", "--into", run, "--who", "ann")
    assert shown.exit_code == 0, shown.output
    said = ask(run, "select uri, number, action, who, tool from corrections order by uri, number")
    assert [each for each in said if each[2] != "accept"] == [
        (row["uri"], 2, "reject", "ann", "label-studio"),
        (project[2][1]["uri"], None, "empty", "ann", "label-studio"),
    ]
    assert len(said) == 7
