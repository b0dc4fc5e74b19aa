"""A driver that vanishes without a word still gets its last words."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cluster.last_words import LOST
from tests.runs import ROOT

VANISH = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
ENDINGS = [
    pytest.param(VANISH, True, id="killed"),
    pytest.param("import os; os._exit(1)", True, id="ended by a library"),
    pytest.param("pass", False, id="done"),
    pytest.param("raise SystemExit(2)", False, id="failed"),
]


@pytest.mark.parametrize(("ending", "spoken"), ENDINGS)
@pytest.mark.parametrize("as_json", [True, False])
def test_only_an_end_that_could_not_be_announced_is_spoken_of(
    ending: str, spoken: bool, as_json: bool
) -> None:
    program = f"from cluster.last_words import last_words\nwith last_words(as_json={as_json}):\n    {ending}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    said, silent = (done.stdout, done.stderr) if as_json else (done.stderr, done.stdout)
    assert silent == ""
    if not spoken:
        assert said == ""
    elif as_json:
        assert json.loads(said) == {"event": "error", "message": LOST}
    else:
        assert said == f"error: {LOST}\n"
