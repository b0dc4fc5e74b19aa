"""Autoencoders of all kinds: shapes, losses against plain computations, learning, checkpoints."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from cvcore.autoencode.base import Autoencoder
from cvcore.autoencode.conv import ConvAutoencoder
from cvcore.autoencode.dense import DenseAutoencoder
from cvcore.autoencode.variational import MIN_LOG_SIGMA, VariationalAutoencoder
from cvcore.checkpoint import load_into, read_checkpoint, save_checkpoint

BUILDERS: dict[str, Callable[..., Autoencoder]] = {
    "dense": lambda **options: DenseAutoencoder(hidden=(40, 20), **options),
    "conv": lambda **options: ConvAutoencoder(width=4, depth=3, **options),
    "vae": lambda **options: VariationalAutoencoder(width=4, depth=3, **options),
}


@pytest.fixture(params=BUILDERS)
def build(request: pytest.FixtureRequest) -> Callable[..., Autoencoder]:
    torch.manual_seed(0)
    return BUILDERS[request.param]


def pictures(count: int, *, channels: int = 3, size: int = 32) -> Tensor:
    """Smooth gradients of random directions, which few numbers describe."""
    generator = torch.Generator().manual_seed(count)
    slope = torch.rand(count, channels, 2, 1, 1, generator=generator)
    axis = torch.linspace(0, 1, size)
    return (slope[:, :, 0] * axis[:, None] + slope[:, :, 1] * axis[None, :]) / 2


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_range(build: Callable[..., Autoencoder], channels: int) -> None:
    model = build(input_size=32, channels=channels, latent_size=7).eval()
    canvases = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    images = model.preprocess(canvases)
    assert images.shape == (5, channels, 32, 32)
    latents = model.encode(images)
    assert latents.shape == (5, 7)
    decoded = model.decode(latents)
    assert decoded.shape == images.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert torch.equal(model(images), decoded)
    assert torch.allclose(model.encode(images[2:3]), latents[2:3], atol=1e-5), "images do not mix"


def test_gray_is_luma() -> None:
    model = DenseAutoencoder(input_size=2, channels=1, hidden=(3,), latent_size=2)
    canvases = torch.tensor([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255], dtype=torch.uint8)
    gray = model.preprocess(canvases.view(1, 2, 2, 3))
    assert gray.flatten().tolist() == pytest.approx([0.299, 0.587, 0.114, 1.0], abs=1e-6)


@pytest.mark.parametrize("error", ["mse", "mae"])
def test_the_loss_is_the_mean_error_against_the_targets(error: str) -> None:
    torch.manual_seed(0)
    model = ConvAutoencoder(input_size=16, width=4, depth=2, latent_size=3, error=error).eval()
    images, targets = torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16)
    reference = {"mse": torch.nn.MSELoss(), "mae": torch.nn.L1Loss()}[error]
    assert model.loss(images).total.item() == pytest.approx(reference(model(images), images).item())
    assert model.loss(images, targets).total.item() == pytest.approx(reference(model(images), targets).item())


def test_training_lowers_the_error_far_below_that_of_the_mean(build: Callable[..., Autoencoder]) -> None:
    model = build(input_size=32, channels=1, latent_size=4).train()
    images = pictures(32, channels=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(250):
        optimizer.zero_grad()
        model.loss(images).total.backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        error = (model(images) - images).square().mean()
    spread = (images - images.mean(dim=0)).square().mean()
    assert error < 0.3 * spread


def test_a_checkpoint_rebuilds_the_model(build: Callable[..., Autoencoder]) -> None:
    model = build(input_size=32, latent_size=6).eval()
    data = save_checkpoint(model.state_dict(), model="any", config={}, labels=(), training={})
    torch.manual_seed(99)
    other = build(input_size=32, latent_size=6).eval()
    images = pictures(3)
    assert not torch.equal(other.encode(images), model.encode(images))
    load_into(other, read_checkpoint(data).state)
    assert torch.equal(other.encode(images), model.encode(images))


def test_the_divergence_is_that_of_torch() -> None:
    torch.manual_seed(1)
    model = VariationalAutoencoder(input_size=16, width=4, depth=2, latent_size=5).eval()
    posterior = model.posterior(torch.rand(6, 3, 16, 16))
    theirs = kl_divergence(
        Normal(posterior.mean, (0.5 * posterior.log_variance).exp()), Normal(torch.zeros(5), torch.ones(5))
    )
    assert torch.allclose(posterior.divergence(), theirs.sum(dim=1), atol=1e-5)


def test_samples_have_the_posteriors_moments() -> None:
    torch.manual_seed(1)
    model = VariationalAutoencoder(input_size=16, width=4, depth=2, latent_size=5).eval()
    with torch.inference_mode():
        posterior = model.posterior(torch.rand(1, 3, 16, 16).expand(20_000, -1, -1, -1)[:1])
        many = type(posterior)(*(part.expand(20_000, -1) for part in posterior))
        drawn = many.sample(generator=torch.Generator().manual_seed(3))
    sigma = (0.5 * posterior.log_variance[0]).exp()
    assert torch.allclose(drawn.mean(dim=0), posterior.mean[0], atol=0.03)
    assert torch.allclose(drawn.std(dim=0), sigma, rtol=0.03)


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    model = VariationalAutoencoder(input_size=16, width=4, depth=2, latent_size=5)
    model.log_sigma.data.fill_(-1.2)
    decoded, images = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    theirs = Normal(decoded, torch.tensor(-1.2).exp()).log_prob(images)
    assert torch.allclose(model.log_likelihood(decoded, images), theirs, atol=1e-5)


def test_the_bound_is_likelihood_minus_divergence_and_rises_with_nothing_but_draws() -> None:
    torch.manual_seed(1)
    model = VariationalAutoencoder(input_size=16, width=4, depth=2, latent_size=5).eval()
    images = torch.rand(3, 3, 16, 16)
    with torch.inference_mode():
        bound = model.elbo(images, samples=2, generator=torch.Generator().manual_seed(5))
        probability = model.log_probability_map(images, samples=2, generator=torch.Generator().manual_seed(5))
        again = model.elbo(images, samples=2, generator=torch.Generator().manual_seed(5))
        divergence = model.posterior(images).divergence()
    assert probability.shape == (3, 16, 16)
    assert torch.allclose(bound, 3 * probability.sum(dim=(1, 2)) - divergence, rtol=1e-4)
    assert torch.equal(bound, again)
    loss = model.loss(images)
    total = loss.reconstruction.item() + loss.divergence.item() / (3 * 16 * 16)
    assert loss.total.item() == pytest.approx(total)


def test_the_learned_sigma_becomes_the_error_that_is_left() -> None:
    """Rybkin et al. 2021, equation 6: the best sigma is the root of the mean squared error."""
    torch.manual_seed(0)
    model = VariationalAutoencoder(input_size=16, channels=1, width=4, depth=2, latent_size=2).eval()
    images = pictures(16, channels=1, size=16)
    optimizer = torch.optim.Adam([model.log_sigma], lr=2e-2)
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(images).total.backward()
        optimizer.step()
    with torch.inference_mode():
        left = (model.decode(model.posterior(images).sample()) - images).square().mean().sqrt()
    assert model.log_sigma.exp().item() == pytest.approx(left.item(), rel=0.02)
    assert model.log_sigma.item() > MIN_LOG_SIGMA


def test_generated_images_are_repeatable_and_differ() -> None:
    model = VariationalAutoencoder(input_size=16, width=4, depth=2, latent_size=5).eval()
    first = model.generate(3, generator=torch.Generator().manual_seed(1))
    assert first.shape == (3, 3, 16, 16)
    assert torch.equal(first, model.generate(3, generator=torch.Generator().manual_seed(1)))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvAutoencoder(input_size=100, depth=4), "multiple of 2\\*\\*depth = 16"),
        (lambda: ConvAutoencoder(width=0), "width and depth"),
        (lambda: DenseAutoencoder(hidden=()), "at least one layer"),
        (lambda: DenseAutoencoder(channels=2), "channels must be 1"),
        (lambda: DenseAutoencoder(latent_size=0), "latent_size"),
        (lambda: DenseAutoencoder(error="l7"), "mse or mae"),  # type: ignore[arg-type]
        (lambda: VariationalAutoencoder(beta=0.0), "beta"),
    ],
)
def test_what_cannot_be_built_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
