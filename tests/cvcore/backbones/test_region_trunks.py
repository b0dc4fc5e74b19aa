from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.models import squeezenet1_1
from torchvision.models.vgg import cfgs, make_layers

from cvcore.backbones.trunks import Backbone, Trunk
from cvcore.errors import ModelError


def vgg_state() -> dict[str, Tensor]:
    layers = make_layers(cfgs["D"], batch_norm=False)
    return {f"features.{name}": tensor for name, tensor in layers.state_dict().items()}


def squeezenet_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state: dict[str, Tensor] = squeezenet1_1(weights=None).state_dict()
    return state


@pytest.mark.parametrize("backbone", ["vgg16", "squeezenet1_1"])
@pytest.mark.parametrize("stride", [8, 16])
def test_a_cell_is_a_stride_of_pixels(backbone: Backbone, stride: int) -> None:
    trunk = Trunk(backbone, stride=stride)
    assert trunk(torch.zeros(1, 3, 96, 64)).shape == (1, 512, 96 // stride, 64 // stride)


@pytest.mark.parametrize(("backbone", "stride"), [("vgg16", 16), ("squeezenet1_1", 16), ("squeezenet1_1", 8)])
def test_cells_lie_where_anchors_say(backbone: Backbone, stride: int) -> None:
    """The mean position of the pixels that a cell's value depends on, by gradient, is the cell's centre."""
    torch.manual_seed(0)
    trunk = Trunk(backbone, stride=stride)
    for parameter in trunk.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    side = 224 if backbone == "vgg16" else 512  # the receptive fields
    middle = side // 2 // stride
    image = torch.full((1, 3, side, side), 0.5, requires_grad=True)
    trunk.layers.apply(_average_instead_of_max)
    trunk(image)[0, :, middle, middle].sum().backward()
    assert image.grad is not None
    weight = image.grad.abs().sum(dim=(0, 1))
    positions = torch.arange(side) + 0.5
    centre = (weight.sum(dim=0) * positions).sum() / weight.sum()
    assert centre.item() == pytest.approx((middle + 0.5) * stride, abs=1.0)


def _average_instead_of_max(module: torch.nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, torch.nn.MaxPool2d):
            pool = torch.nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
            setattr(module, name, pool)


def test_squeezenet_at_stride_16_is_the_classifiers() -> None:
    state = squeezenet_state()
    trunk = Trunk("squeezenet1_1", stride=16)
    trunk.load(state, name="w")
    classifier = squeezenet1_1(weights=None)
    classifier.load_state_dict(state)
    padded = torch.nn.functional.pad(images := torch.randn(1, 3, 96, 96), (8, 7, 8, 7))
    torch.testing.assert_close(trunk(images), classifier.features(padded))


def test_squeezenet_at_stride_8_sees_the_classifiers_map_between_more() -> None:
    """Every other cell of the dilated map is a cell of the strided one, away from the border."""
    fine, coarse = Trunk("squeezenet1_1", stride=8), Trunk("squeezenet1_1", stride=16)
    state = squeezenet_state()
    fine.load(state, name="w")
    coarse.load(state, name="w")
    images = torch.randn(1, 3, 256, 256)
    dense = fine.layers(images)
    strided = coarse.layers(images)
    # Strided pooling is unpadded, so its cell j is centred on cell 2 j + 1.
    torch.testing.assert_close(dense[..., 11:20:2, 11:20:2], strided[..., 5:10, 5:10])


@pytest.mark.parametrize(
    ("backbone", "state", "message"),
    [
        ("vgg16", squeezenet_state, r"w does not fit the backbone vgg16.*features\.2\.weight missing"),
        ("squeezenet1_1", vgg_state, r"w does not fit.*features\.3\.squeeze\.weight missing"),
    ],
)
def test_weights_of_another_classifier_are_refused_by_name(
    backbone: Backbone, state: Callable[[], dict[str, Tensor]], message: str
) -> None:
    trunk = Trunk(backbone)
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    with pytest.raises(ModelError, match=message):
        trunk.load(state(), name="w")
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())


def test_first_convolutions_can_be_frozen() -> None:
    trunk = Trunk("vgg16", frozen_convs=4)
    frozen = [name for name, parameter in trunk.named_parameters() if not parameter.requires_grad]
    assert [int(name.split(".")[1]) for name in frozen] == [0, 0, 2, 2, 5, 5, 7, 7]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"backbone": "resnet"}, "vgg16"), ({"backbone": "vgg16", "stride": 4}, "8 or 16")],
)
def test_impossible_trunks_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trunk(**options)  # type: ignore[arg-type]
