from __future__ import annotations

from typing import Any

import pytest
import safetensors.torch
import torch
from torch.nn import functional as F
from torchvision.models import alexnet, googlenet, segmentation, squeezenet1_1, vgg16

from cvcore.errors import WeightsError
from cvcore.models import ModelSource, build_model
from cvcore.segment.fcn import Fcn, build_fcn
from cvcore.segment.fcn_layers import ConvolvedFc, upsampling
from tests.data import shared_data

VGG16_FULLY = 134_346_581  # convolutions, fc6, fc7 and 21 scores


@pytest.mark.parametrize(
    ("stride", "more"),
    [
        (32, 21 * 21 * 64**2),
        (16, 512 * 21 + 21 + 21 * 21 * (4**2 + 32**2)),
        (8, (512 + 256) * 21 + 2 * 21 + 21 * 21 * (2 * 4**2 + 16**2)),
    ],
)
def test_parameters_on_vgg16(stride: Any, more: int) -> None:
    with torch.device("meta"):
        model = build_fcn(stride=stride)
    assert sum(p.numel() for p in model.parameters()) == VGG16_FULLY + more


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_upsampling_begins_as_bilinear_interpolation(factor: int) -> None:
    scores = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    found = upsampling(3, factor, learns=True)(scores)
    expected = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
    inside = slice(factor // 2, -(factor // 2))  # beyond the last cells' centres one side is missing
    torch.testing.assert_close(found[..., inside, inside], expected[..., inside, inside])


@pytest.mark.parametrize("backbone", ["vgg16", "alexnet", "googlenet", "squeezenet1_1"])
@pytest.mark.parametrize("stride", [32, 8])
def test_logits_have_the_images_size(backbone: Any, stride: Any) -> None:
    model = build_fcn(("a", "b", "c"), backbone=backbone, stride=stride, width=0.01).eval()
    with torch.inference_mode():
        for size in ((1, 1), (33, 70), (64, 32)):
            assert model(torch.zeros(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("backbone", ["alexnet", "googlenet", "squeezenet1_1", "vgg16"])
def test_maps_are_shares_of_sides_that_are_multiples_of_32(backbone: Any) -> None:
    trunk = build_fcn(("a", "b"), backbone=backbone, width=0.01).eval().trunk
    with torch.inference_mode():
        maps = trunk(torch.zeros(1, 3, 96, 160))
    assert {stride: tuple(m.shape[1:]) for stride, m in maps.items()} == {
        stride: (trunk.channels[stride], 96 // stride, 160 // stride) for stride in maps
    }


def test_skips_begin_as_nothing_and_then_count() -> None:
    torch.manual_seed(0)
    model = build_fcn(("a", "b"), backbone="squeezenet1_1", stride=8).eval()
    torch.nn.init.normal_(model.score.weight)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        maps = model.trunk(image)
        deep = F.max_pool2d(maps[16], 3, 2, ceil_mode=True)
        scores = model.last(model.rise["8"](model.rise["16"](model.score(deep))))
        torch.testing.assert_close(model(image), scores)
        torch.nn.init.normal_(model.skips["8"].weight)  # type: ignore[arg-type]
        assert (model(image) - scores).abs().max() > 1e-3


def test_only_the_last_upsampling_is_fixed() -> None:
    model = build_fcn(("a", "b"), backbone="squeezenet1_1", stride=8)
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["last.weight"]


def classifier_weights(graph: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = graph(weights=None).state_dict()
    return state


@pytest.mark.parametrize("backbone", ["vgg16", "alexnet"])
def test_a_converted_classifier_says_what_the_classifier_says(backbone: Any) -> None:
    """fc6 of the classifier on its own pooled map equals the convolution at the window's centre."""
    torch.manual_seed(0)
    classifier = {"vgg16": vgg16, "alexnet": alexnet}[backbone](weights=None).eval()
    model = build_fcn(("a", "b"), backbone=backbone).eval()
    model.load_backbone(classifier.state_dict(), name="it")
    assert isinstance(model.fc, ConvolvedFc)
    side, channels = (7, 512) if backbone == "vgg16" else (6, 256)
    pooled = torch.randn(1, channels, side, side)
    linear = classifier.classifier
    until = 5 if backbone == "vgg16" else 6
    with torch.inference_mode():
        expected = linear[:until](pooled.flatten(1))
        found = model.fc(pooled)[0, :, (side - 1) // 2, (side - 1) // 2]
    torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("backbone", "graph"),
    [("alexnet", alexnet), ("googlenet", googlenet), ("squeezenet1_1", squeezenet1_1)],
)
def test_trunks_take_torchvisions_weights(backbone: Any, graph: Any) -> None:
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": True} if graph is googlenet else {}
    state = graph(weights=None, **options).state_dict()
    model = build_fcn(("a", "b"), backbone=backbone, width=0.01)
    model.load_backbone(state, name="it")
    first = "conv1.conv.weight" if graph is googlenet else "features.0.weight"
    own = model.trunk.state_dict()[first if first.startswith("features.") else f"features.{first}"]
    torch.testing.assert_close(own, state[first])
    with pytest.raises(WeightsError, match="it do not fit"):
        model.load_backbone({first: state[first]}, name="it")


def test_googlenets_trunk_computes_what_torchvision_does() -> None:
    torch.manual_seed(0)
    graph = googlenet(weights=None, transform_input=True, init_weights=False, aux_logits=False).eval()
    model = build_fcn(("a", "b"), backbone="googlenet").eval()
    model.load_backbone(graph.state_dict(), name="it")
    image = torch.randn(1, 3, 64, 96)
    seen: list[torch.Tensor] = []
    graph.inception5b.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.inference_mode():
        graph(image)
        torch.testing.assert_close(model.trunk(image)[32], seen[0], rtol=1e-4, atol=1e-4)


def test_published_weights_of_fcn_resnet50_load() -> None:
    torch.manual_seed(0)
    graph = segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True).eval()
    source = ModelSource(
        "fcn_resnet50", weights=safetensors.torch.save(graph.state_dict()), config={"input_size": 64}
    )
    model = build_model(source)
    image = torch.randn(1, 3, 64, 48)
    with torch.inference_mode():
        torch.testing.assert_close(model(image), graph(image)["out"], rtol=1e-4, atol=1e-5)


def test_imagenets_squeezenet_starts_a_sibling() -> None:
    folder = shared_data("weights", "squeezenet1_1-imagenet")
    state = safetensors.torch.load_file(next(folder.glob("*.safetensors")))
    model: Fcn = build_fcn(("a", "b"), backbone="squeezenet1_1")
    model.load_backbone(state, name="squeezenet1_1")
    torch.testing.assert_close(model.trunk.features[0].weight, state["features.0.weight"].float())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"stride": 4}, "32, 16 or 8"),
        ({"backbone": "resnet18"}, "backbone must be one of vgg16"),
        ({"input_size": 16}, "at least 32 px"),
        ({"width": 0}, "width must be above 0"),
    ],
)
def test_wrong_configurations(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_fcn(("a", "b"), **config)
