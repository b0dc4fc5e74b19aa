"""Measuring a detector on a dataset: what is measured, what is written, and how several compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import SubElement, parse

import pytest

import jobs.compare_models
from cvcore.detect.base import Detector
from cvcore.detect.yolo import build_tiny
from cvcore.errors import SpecError
from cvcore.scenes import SceneSpec, write_scenes
from jobs.compare_models import Comparison, compare_models
from jobs.comparison_files import ComparisonFolder, comparison_content
from jobs.dataset_convert import convert_dataset
from jobs.datasets import open_dataset
from jobs.evaluate_model import evaluate_model, load_detector, open_split
from jobs.evaluation_files import evaluation_content, write_evaluation
from jobs.model_facts import cache_folder
from jobs.report.comparison import render_comparison, render_markdown, short_names
from jobs.spec import ModelSection
from jobs.storage import Access
from tests.browsers import open_browser, quiet_page

TINY = ModelSection(name="tiny")
ACCESS = Access()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, num_scenes=6, seed=7_000, spec=SceneSpec(min_side=240, max_side=300))
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder().is_relative_to(tmp_path)


def test_difficult_objects_of_voc_count_for_coco_alone(scenes: Path, tmp_path: Path) -> None:
    convert_dataset(open_dataset(str(scenes)), str(tmp_path / "voc"), to="voc", access=ACCESS)
    path = min((tmp_path / "voc" / "Annotations").iterdir())
    tree = parse(path)
    hard = tree.findall("object")[0]
    flag = hard.find("difficult")
    (SubElement(hard, "difficult") if flag is None else flag).text = "1"
    tree.write(path)
    easy, found = (
        evaluate_model(TINY, str(place), split="all", access=ACCESS, speed_budget_s=0).quality
        for place in (scenes, tmp_path / "voc")
    )
    assert (easy.voc.num_difficult, found.voc.num_difficult) == (0, 1)
    assert found.voc.num_objects == easy.voc.num_objects - 1
    assert found.metrics.num_objects == easy.metrics.num_objects
    assert found.metrics.ap50 == pytest.approx(easy.metrics.ap50, abs=1e-6)


def test_the_page_and_the_figures_of_an_evaluation(scenes: Path, tmp_path: Path) -> None:
    found = evaluate_model(TINY, str(scenes), split="all", access=ACCESS, speed_budget_s=0.5)
    on = open_split(str(scenes), "all", ACCESS)
    page = Path(write_evaluation(found, on, out=str(tmp_path / "out"), access=ACCESS))
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert content == evaluation_content(found)
    assert content["cost"]["num_boxes"] == 6300
    assert content["speed"]["single"]["batch_size"] == 1
    errors = found.quality.errors
    with open_browser() as browser, quiet_page(browser, page) as shown:
        assert shown.inner_text("h1") == "tiny"
        values = shown.locator(".counter .value").all_inner_texts()
        assert values[:2] == [f"{found.quality.metrics.ap:.3f}", f"{found.quality.metrics.ap50:.3f}"]
        assert shown.locator(".error-card img").count() == len(errors.worst) + len(errors.misses)
        assert shown.evaluate("[...document.images].every(image => image.naturalWidth > 40)")
        cells = shown.locator(".confusion tbody td").all_inner_texts()
        assert [int(cell) for cell in cells] == [n for row in found.quality.confusion.counts for n in row]
        lines = shown.locator(".line-plot path.count-line")
        assert lines.count() == sum(bool(points) for points in found.quality.curves.values())


def test_a_picture_that_is_gone_costs_its_card_alone(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = evaluate_model(TINY, str(scenes), split="all", access=ACCESS, min_score=0.9, speed_budget_s=0)
    on = open_split(str(scenes), "all", ACCESS)
    monkeypatch.setattr(on.source, "read_image", lambda _name: b"")
    page = Path(write_evaluation(found, on, out=str(tmp_path), access=ACCESS)).read_text()
    assert found.quality.errors.num_missed > 0
    assert "cannot be shown" in page


@pytest.fixture
def fails_on_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A checkpoint that is fine to look at and breaks when it runs."""
    copy = tmp_path / "run" / "model.safetensors"
    copy.parent.mkdir()
    copy.write_bytes(Path(jobs.compare_models.__file__).parents[1].joinpath(
        "cvcore/detect/weights/tiny.safetensors").read_bytes())  # fmt: skip
    load = load_detector

    def broken(section: ModelSection, access: Access) -> Detector:
        model = load(section, access)
        if section.name != "tiny":
            model.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("out of <luck>")))
        return model

    monkeypatch.setattr(jobs.compare_models, "load_detector", broken)
    return str(copy)


