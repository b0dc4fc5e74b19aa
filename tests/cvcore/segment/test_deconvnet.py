from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import vgg16

from cvcore.errors import ModelError, WeightsError
from cvcore.image.normalize import imagenet_floats
from cvcore.segment.deconvnet import RegionImages, build_deconvnet
from cvcore.segment.deconvnet_layers import Unpooling
from cvcore.segment.merge import merge_regions, region_instances
from cvcore.segment.regions import crop_mask, grown, object_boxes
from cvcore.types import DetectOptions

SMALL: dict[str, Any] = {"input_size": 32, "depth": 3, "width": 0.03}


def test_the_layers_are_the_papers() -> None:
    with torch.device("meta"):
        model = build_deconvnet().eval()
        assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 21, 224, 224)
    down = [m for m in model.modules() if type(m) is nn.Conv2d]
    up = [m for m in model.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m.out_channels for m in down] == [
        *(64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
        *(4096, 4096, 21),
    ]
    assert [m.out_channels for m in model.network.decode if isinstance(m, nn.ConvTranspose2d)] == [512]
    wide = [m.out_channels for stage in model.network.up for m in stage if isinstance(m, nn.ConvTranspose2d)]
    assert wide == [512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 64]
    assert len(up) == 14
    assert model.network.encode[0].kernel_size == (7, 7)


def test_unpooling_is_exact() -> None:
    values = torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    pooled, places = nn.functional.max_pool2d(values, 2, return_indices=True)
    found = Unpooling()(pooled, places)
    torch.testing.assert_close(found, nn.functional.max_unpool2d(pooled, places, 2), rtol=0, atol=0)
    kept = found != 0
    assert torch.equal(found[kept], values[kept])
    assert kept.sum() == pooled.numel()
    assert torch.equal(nn.functional.max_pool2d(values, 2), pooled)


def test_the_vector_has_one_place() -> None:
    model = build_deconvnet(("a", "b"), **SMALL).eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        for stage in model.network.down:
            x, _ = model.network.pool(stage(x))
        assert model.network.encode(x).shape[2:] == (1, 1)


def test_merging_is_the_maximum_over_regions_that_say_0_beyond_themselves() -> None:
    scores = torch.stack([torch.full((2, 4, 4), -1.0), torch.full((2, 4, 4), 2.0)])
    scores[1, 1] = -3.0
    boxes = torch.tensor([[0.0, 0.0, 6.0, 6.0], [4.0, 0.0, 10.0, 6.0]])
    found = merge_regions(scores, boxes, height=6, width=8)
    assert found.shape == (2, 6, 8)
    assert found[:, 2, 1].tolist() == [0.0, 0.0]  # the second region says 0 here, the first one less
    assert found[:, 2, 5].tolist() == [2.0, -1.0]  # both cover it
    assert found[:, 2, 7].tolist() == [2.0, 0.0]
    assert torch.equal(found, merge_regions(scores.flip(0), boxes.flip(0), height=6, width=8))


def test_merging_no_region_or_one_outside() -> None:
    assert not merge_regions(torch.zeros(0, 2, 4, 4), torch.zeros(0, 4), height=3, width=5).any()
    outside = torch.tensor([[20.0, 20.0, 30.0, 30.0]])
    assert not merge_regions(torch.ones(1, 2, 4, 4), outside, height=3, width=5).any()


def test_instances_are_regions_of_their_most_frequent_class() -> None:
    scores = torch.zeros(3, 3, 10, 10)
    scores[:, 0] = 1
    scores[0, 1, 2:8, 2:8] = 5
    scores[1, 1, 2:8, 2:8] = 4  # the same object, less surely
    scores[2, 2, :, :5] = 5
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [10, 10, 20, 20]])
    found = region_instances(scores, boxes, DetectOptions(min_score=0.1), height=20, width=20)
    assert sorted(found.label_ids.tolist()) == [1, 2]
    assert found.masks is not None
    by_label = dict(zip(found.label_ids.tolist(), found.masks, strict=True))
    assert by_label[1].nonzero().amin(dim=0).tolist() == [2, 2]
    assert by_label[1].sum() == 36
    assert by_label[2].sum() == 50
    none = region_instances(scores[:, :1] * 0, boxes, DetectOptions(), height=20, width=20)
    assert len(none) == 0


