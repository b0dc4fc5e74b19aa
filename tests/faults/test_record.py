"""Figures recorded by several processes become one table."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.faults import table
from tests.faults.record import record


def _record(number: int) -> None:
    record(f"part {number}", attack="kill", trials=1000 + number, differences=0, seconds=1.5)


def test_no_figure_of_parallel_processes_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "docs" / "figures.json"
    monkeypatch.setenv("VEEDOR_FAULTS_JSON", str(target))
    monkeypatch.delenv("VEEDOR_FAULTS", raising=False)
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        list(pool.map(_record, range(12)))
    _record(3)
    assert len(json.loads(target.read_text())["rows"]) == 12
    table.main(str(target))
    lines = capsys.readouterr().out.splitlines()
    assert "| part 7 | sample | kill | 1,007 | 0 |  |  |  | seconds 1.5 |" in lines