def test_one_models_failure_leaves_the_others_results(
    scenes: Path, tmp_path: Path, fails_on_a_copy: str
) -> None:
    seen: list[Comparison] = []
    folder = ComparisonFolder(str(tmp_path / "out"), ACCESS)
    sections = [ModelSection(name=fails_on_a_copy), TINY]

    def tell(done: Comparison) -> None:
        seen.append(done)
        folder.write(done)

    found = compare_models(
        sections, str(scenes), split="all", access=ACCESS, speed_budget_s=0.5, on_model=tell
    )
    assert [len(each.rows) for each in seen] == [1, 2]
    broken, whole = found.rows
    assert broken.found is None
    assert broken.error == "RuntimeError: out of <luck>"
    alone = evaluate_model(TINY, str(scenes), split="all", access=ACCESS, speed_budget_s=0)
    assert whole.found is not None
    assert whole.found.quality == alone.quality or str(whole.found.quality) == str(alone.quality)
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content == comparison_content(found)
    assert content["models"][0] == {"model": fails_on_a_copy, "error": broken.error}
    markdown = (tmp_path / "out" / "comparison.md").read_text()
    assert "| tiny | " in markdown
    assert "| run | failed | – |" in markdown
    assert "out of &lt;luck>" in markdown
    with open_browser() as browser, quiet_page(browser, Path(folder.page)) as shown:
        assert shown.locator(".failed-row").all_inner_texts()[0].startswith("run\tfailed")
        assert shown.locator(".dot-name").all_inner_texts() == ["tiny"]
        assert "out of <luck>" in shown.inner_text(".banner")


def test_models_that_do_not_fit_are_named_before_any_runs(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvcore.checkpoint import save_checkpoint

    other = build_tiny(("cat", "dog"), width=4)
    body = save_checkpoint(
        other.state_dict(), model="tiny", config=other.config, labels=other.labels, training={}
    )
    (tmp_path / "other.safetensors").write_bytes(body)
    monkeypatch.setattr(jobs.compare_models, "evaluate_detector", pytest.fail)
    names = ["tiny", str(tmp_path / "other.safetensors"), "selective_search", "nothing"]
    with pytest.raises(SpecError) as refused:
        compare_models([ModelSection(name=name) for name in names], str(scenes), split="all", access=ACCESS)
    lines = str(refused.value).splitlines()
    assert len(lines) == 4
    assert "other.safetensors: it does not know the classes" in lines[1]
    assert "cat, dog" in lines[1]
    assert lines[2] == "selective_search: it is no detector"
    assert "there is no model 'nothing'" in lines[3]


@pytest.mark.parametrize("names", [["tiny", "tiny"], []], ids=["twice", "none"])
def test_models_are_named_once(scenes: Path, names: list[str]) -> None:
    with pytest.raises(SpecError, match="once"):
        compare_models([ModelSection(name=name) for name in names], str(scenes), split="all", access=ACCESS)


def test_names_are_as_short_as_they_may_be() -> None:
    names = ["tiny", "s3://models/a/", "runs/b/model.safetensors", "x/c.safetensors", "y/c.safetensors"]
    assert short_names(names) == ["tiny", "a", "b", "x/c.safetensors", "y/c.safetensors"]


def test_a_comparison_that_was_not_timed_has_no_scatter(scenes: Path) -> None:
    found = compare_models([TINY], str(scenes), split="all", access=ACCESS, speed_budget_s=0)
    assert "line-plot" not in render_comparison(found).split("</style>")[1]
    row: Any = next(line for line in render_markdown(found).splitlines() if line.startswith("| tiny"))
    assert row.count("–") == 4
