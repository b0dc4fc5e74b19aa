from __future__ import annotations

import subprocess
import sys
from importlib import resources

import pytest
import torch

from cvcore.catalog import CATALOG, find_model, is_cfg, resolve
from cvcore.checkpoint import is_checkpoint, read_checkpoint
from cvcore.detect.base import Detector
from cvcore.detect.torchvision_models import published_weights
from cvcore.errors import ModelError
from cvcore.models import ModelSource, build_entry, build_model
from tests.data import ROOT

by_name = pytest.mark.parametrize("name", CATALOG)


@by_name
def test_the_entry_tells_the_truth_about_its_model(name: str) -> None:
    entry = CATALOG[name]
    with torch.device("meta"):
        model = build_entry(entry, None, {}, name=name)
    assert sum(p.numel() for p in model.parameters()) == entry.num_parameters
    assert (model.input_spec.height, model.input_spec.width) == (entry.input_height, entry.input_width)
    assert len(model.labels) == entry.num_labels
    assert isinstance(model, Detector) == (entry.task == "detect")


@by_name
def test_weights_are_attributed_and_exist(name: str) -> None:
    entry = CATALOG[name]
    assert entry.summary
    assert entry.paper
    if entry.adapter is not None:
        assert callable(resolve(entry.adapter))
    if entry.weights is None:
        return
    assert entry.weights_licence
    assert entry.weights_source
    scheme, _, path = entry.weights.partition("://")
    if scheme == "torchvision":
        assert len(published_weights(entry.weights).labels) == entry.num_labels
    else:
        assert scheme == "package"
        package, _, inside = path.partition("/")
        data = resources.files(package).joinpath(inside).read_bytes()
        assert is_checkpoint(data)
        assert read_checkpoint(data).model == name
        model = build_model(ModelSource(name, weights=data))
        assert len(model.labels) == entry.num_labels


@by_name
def test_a_misspelt_option_is_named(name: str) -> None:
    with pytest.raises(ModelError, match="input_sise"), torch.device("meta"):
        build_entry(CATALOG[name], None, {"input_sise": 64}, name=name)


def test_a_misspelt_option_is_answered_with_those_that_there_are() -> None:
    message = r"fcn8s has no option 'widht'\. Did you mean 'width'\? Its options: .*backbone"
    with pytest.raises(ModelError, match=message):
        build_entry(CATALOG["fcn8s"], None, {"widht": 64}, name="fcn8s")


def test_importing_the_catalogue_is_light() -> None:
    code = "import sys, cvcore.catalog, cvcore.models; print({'torch', 'torchvision'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tinny", "tiny"), ("fasterrcnn_resnet_50_fpn", "fasterrcnn_resnet50_fpn"), ("darknet-53", "darknet53")],
)
def test_unknown_names_get_a_suggestion_and_the_list(name: str, hint: str) -> None:
    with pytest.raises(ModelError, match=f"{name}.*Did you mean '{hint}'") as caught:
        find_model(name)
    assert all(known in str(caught.value) for known in CATALOG)


def test_known_names_are_found() -> None:
    assert all(find_model(name) is entry for name, entry in CATALOG.items())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("yolov3.cfg", True), ("s3://b/YOLO.CFG", True), ("tiny", False), ("cfg", False), ("a.cfg.txt", False)],
)
def test_cfg_names(name: str, expected: bool) -> None:
    assert is_cfg(name) == expected
