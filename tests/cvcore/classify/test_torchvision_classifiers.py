"""The catalogue's classifiers against torchvision's graphs and transforms."""

from __future__ import annotations

import io
from typing import Any, get_args

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torchvision.models import get_model_builder, get_model_weights

from cvcore.catalog import CATALOG
from cvcore.checkpoint import load_into
from cvcore.classify.localizer import Localizer
from cvcore.classify.torchvision_classifiers import (
    Graph,
    TorchvisionClassifier,
    build_torchvision_classifier,
    published,
    rename_published,
)
from cvcore.errors import WeightsError
from cvcore.image.decode import decode_to_canvas
from cvcore.models import ModelSource, build_model
from tests.data import shared_data

LABELS = ("a", "b", "c")


def built(graph: Graph, **config: Any) -> TorchvisionClassifier:
    model = build_torchvision_classifier(LABELS, graph=graph, **config)
    assert isinstance(model, TorchvisionClassifier)
    return model


@pytest.mark.parametrize("graph", get_args(Graph))
def test_the_catalogue_says_what_torchvision_publishes(graph: Graph) -> None:
    entry = CATALOG[graph]
    assert entry.num_parameters == published(graph).num_parameters
    assert entry.weights == f"torchvision://{get_model_weights(graph).DEFAULT}"
    assert entry.input_height == published(graph).crop_px


@pytest.mark.parametrize("graph", ["resnet18", "squeezenet1_1", "alexnet"])
def test_the_graph_is_torchvisions(graph: Graph) -> None:
    torch.manual_seed(0)
    reference = get_model_builder(graph)(weights=None, num_classes=3).eval()
    model = built(graph, input_size=64)
    load_into(model, rename_published(reference.state_dict()))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(images), reference(images))
        assert model.trunk(images).shape[1] == model.map_channels
    heads = [name for name in model.state_dict() if name.startswith(model.head_prefix)]
    assert {model.state_dict()[name].shape[0] for name in heads} == {3}


def test_an_image_gives_the_same_logits_in_any_batch() -> None:
    model = built("squeezenet1_1", input_size=64)
    canvases = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        together = model(model.preprocess(canvases))
        alone = torch.cat([model(model.preprocess(canvases[i : i + 1])) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_real_weights_say_what_they_say_by_torchvisions_transform() -> None:
    body = shared_data("weights", "squeezenet1_1-imagenet", "squeezenet1_1.safetensors").read_bytes()
    model = build_model(ModelSource("squeezenet1_1", weights=body, weights_name="w.safetensors"))
    assert isinstance(model, TorchvisionClassifier)
    reference = get_model_builder("squeezenet1_1")(weights=None).eval()
    reference.load_state_dict(safetensors.torch.load(body))
    transform = get_model_weights("squeezenet1_1").DEFAULT.transforms()
    for path in sorted(shared_data("images", "imagenet").iterdir())[4:7]:
        image = Image.open(path).convert("RGB")
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        canvas = decode_to_canvas(buffer.getvalue(), model.input_spec).canvas
        with torch.inference_mode():
            found = model(model.preprocess(torch.from_numpy(canvas)[None]))
            expected = reference(transform(image)[None])
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_accuracy_of_real_weights_on_real_images() -> None:
    body = shared_data("weights", "squeezenet1_1-imagenet", "squeezenet1_1.safetensors").read_bytes()
    model = build_model(ModelSource("squeezenet1_1", weights=body, weights_name="w.safetensors"))
    right = 0
    paths = sorted(shared_data("images", "imagenet").iterdir())[::8]
    for path in paths:
        canvas = decode_to_canvas(path.read_bytes(), model.input_spec).canvas
        with torch.inference_mode():
            best = model(model.preprocess(torch.from_numpy(canvas)[None])).topk(5).indices[0].tolist()
        name = path.stem.partition("_")[2].replace("_", " ").lower()
        right += name in [model.labels[k].lower() for k in best]
    assert right >= 0.6 * len(paths)  # 82.4 % top-5 on 500; some names are spelled in other ways


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"graph": "resnet99"}, "graph must be one of alexnet, .*, got 'resnet99'"),
        ({"graph": "alexnet", "input_size": 48}, "alexnet reads images of at least 63 px a side, got 48"),
    ],
    ids=["graph", "too small a canvas"],
)
def test_what_no_graph_can_be_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_torchvision_classifier(LABELS, **config)


def test_weights_of_other_classes_are_refused_by_name() -> None:
    state = get_model_builder("squeezenet1_1")(weights=None, num_classes=7).state_dict()
    source = ModelSource("squeezenet1_1", weights=safetensors.torch.save(state), labels=LABELS)
    with pytest.raises(WeightsError, match=r"classifier\.1\.weight 7x512x1x1 instead of 3x512x1x1"):
        build_model(source)


def test_the_middle_is_shown_at_the_published_share() -> None:
    spec = built("resnet50").input_spec
    assert (spec.height, spec.shortest_edge_px, spec.fit) == (224, 232, "center_crop")
    half = built("resnet18", input_size=112).input_spec
    assert (half.height, half.shortest_edge_px) == (112, 128)


def test_a_localiser_reads_the_whole_image() -> None:
    model = build_torchvision_classifier(LABELS, graph="squeezenet1_1", input_size=64, localize=True)
    assert isinstance(model, Localizer)
    assert model.input_spec.fit == "stretch"
    assert model.config == {"input_size": 64, "localize": True}
    canvas = np.zeros((64, 64, 3), np.uint8)
    logits, boxes = model(model.preprocess(torch.from_numpy(canvas)[None]))
    assert (logits.shape, boxes.shape) == ((1, 3), (1, 4))
