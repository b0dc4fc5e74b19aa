"""`veedor view`, as a user starts and stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.cluster.test_cli_mistakes import check_refused
from tests.cluster.test_cli_mistakes import run as veedor
from tests.exchange import make_rows, write_run
from tests.jobs.export.test_corrected import ask
from tests.runs import veedor_command


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_what_is_not_saved_is_saved_when_it_ends(tmp_path: Path, end: signal.Signals) -> None:
    run = write_run(tmp_path, make_rows(tmp_path))
    command = veedor_command(
        "view", str(run), "--as", "ann", "--label", "car", "--min-score", "0.3", "--json"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["num_images"] == 7
        assert ready["url"].endswith("/?label=car&min_score=0.3")
        base = ready["url"].partition("?")[0]
        request = urllib.request.Request(
            f"{base}decide/0",
            json.dumps({"decisions": [{"number": 0, "verdict": "reject"}]}).encode(),
            {"Content-Type": "application/json", "Origin": "/".join(base.split("/")[:3])},
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["review"]["unsaved"] == 1
        process.send_signal(end)
        last = json.loads(process.stdout.read().strip())
        assert process.wait(30) == 0
    assert last["event"] == "saved"
    assert last["uri"] == str(run / "corrections" / "000001.parquet")
    assert ask(run, "select number, action, who from corrections") == [(0, "reject", "ann")]
    assert not list(tmp_path.glob("veedor-view-*")), "the index is gone"


def test_mistakes(tmp_path: Path) -> None:
    run = write_run(tmp_path, make_rows(tmp_path))
    check_refused(veedor("view", tmp_path / "nowhere"), None, "is not a run")
    check_refused(veedor("view", run, "--label", "cart"), None, "the label 'cart'. Did you mean 'car'?")
    check_refused(veedor("view", run, "--order", "best"), None, "there is no order 'best'")
    check_refused(
        veedor("view", run, "--min-score", "0.9", "--max-score", "0.1"), None, "no score is at least"
    )
    check_refused(veedor("view", run, "--as", " "), None, "name someone with --as")
