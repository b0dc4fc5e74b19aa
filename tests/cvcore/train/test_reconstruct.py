"""Training autoencoders: learning, denoising, early stopping, and continuing to the same result."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from cvcore.autoencode.base import Autoencoder
from cvcore.autoencode.conv import ConvAutoencoder
from cvcore.autoencode.variational import VariationalAutoencoder
from cvcore.train.epochs import EpochReport, Standing, run_epochs
from cvcore.train.progress import OptimizeOptions, Progress
from cvcore.train.reconstruct import LossModule, ViewOptions, autoencoder_loss, held_out_loss

SIZE, BATCH = 32, 8


def canvases(count: int, seed: int) -> Tensor:
    """Gradients of random directions."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.rand(count, 2, 1, 1, 1, generator=generator)
    axis = torch.linspace(0, 255, SIZE)
    images = (slope[:, 0] * axis[:, None, None] + slope[:, 1] * axis[None, :, None]) / 2
    return images.expand(-1, -1, -1, 3).to(torch.uint8)


TRAIN, HELD_OUT = canvases(48, 1), canvases(16, 2)


def batches(epoch: int) -> Iterator[Tensor]:
    order = torch.randperm(len(TRAIN), generator=torch.Generator().manual_seed(epoch))
    yield from TRAIN[order].split(BATCH)


def start(
    kind: str = "conv", *, epochs: int = 10, views: ViewOptions | None = None
) -> Progress[Autoencoder, Tensor]:
    torch.manual_seed(0)
    build = VariationalAutoencoder if kind == "vae" else ConvAutoencoder
    model = build(input_size=SIZE, channels=1, width=4, depth=3, latent_size=4)
    network = LossModule(model)
    compute = autoencoder_loss(
        model, network, views or ViewOptions(), generator=torch.Generator().manual_seed(0)
    )
    return Progress(model, network, compute, OptimizeOptions(5e-3, epochs * 6, 5), average_decay=0.9)


def epochs_of(
    progress: Progress[Autoencoder, Tensor], epochs: int, **options: object
) -> Iterator[EpochReport[float]]:
    def measure() -> tuple[float, float]:
        loss = held_out_loss(progress.average.model, HELD_OUT.split(BATCH))
        return -loss, loss

    return run_epochs(progress, batches, measure, epochs=epochs, **options)  # type: ignore[arg-type]


def run(progress: Progress[Autoencoder, Tensor], epochs: int, **options: object) -> list[EpochReport[float]]:
    return list(epochs_of(progress, epochs, **options))


@pytest.mark.parametrize("kind", ["conv", "vae"])
def test_the_held_out_loss_falls(kind: str) -> None:
    reports = run(start(kind, epochs=25), 25)
    assert [report.epoch for report in reports] == list(range(25))
    losses = [report.found for report in reports]
    assert losses[-1] < losses[0] - 0.001
    assert min(losses) == -reports[-1].standing.best_score
    assert (reports[-1].terms["divergence"] > 0) == (kind == "vae")


def test_a_run_that_was_cut_off_makes_the_same_steps() -> None:
    whole = start(epochs=4)
    expected = run(whole, 4)
    broken = start(epochs=4)
    first = next(epochs_of(broken, 4))
    continued = start(epochs=4)
    continued.restore(broken.state())
    rest = run(continued, 4, first_epoch=1, standing=first.standing)
    assert [first, *rest] == expected
    for mine, theirs in zip(
        continued.model.state_dict().values(), whole.model.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_patience_ends_a_run_that_does_not_improve() -> None:
    reports = run(start(), 10, patience=2, first_epoch=1, standing=Standing(0, 100.0))
    assert [report.epoch for report in reports] == [1, 2]
    assert not any(report.is_best for report in reports)


def test_a_denoising_autoencoder_takes_noise_away() -> None:
    progress = start(epochs=60, views=ViewOptions(noise=0.2))
    run(progress, 60)
    model = progress.average.model
    clean = model.preprocess(HELD_OUT)
    noisy = (clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))).clamp(0, 1)
    with torch.inference_mode():
        denoised = model(noisy)
    assert (denoised - clean).square().mean() < 0.5 * (noisy - clean).square().mean()


def test_mirrored_views_are_of_the_same_pixels() -> None:
    seen: list[Tensor] = []

    class Watching(LossModule):
        def forward(self, images: Tensor, targets: Tensor) -> Tensor:
            seen.append(targets)
            return super().forward(images, targets)

    model = ConvAutoencoder(input_size=SIZE, channels=1, width=2, depth=2, latent_size=2)
    views = ViewOptions(mirror=True)
    autoencoder_loss(model, Watching(model), views, generator=torch.Generator().manual_seed(1))(TRAIN)
    plain = model.preprocess(TRAIN)
    kinds = [lambda x: x, lambda x: x.flip(1), lambda x: x.flip(2), lambda x: x.flip(1, 2)]
    counts = [0] * 4
    for shown, image in zip(seen[0], plain, strict=True):
        matches = [torch.equal(shown, kind(image)) for kind in kinds]
        assert any(matches)
        counts[matches.index(True)] += 1
    assert min(counts) >= 4, "all four ways are shown"


def test_the_held_out_loss_is_repeatable_and_leaves_the_generator_alone() -> None:
    model = VariationalAutoencoder(input_size=SIZE, width=4, depth=3, latent_size=4).eval()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = held_out_loss(model, HELD_OUT.split(BATCH))
    assert torch.equal(torch.rand(1), expected)
    assert held_out_loss(model, HELD_OUT.split(BATCH)) == first
    with pytest.raises(ValueError, match="no held-out images"):
        held_out_loss(model, [])
