"""Darknet networks that take a torchvision classifier's convolutions."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import get_model

from cvcore.darknet.convolution import ConvolutionBlock
from cvcore.darknet.detector import DarknetDetector
from cvcore.detect.yolo import Version, build_yolo
from cvcore.errors import ModelError
from cvcore.image.normalize import imagenet_floats, unit_floats
from cvcore.start import start_from

TRUNKS: dict[Version, tuple[str, int]] = {
    "v1-vgg16": ("vgg16", 13),
    "v1-squeezenet1_1": ("squeezenet1_1", 25),
}
every_trunk = pytest.mark.parametrize("version", TRUNKS)


def built(version: Version, width: float) -> tuple[DarknetDetector, nn.Module]:
    torch.manual_seed(0)
    model = build_yolo(("a",), version=version, width=width, input_size=64)
    return model, get_model(TRUNKS[version][0], weights=None).eval()


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]


def test_starts_from_a_file_of_a_classifiers_weights() -> None:
    model, classifier = built("v1-squeezenet1_1", width=0.05)
    start_from(model, safetensors.torch.save(classifier.state_dict()), name="theirs")
    theirs = classifier.get_submodule("features.3.squeeze").state_dict()
    assert torch.equal(convolutions(model)[1].weight, theirs["weight"])


@every_trunk
def test_takes_every_convolution_of_the_trunk_in_order(version: Version) -> None:
    model, classifier = built(version, width=1 if version == "v1-vgg16" else 0.05)
    count = TRUNKS[version][1]
    after = [conv.weight.clone() for conv in convolutions(model)[count:]]
    model.load_backbone(classifier.state_dict(), name="theirs")
    ours, theirs = convolutions(model), convolutions(classifier.get_submodule("features"))
    assert len(theirs) == count
    for own, other in zip(ours[1:count], theirs[1:], strict=True):
        assert torch.equal(own.weight, other.weight)
        assert own.bias is not None
        assert other.bias is not None
        assert torch.equal(own.bias, other.bias)
    assert all(torch.equal(own.weight, before) for own, before in zip(ours[count:], after, strict=True))


def test_the_first_convolution_takes_over_the_normalisation() -> None:
    model, classifier = built("v1-squeezenet1_1", width=0.05)
    model.load_backbone(classifier.state_dict(), name="theirs")
    canvases = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    first = next(block for block in model.network.blocks if isinstance(block, ConvolutionBlock))
    with torch.inference_mode():
        found = first(unit_floats(canvases, torch.float32))
        # Theirs is unpadded: a row and a column more bring its cells where ours are.
        images = F.pad(imagenet_floats(canvases, torch.float32), (1, 0, 1, 0))
        expected = F.relu(classifier.get_submodule("features.0")(images))
    torch.testing.assert_close(found[..., 1:, 1:], expected[..., 1:, 1:], atol=1e-4, rtol=1e-4)


def test_other_widths_and_other_classifiers_are_refused() -> None:
    model, classifier = built("v1-vgg16", width=0.05)
    before = [conv.weight.clone() for conv in convolutions(model)]
    with pytest.raises(ModelError, match="13 of the 13 convolutions of a vgg16 have other widths here"):
        model.load_backbone(classifier.state_dict(), name="theirs")
    with pytest.raises(ModelError, match="squeezenet do not fit"):
        model.load_backbone(get_model("squeezenet1_1", weights=None).state_dict(), name="squeezenet")
    assert all(torch.equal(own.weight, old) for own, old in zip(convolutions(model), before, strict=True))
    with pytest.raises(ModelError, match="cannot start from"):
        build_yolo(("a",), version="v2-tiny", width=0.1).load_backbone(classifier.state_dict(), name="vgg")
