"""`veedor doctor` as users type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli import app


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_all_is_well(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--store", str(tmp_path)])
    assert result.exit_code == 0, result.output
    *lines, verdict = result.stdout.splitlines()
    assert "well" in verdict
    assert {line.split()[0] for line in lines if not line.startswith(" ")} == {
        *("versions", "codecs", "gpu", "machine", "storage")
    }


def test_a_problem_exits_with_1_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEEDOR_ALLOWED_ROOTS", str(tmp_path / "in"))
    result = CliRunner().invoke(app, ["doctor", "--store", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "storage  PROBLEM" in result.stdout
    assert "-> " in result.stdout
    assert result.stdout.splitlines()[-1].startswith("1 problem, ")


def test_json_has_a_line_for_each_finding(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--store", str(tmp_path), "--json"])
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(set(each) == {"event", "area", "level", "text", "remedy", "facts"} for each in found)
    (speed,) = (each["facts"] for each in found if "write_bytes_per_s" in each["facts"])
    assert speed["write_bytes_per_s"] > 0


def test_a_store_that_is_none_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["doctor", "--store", "ftp://x"])
    assert result.exit_code == 2
    assert "scheme 'ftp' is not allowed" in result.stderr
