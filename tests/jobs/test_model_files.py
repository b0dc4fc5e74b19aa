"""What a model's name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvcore.checkpoint import save_checkpoint
from cvcore.detect.yolo import build_tiny
from cvcore.errors import ModelError
from jobs.model_files import fetch_model, model_folder
from jobs.spec import ModelSection
from jobs.storage import Access


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with one that a training run left."""
    model = build_tiny(("a",), width=4, input_size=96)
    body = save_checkpoint(model.state_dict(), model="tiny", config=model.config, labels=("a",), training={})
    for name in ("mine", "tiny"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(body)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["mine", "mine/", "./mine", "mine/model.safetensors", "./tiny"])
def test_a_folder_of_a_training_run_is_a_model(here: Path, name: str) -> None:
    body = (here / "mine/model.safetensors").read_bytes()
    assert fetch_model(ModelSection(name=name), Access()).source.weights == body
    assert model_folder(name) == str(here / ("tiny" if "tiny" in name else "mine"))


@pytest.mark.usefixtures("here")
def test_a_name_of_the_catalogue_comes_before_a_folder_of_that_name() -> None:
    source = fetch_model(ModelSection(name="tiny"), Access()).source
    assert source.weights is not None
    assert len(source.weights) > 1_000_000
    with pytest.raises(ModelError, match="'tiny' is no trained model"):
        model_folder("tiny")
    with pytest.raises(ModelError, match="there is no model 'yours'"):
        fetch_model(ModelSection(name="yours"), Access())
