"""`veedor compare RUN RUN`, and how it is told from a comparison of models."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.test_cli_mistakes import check_refused
from tests.cluster.test_cli_mistakes import run as veedor
from tests.exchange import make_rows
from tests.jobs.test_compare_runs import altered, two_runs


def test_a_table_json_and_a_page(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=12)
    one, other = two_runs(tmp_path, rows, altered(rows))
    shown = veedor("compare", one, other, "--out", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    lines = {line.split()[0]: line.split() for line in shown.output.splitlines() if line.strip()}
    assert [lines["label"][k] for k in (1, 2, 3)] == ["first", "second", "both"]
    assert int(lines["all"][1]) == 30
    assert "first first, second second: 11 images" in shown.output
    assert "comparison.html" in shown.output
    told = json.loads(veedor("compare", one, other, "--min-score", "0.5", "--json").output)
    assert told["event"] == "result"
    assert told["objects"]["one"] < 30
    assert told["runs"] == [str(one), str(other)]


def test_runs_and_models_are_told_apart(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=4)
    one, other = two_runs(tmp_path, rows, rows)
    check_refused(veedor("compare", one, "tiny"), None, "first is a run, tiny is none")
    check_refused(veedor("compare", "tiny", "ssd300"), None, "no run", "name it with --data")
    check_refused(
        veedor("compare", one, other, "--data", tmp_path), None, "first is a run, and --data is for models"
    )
    check_refused(veedor("compare", one), None, "two runs are compared, not 1")
    check_refused(veedor("compare", one, other, "--iou", "2"), None, "IoU from above 0 to 1")
