from __future__ import annotations

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import get_model

from cvcore.backbones.build import BackboneName, build_backbone
from cvcore.errors import ModelError
from tests.data import shared_data

by_name = pytest.mark.parametrize("name", ["vgg16", "squeezenet1_1"])


def classifier(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model: torch.nn.Module = get_model(name, weights=None).eval()
    return model


def reference_maps(model: torch.nn.Module, images: Tensor, layers: dict[int, int]) -> dict[int, Tensor]:
    maps, x = {}, images
    strides = {layer: stride for stride, layer in layers.items()}
    for index, layer in enumerate(model.features):  # type: ignore[arg-type]
        x = layer(x)
        if index in strides:
            maps[strides[index]] = x.clone()
    return maps


@by_name
@pytest.mark.parametrize("side", [32, 96, 111, 150])
def test_sides_and_channels_are_those_of_the_maps(name: BackboneName, side: int) -> None:
    trunk = build_backbone(name)
    maps = trunk(torch.rand(1, 3, side, side))
    sides = trunk.map_sides(side)
    assert {stride: tuple(x.shape) for stride, x in maps.items()} == {
        stride: (1, trunk.channels[stride], sides[stride], sides[stride]) for stride in sides
    }
    assert {8, 16} <= set(sides)


@by_name
def test_every_map_halves_the_one_before_rounding_up(name: BackboneName) -> None:
    assert [build_backbone(name).map_sides(300)[stride] for stride in (4, 8, 16)] == [75, 38, 19]
    assert [build_backbone(name).map_sides(512)[stride] for stride in (4, 8, 16)] == [128, 64, 32]


def test_vgg16_is_torchvisions() -> None:
    model, trunk = classifier("vgg16"), build_backbone("vgg16")
    trunk.load(model.state_dict(), name="vgg16")
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        expected = reference_maps(model, images, {2: 8, 4: 15, 8: 22, 16: 29})
        found = trunk(images)
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[stride], expected[stride], atol=1e-5) for stride in expected)


def test_squeezenet_is_torchvisions_away_from_the_border() -> None:
    model, trunk = classifier("squeezenet1_1"), build_backbone("squeezenet1_1")
    trunk.load(model.state_dict(), name="squeezenet")
    images = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        # 1 px for the first convolution's padding, 4 px for the second pooling's.
        expected = reference_maps(model, F.pad(images, (5, 5, 5, 5)), {8: 7, 16: 12})
        found = trunk(images)
    for stride, inside in ((8, slice(6, 26)), (16, slice(7, 9))):
        values = found[stride][..., inside, inside]
        assert values.std() > 0
        assert torch.allclose(values, expected[stride][..., inside, inside], atol=1e-5)


def test_published_squeezenet_weights_fit() -> None:
    path = shared_data("weights", "squeezenet1_1-imagenet", "squeezenet1_1.safetensors")
    state = safetensors.torch.load(path.read_bytes())
    trunk = build_backbone("squeezenet1_1")
    trunk.load(state, name="squeezenet")
    weight = trunk.state_dict()["features.12.expand3x3.weight"]
    assert torch.equal(weight, state["features.12.expand3x3.weight"].float())


@by_name
def test_weights_of_another_network_are_refused_by_name(name: BackboneName) -> None:
    trunk = build_backbone(name)
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    with pytest.raises(ModelError, match=r"resnet do not fit: \d+ missing \(features\.0\.weight"):
        trunk.load({"conv1.weight": torch.zeros(64, 3, 7, 7)}, name="resnet")
    wrong = {**before, "features.0.bias": torch.zeros(7)}
    with pytest.raises(ModelError, match=r"mine do not fit.*features\.0\.bias 7 instead of 64"):
        trunk.load(wrong, name="mine")
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())


@by_name
@pytest.mark.parametrize("last_stride", [8, 16])
def test_a_cell_of_the_last_map_is_a_stride_of_pixels(name: BackboneName, last_stride: int) -> None:
    trunk = build_backbone(name, last_stride=last_stride)
    maps = trunk(torch.zeros(1, 3, 96, 64))
    assert trunk.last_stride == last_stride == max(maps)
    assert maps[last_stride].shape == (1, 512, 96 // last_stride, 64 // last_stride)
    assert torch.equal(trunk.last_map(torch.zeros(1, 3, 96, 64)), maps[last_stride])


@by_name
@pytest.mark.parametrize("last_stride", [8, 16])
def test_cells_lie_where_anchors_say(name: BackboneName, last_stride: int) -> None:
    """The mean position of the pixels that a cell's value depends on, by gradient, is the cell's centre."""
    trunk = build_backbone(name, last_stride=last_stride)
    for parameter in trunk.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    side = 224 if name == "vgg16" else 512  # above the receptive fields
    middle = side // 2 // last_stride
    image = torch.full((1, 3, side, side), 0.5, requires_grad=True)
    trunk.features.apply(_average_instead_of_max)
    trunk.last_map(image)[0, :, middle, middle].sum().backward()
    assert image.grad is not None
    weight = image.grad.abs().sum(dim=(0, 1))
    positions = torch.arange(side) + 0.5
    centre = (weight.sum(dim=0) * positions).sum() / weight.sum()
    assert centre.item() == pytest.approx((middle + 0.5) * last_stride, abs=2.6)


def _average_instead_of_max(module: torch.nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, torch.nn.MaxPool2d):
            pool = torch.nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
            setattr(module, name, pool)


def test_squeezenet_at_stride_8_sees_the_map_of_stride_16_between_more() -> None:
    """Every other cell of the dilated map is a cell of the strided one, away from the border."""
    fine, coarse = (build_backbone("squeezenet1_1", last_stride=stride) for stride in (8, 16))
    fine.load(classifier("squeezenet1_1").state_dict(), name="w")
    coarse.load(fine.state_dict(), name="w")
    images = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        dense, strided = fine.last_map(images), coarse.last_map(images)
    # Strided pooling is unpadded, so its cell j is centred on cell 2 j + 1.
    torch.testing.assert_close(dense[..., 11:20:2, 11:20:2], strided[..., 5:10, 5:10])


def test_first_convolutions_can_be_frozen() -> None:
    trunk = build_backbone("vgg16")
    trunk.freeze_convs(4)
    frozen = [name for name, parameter in trunk.named_parameters() if not parameter.requires_grad]
    assert [int(name.split(".")[1]) for name in frozen] == [0, 0, 2, 2, 5, 5, 7, 7]


def test_unknown_names_and_strides_are_refused() -> None:
    with pytest.raises(ValueError, match=r"vgg16, squeezenet1_1, got 'vgg19'"):
        build_backbone("vgg19")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="last_stride must be 8 or 16, got 4"):
        build_backbone("vgg16", last_stride=4)
