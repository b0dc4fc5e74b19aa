from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cvcore.image.fit import plan_fit
from cvcore.segment.padding import mirrored
from cvcore.segment.unet import build_unet
from cvcore.segment.unet_layers import UNetNetwork


@pytest.mark.parametrize(
    ("labels", "channels", "expected"),
    [(2, 1, 31_030_658), (1, 1, 31_030_593), (2, 3, 31_031_810)],
    ids=["as published", "one sigmoid", "of colours"],
)
def test_parameters_at_full_size(labels: int, channels: int, expected: int) -> None:
    with torch.device("meta"):
        network = UNetNetwork(channels, labels, width=64, depth=4, padded=False, norm=False)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_the_published_network_has_23_convolutions_and_turns_572_into_388() -> None:
    with torch.device("meta"):
        network = UNetNetwork(1, 2, width=64, depth=4, padded=False, norm=False)
        found = network(torch.zeros(1, 1, 572, 572))
    convs = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(convs) == 23
    assert found.shape == (1, 2, 388, 388)
    assert network.lost_px == 184
    assert network.input_side(388) == 572
    assert [block[0].out_channels for block in network.down] == [64, 128, 256, 512, 1024]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("side", [1, 5, 33])
def test_input_side_is_the_smallest_that_gives_enough(depth: int, side: int) -> None:
    network = UNetNetwork(1, 2, width=1, depth=depth, padded=False, norm=False)
    taken = network.input_side(side)
    given = network(torch.zeros(1, 1, taken, taken)).shape[-1]
    assert given == taken - network.lost_px >= side
    assert given - 2**depth < side


@pytest.mark.parametrize("size", [(1, 1), (7, 30), (64, 64), (65, 31)])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("depth", [1, 3])
def test_logits_have_the_images_size(size: tuple[int, int], padded: bool, depth: int) -> None:
    model = build_unet(width=2, depth=depth, padded=padded).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, *size)).shape == (2, 2, *size)


@pytest.mark.parametrize("padded", [True, False])
def test_a_pixel_reaches_as_far_as_margin_px_and_no_farther(padded: bool) -> None:
    depth = 2
    model = build_unet(width=2, depth=depth, padded=padded, channels=1).eval()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.01)
    model.network.pool = nn.AvgPool2d(2)  # type: ignore[assignment]
    farthest = 0
    for place in range(64, 64 + 2**depth):
        image = torch.ones(1, 1, 128, 128, requires_grad=True)
        model(image)[0, 0, place, place].backward()
        assert image.grad is not None
        seen = image.grad[0, 0].abs().sum(dim=0).nonzero()[:, 0]
        farthest = max(farthest, place - int(seen.min()), int(seen.max()) - place)
    assert farthest == model.margin_px


def test_batches_equal_single_images() -> None:
    torch.manual_seed(0)
    model = build_unet(width=4, depth=2, padded=True, norm=True).eval()
    images = torch.randn(3, 3, 20, 24)
    with torch.inference_mode():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_maps_have_the_sources_size_and_know_their_content() -> None:
    torch.manual_seed(0)
    model = build_unet(width=2, depth=1, padded=True, input_size=32).eval()
    fit = plan_fit(50, 100, model.input_spec)
    logits = torch.zeros(1, 2, 32, 32)
    logits[0, 1, fit.top : fit.top + fit.content_height, 16:] = 1
    logits[0, 1, : fit.top] = 9  # beyond the image, where anything may be said
    logits[0, 0] = 0.5
    (found,) = model.postprocess(logits, [fit])
    assert found.shape == (50, 100)
    assert found.dtype == torch.uint8
    assert found[:, 51:].all()
    assert not found[:, :49].any()


@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 2), (4, 0), (17, 23)])
def test_mirroring_is_numpys(before: int, after: int) -> None:
    image = torch.arange(20.0).view(1, 1, 5, 4)
    found = mirrored(image, top=before, bottom=after, left=after, right=before)
    expected = np.pad(image[0, 0].numpy(), ((before, after), (after, before)), mode="reflect")
    np.testing.assert_array_equal(found[0, 0].numpy(), expected)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"depth": 0}, "depth must be 1 to 6"),
        ({"width": 2.5}, "whole number"),
        ({"channels": 2}, "channels must be 1 or 3"),
        ({"loss": "dise"}, "Did you mean 'dice'"),
        ({"class_weights": [1.0]}, "give each one"),
        ({"labels": ("only",)}, "2 to 255 classes"),
        ({"input_size": 4}, "at least 8 px"),
    ],
)
def test_wrong_configurations(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_unet(**{"width": 2, **config})
