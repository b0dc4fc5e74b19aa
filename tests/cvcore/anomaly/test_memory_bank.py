"""PatchCore: its coreset, its scores, and its bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torchvision.models import get_model

from cvcore.anomaly.memory_bank import LAYERS, PatchCore, _Reservoir, backbone_state, coreset
from cvcore.checkpoint import load_into
from cvcore.errors import ModelError, TooFewNormalsError, WeightsError


def canvases(count: int, *, size: int = 64, seed: int = 0, spot: bool = False) -> torch.Tensor:
    """Stripes with noise; with a spot of another texture where asked."""
    random = np.random.default_rng(seed)
    stripes = (np.sin(np.arange(size) / 3) * 60 + 128)[None, None, :, None]
    images = stripes + random.normal(0, 6, (count, size, size, 3))
    if spot:
        images[:, 24:40, 24:40] = random.integers(0, 256, (count, 16, 16, 3))
    return torch.from_numpy(images.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def model() -> PatchCore:
    torch.manual_seed(0)
    fresh = PatchCore(input_size=64, memory_size=300)
    assert fresh.remember([canvases(20, seed=1), canvases(20, seed=2)], seed=3) == 300
    return fresh


def test_a_spot_scores_higher_and_is_where_the_map_is_greatest(model: PatchCore) -> None:
    good = model(model.preprocess(canvases(6, seed=5)))
    bad = model(model.preprocess(canvases(6, seed=6, spot=True)))
    assert bad.images.min() > good.images.max()
    assert bad.maps.shape == (6, 64, 64)
    for one in bad.maps:
        row, column = divmod(int(one.argmax()), 64)
        assert 20 <= row < 44
        assert 20 <= column < 44


def test_what_is_remembered_is_at_distance_0(model: PatchCore) -> None:
    torch.manual_seed(0)
    whole = PatchCore(input_size=64, memory_size=5000)
    images = canvases(4, seed=8)
    whole.remember([images])
    scores = whole(whole.preprocess(images))
    assert scores.maps.max() < 0.05
    assert model(model.preprocess(images)).maps.max() > 0.1


def test_training_again_gives_the_same_memory_and_keeps_the_backbone_frozen() -> None:
    torch.manual_seed(0)
    model = PatchCore(input_size=64, memory_size=50).train()
    model.remember([canvases(8)], seed=4)
    first = model.memory.clone()
    model.remember([canvases(8)], seed=4)
    assert torch.equal(first, model.memory)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_scores_do_not_depend_on_the_batch(model: PatchCore) -> None:
    images = model.preprocess(canvases(5, seed=9, spot=True))
    together, alone = model(images), model(images[2:3])
    assert torch.allclose(together.images[2], alone.images[0], rtol=1e-4)
    assert torch.allclose(together.maps[2], alone.maps[0], atol=1e-3)


def test_the_reweighted_score_is_equation_7(model: PatchCore) -> None:
    images = model.preprocess(canvases(1, seed=9, spot=True))
    patches = model.patches(images).permute(0, 2, 3, 1).reshape(-1, model.memory.shape[1]).double().numpy()
    memory = model.memory[: int(model.stored)].double().numpy()
    gaps = cdist(patches, memory)
    star = gaps.min(axis=1).argmax()
    nearest = gaps[star].argmin()
    around = cdist(memory[nearest : nearest + 1], memory)[0].argsort()[: model.neighbors]
    share = np.exp(gaps[star, nearest]) / np.exp(gaps[star, around]).sum()
    assert model(images).images.item() == pytest.approx((1 - share) * gaps[star, nearest], rel=1e-3)


def test_a_coreset_leaves_less_far_away_than_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2000, 20, generator=generator) ** 3
    chosen = coreset(rows, 100, generator=generator)
    assert len(set(chosen.tolist())) == 100
    by_chance = torch.randperm(2000, generator=generator)[:100]

    def farthest(picked: torch.Tensor) -> float:
        return torch.cdist(rows, rows[picked]).min(dim=1).values.max().item()

    assert farthest(chosen) < 0.7 * farthest(by_chance)
    assert torch.equal(coreset(rows[:50], 100, generator=generator), torch.arange(50))


def test_the_greedy_choice_is_the_farthest_of_all() -> None:
    rows = torch.randn(60, 5, generator=torch.Generator().manual_seed(1)).double()
    chosen = coreset(rows, 20, generator=torch.Generator().manual_seed(2)).tolist()
    for place in range(1, 20):
        gaps = torch.cdist(rows, rows[chosen[:place]]).min(dim=1).values
        assert gaps[chosen[place]] == pytest.approx(gaps.max().item())


def test_a_reservoir_keeps_each_row_with_the_same_chance() -> None:
    kept = np.zeros(40)
    for seed in range(3000):
        reservoir = _Reservoir(10, 1, torch.Generator().manual_seed(seed))
        for part in torch.arange(40.0)[:, None].split(7):
            reservoir.add(part)
        rows = reservoir.rows[:, 0].long().tolist()
        assert len(set(rows)) == 10
        kept[rows] += 1
    assert np.abs(kept / 3000 - 0.25).max() < 0.04


def test_nothing_remembered_is_said() -> None:
    model = PatchCore(input_size=64, memory_size=5)
    with pytest.raises(ModelError, match="train it first"):
        model(torch.zeros(1, 3, 64, 64))
    with pytest.raises(TooFewNormalsError, match="no normal image"):
        model.remember([])
    with pytest.raises(ValueError, match="backbone must be one of"):
        PatchCore(backbone="vgg99")


@pytest.mark.parametrize("backbone", ["squeezenet1_1", "resnet18"])
def test_a_classifiers_weights_are_the_backbones(backbone: str) -> None:
    torch.manual_seed(7)
    classifier = get_model(backbone, weights=None).eval()
    model = PatchCore(backbone=backbone, input_size=64, memory_size=5)
    load_into(model, backbone_state(model, classifier.state_dict()))
    seen: list[torch.Tensor] = []
    first = classifier.get_submodule(LAYERS[backbone][0])
    first.register_forward_hook(lambda _module, _given, got: seen.append(got))
    images = model.preprocess(canvases(2))
    with torch.inference_mode():
        classifier(images)
        found = model.patches(images)
        pooled = torch.nn.functional.avg_pool2d(seen[0], 3, stride=1, padding=1)
    assert torch.allclose(found[:, : pooled.shape[1]], pooled, atol=1e-5)
    incomplete = {name: value for name, value in classifier.state_dict().items() if "1.weight" not in name}
    with pytest.raises(WeightsError, match="missing"):
        load_into(model, backbone_state(model, incomplete))
