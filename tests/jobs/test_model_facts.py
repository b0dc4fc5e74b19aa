"""What is kept of a model under its digest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cvcore.errors import ModelError
from cvcore.models import ModelSource
from jobs import model_facts as module
from jobs.model_files import fetch_model
from jobs.spec import ModelSection
from jobs.storage import Access
from tests.corpus import toy_model


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSource:
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    return fetch_model(ModelSection(**toy_model(tmp_path / "toy")), Access()).source


def test_a_model_is_built_once(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    built = module.model_facts(source)
    assert (built.input_spec.height, built.labels) == (64, ("bright", "dark", "red"))
    monkeypatch.setattr(module, "inspect_model", lambda _: pytest.fail("built again"))
    assert module.model_facts(source) == built


def test_other_content_is_another_model(source: ModelSource) -> None:
    first = module.model_facts(source)
    renamed = replace(source, labels=("a", "b", "c"))
    assert module.model_facts(renamed).labels == ("a", "b", "c")
    assert module.model_facts(source) == first


def test_what_does_not_fit_is_refused_each_time(source: ModelSource) -> None:
    assert source.weights is not None
    cut = replace(source, weights=source.weights[:-8])
    for _ in range(2):
        with pytest.raises(ModelError):
            module.model_facts(cut)


def test_a_damaged_or_missing_cache_costs_time_alone(
    source: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = module.model_facts(source)
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text("{")
    assert module.model_facts(source) == first
    assert kept.read_text() != "{", "mended"
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "file")
    assert module.model_facts(source) == first
