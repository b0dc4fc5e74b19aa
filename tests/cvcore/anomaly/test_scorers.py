"""All scores of all models: higher is worse, the batch does not matter, and what is missing is said."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cvcore.anomaly.memory_bank import PatchCore
from cvcore.anomaly.options import LATENT, ScoreOptions
from cvcore.anomaly.scorers import Scorer, all_scores, latent_vectors, scores_of
from cvcore.autoencode.base import Autoencoder
from cvcore.autoencode.conv import ConvAutoencoder
from cvcore.autoencode.dense import DenseAutoencoder
from cvcore.autoencode.variational import VariationalAutoencoder
from cvcore.errors import ModelError
from cvcore.train.progress import OptimizeOptions, Progress
from cvcore.train.reconstruct import LossModule, ViewOptions, autoencoder_loss

SIZE = 32


def canvases(count: int, seed: int, *, broken: bool = False) -> Tensor:
    """Gradients; with a checkered corner where they are broken."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.rand(count, 2, 1, 1, 1, generator=generator)
    axis = torch.linspace(0, 255, SIZE)
    images = ((slope[:, 0] * axis[:, None, None] + slope[:, 1] * axis[None, :, None]) / 2).expand(
        -1, -1, -1, 3
    )
    images = images.to(torch.uint8).clone()
    if broken:
        images[:, 4:16:2, 4:16] = 255
        images[:, 5:16:2, 4:16] = 0
    return images


def trained(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "patchcore":
        patch_core = PatchCore(input_size=SIZE, memory_size=200)
        patch_core.remember([canvases(32, 1)])
        return patch_core
    builders = {
        "dense": lambda: DenseAutoencoder(input_size=SIZE, hidden=(32,), latent_size=4),
        "conv": lambda: ConvAutoencoder(input_size=SIZE, width=4, depth=3, latent_size=4),
        "vae": lambda: VariationalAutoencoder(input_size=SIZE, width=4, depth=3, latent_size=4),
    }
    model: Autoencoder = builders[kind]()  # type: ignore[operator]
    network = LossModule(model)
    compute = autoencoder_loss(model, network, ViewOptions(), generator=torch.Generator())
    progress = Progress(model, network, compute, OptimizeOptions(5e-3, 200, 10))
    progress.train_epoch([canvases(32, 1)] * 200)
    return model.eval()


@pytest.fixture(scope="module", params=["dense", "conv", "vae", "patchcore"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return trained(request.param)


def normals_of(model: nn.Module) -> Tensor | None:
    return latent_vectors(model, canvases(32, 1).split(8)) if isinstance(model, Autoencoder) else None


def test_what_is_broken_scores_higher_by_every_score(model: nn.Module) -> None:
    scorers = all_scores(model, ScoreOptions(), normals=normals_of(model))
    assert tuple(scorers) == scores_of(model)
    for name, scorer in scorers.items():
        good, bad = scorer.score(canvases(24, 2)), scorer.score(canvases(24, 3, broken=True))
        assert good.raw.shape == (24,)
        assert bad.raw.median() > good.raw.median(), name
        if name not in (*LATENT, "elbo"):
            assert bad.maps is not None
            assert bad.maps.shape == (24, SIZE, SIZE)
            inside = bad.maps[:, 4:16, 4:16].mean(dim=(1, 2))
            assert (inside > bad.maps.mean(dim=(1, 2))).float().mean() > 0.9, name
        else:
            assert bad.maps is None


def test_neither_the_batch_nor_the_call_changes_a_score(model: nn.Module) -> None:
    images = canvases(6, 4, broken=True)
    for name, scorer in all_scores(model, ScoreOptions(), normals=normals_of(model)).items():
        together = scorer.score(images)
        alone = scorer.score(images[3:4])
        assert torch.allclose(together.raw[3], alone.raw[0], rtol=1e-3, atol=1e-5), name
        assert torch.equal(scorer.score(images).raw, together.raw), name


def test_what_a_model_does_not_give_is_refused() -> None:
    dense = DenseAutoencoder(input_size=8, hidden=(4,), latent_size=2)
    with pytest.raises(ModelError, match="does not give the score 'elbo': choose one of mse, mae"):
        Scorer(dense, "elbo", ScoreOptions())
    with pytest.raises(ModelError, match="calibrate first"):
        Scorer(dense, "mahalanobis", ScoreOptions())
    with pytest.raises(ModelError, match="a Linear gives no anomaly scores"):
        scores_of(nn.Linear(1, 1))
