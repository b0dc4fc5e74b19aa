"""The page of a training run, from the record that a run leaves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from cvcore.checkpoint import save_checkpoint
from cvcore.errors import SpecError
from jobs.report.build import write_report
from jobs.report.training import best_epoch, held_out_plot, training_plots
from jobs.train_record import EpochRecord
from tests.browsers import open_browser, quiet_page

HOSTILE = "<script>document.title='owned'</script>"


def detector_history(count: int = 5) -> list[EpochRecord]:
    scores = [0.1, 0.5, 0.7, 0.6, 0.65][:count]
    return [
        EpochRecord(
            k, 8.0 - k, {"box": 2.0, "classes": 3.0 - k / 10}, {"ap": s / 2, "ap50": s}, 0.001 * (count - k)
        )
        for k, s in enumerate(scores)
    ]


def write_run(folder: Path, history: list[EpochRecord], *, epochs: int) -> Path:
    folder.mkdir(parents=True)
    (folder / "history.json").write_text(json.dumps([asdict(each) for each in history]))
    body = save_checkpoint(
        {"weight": torch.zeros(2)},
        model="tiny",
        config={},
        labels=["bolt", HOSTILE],
        training={
            "recipe": {"epochs": epochs, "lr": 0.002, "batch_size": 8, "patience": None},
            "held_out": {"per_class_ap50": {"bolt": 0.75, HOSTILE: 0.5}, "data": {"failures": {"empty": 2}}},
        },
    )
    (folder / "model.safetensors").write_bytes(body)
    return folder


def test_the_page_shows_curves_and_the_epoch_that_was_kept(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", detector_history(), epochs=5)
    page = Path(write_report(str(folder)))
    assert page == folder / "report.html"
    with open_browser() as browser, quiet_page(browser, page) as shown:
        assert shown.inner_text("h1") == "tiny"
        assert shown.locator(".line-plot h2").all_inner_texts() == [
            "Training loss",
            "Held-out figures",
            "Learning rate",
        ]
        assert shown.locator(".counter .value").all_inner_texts()[:2] == ["5", "epoch 3"]
        rule, plot = (shown.locator(where).bounding_box() for where in (".rule", ".line-plot .plot >> nth=1"))
        assert rule is not None
        assert plot is not None
        assert (rule["x"] - plot["x"]) / plot["width"] == pytest.approx(0.5, abs=0.03)
        assert HOSTILE in shown.inner_text("body")
        assert "2 empty" in shown.inner_text(".banner")
        shown.get_by_text("5 epochs as a table").click()
        assert shown.locator("details tbody tr").count() == 5
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_run_in_the_middle_says_so_and_one_without_a_checkpoint_is_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", detector_history(2), epochs=5)
    assert "not finished" in Path(write_report(str(folder))).read_text()
    (folder / "model.safetensors").unlink()
    assert "epoch 2" in Path(write_report(str(folder))).read_text()


def test_an_autoencoders_best_epoch_has_the_lowest_loss() -> None:
    losses = [0.5, 0.2, 0.3]
    history = [EpochRecord(k, 1.0, {}, {"loss": loss}) for k, loss in enumerate(losses)]
    assert best_epoch(history) == 1
    assert [plot.title for plot in training_plots(history)] == ["Training loss", "Held-out figures"]
    assert held_out_plot(history).rule == pytest.approx(0.5)


def test_an_epoch_without_a_figure_is_not_the_best() -> None:
    history = [EpochRecord(k, 1.0, {}, {"ap50": v}) for k, v in enumerate([float("nan"), 0.2, 0.1])]
    assert best_epoch(history) == 1


@pytest.mark.parametrize("text", ["[]", "no json", '[{"epoch": 1}]'], ids=["empty", "no JSON", "other JSON"])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.json").write_text(text)
    with pytest.raises(SpecError, match=r"no finished epoch|no history"):
        write_report(str(tmp_path))