def test_regions_are_merged_over_the_canvas() -> None:
    torch.manual_seed(0)
    model = build_deconvnet(("a", "b"), **SMALL | {"crop_size": 16, "num_regions": 2}).eval()
    images = torch.randn(1, 3, 32, 32)
    region = torch.tensor([[4.0, 4.0, 20.0, 20.0]])
    with torch.inference_mode():
        whole = model(RegionImages(images, (torch.zeros(0, 4),)))
        merged = model(RegionImages(images, (region,)))
    assert whole.shape == merged.shape == (1, 2, 32, 32)
    assert (merged != whole)[:, :, 10, 10].any()
    assert grown(region).tolist() == [[2.0, 2.0, 22.0, 22.0]]


def test_selective_search_proposes_where_it_is_asked_to() -> None:
    torch.manual_seed(0)
    model = build_deconvnet(("a", "b"), **SMALL | {"crop_size": 16, "num_regions": 3}).eval()
    canvas = torch.full((1, 32, 32, 3), 30, dtype=torch.uint8)
    canvas[:, 8:20, 8:20] = 220
    images = model.preprocess(canvas)
    assert isinstance(images, RegionImages)
    assert 1 <= len(images.regions[0]) <= 3
    found = model.instances(canvas[0], images.regions[0], DetectOptions(min_score=0))
    assert found.masks is not None
    assert found.masks.shape[1:] == (32, 32)
    assert isinstance(model.train().preprocess(canvas), torch.Tensor)


def test_vgg16_starts_it() -> None:
    torch.manual_seed(0)
    state = vgg16(weights=None).state_dict()
    model = build_deconvnet(("a", "b"), input_size=32, depth=2)
    model.load_backbone(state, name="it")
    assert torch.equal(model.network.down[1][3].weight, state["features.7.weight"])
    with pytest.raises(WeightsError, match=r"features\.0\.weight must be"):
        build_deconvnet(("a", "b"), **SMALL).load_backbone(state, name="it")


def test_learning_from_regions_finds_what_the_whole_is_too_coarse_for() -> None:
    """A spot of 3 px in a canvas of 64 is 1 px of the network's 16; regions show it at its full size."""
    torch.manual_seed(0)
    masks = torch.zeros(4, 64, 64, dtype=torch.uint8)
    canvases = torch.full((4, 64, 64, 3), 40, dtype=torch.uint8)
    for k, (top, left) in enumerate([(5, 9), (40, 11), (30, 50), (12, 33)]):
        masks[k, top : top + 5, left : left + 5] = 1
        canvases[k, top : top + 5, left : left + 5] = 220
    small = SMALL | {"input_size": 64, "crop_size": 16, "depth": 2, "width": 0.1}
    model = build_deconvnet(("ground", "spot"), **small, learned_regions=4).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.losses(model.preprocess(canvases), masks)["total"]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()
    region = grown(object_boxes(masks[0]))
    image = imagenet_floats(canvases[:1], torch.float32)[0]
    with torch.inference_mode():
        found = model.score_regions(image, region)[0].argmax(dim=0)
    truth = crop_mask(masks[0], region, side=16)[0]
    assert ((found == 1) & (truth == 1)).sum() / ((found == 1) | (truth == 1)).sum() > 0.8


def test_a_lone_image_cannot_be_normalised() -> None:
    model = build_deconvnet(("a", "b"), **SMALL)
    with pytest.raises(ModelError, match="at least 2 images"):
        model.losses(torch.zeros(1, 3, 32, 32), torch.zeros(1, 32, 32))
    found = model.losses(torch.randn(2, 3, 32, 32), torch.zeros(2, 32, 32))
    assert found["total"].isfinite()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"depth": 6}, "depth must be 1 to 5"),
        ({"input_size": 100}, "multiple of 32"),
        ({"num_regions": -1}, "must not be negative"),
        ({"learned_regions": 0}, "at least 1"),
    ],
)
def test_wrong_configurations(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_deconvnet(("a", "b"), **config)
