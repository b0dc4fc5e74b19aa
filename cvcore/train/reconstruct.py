"""Training autoencoders: their loss on a batch of canvases, and on held-out ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cvcore.autoencode.base import Autoencoder
from cvcore.train.progress import Terms

Canvases = Tensor
"""(B, H, W, 3) uint8 RGB."""


class LossModule(nn.Module):
    """An autoencoder's loss as a module's forward pass, which is what a distributed wrapper can wrap."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """The terms of `AutoencoderLoss`, (3,)."""
        loss = self.model.loss(images, targets)
        return torch.stack([loss.total, loss.reconstruction, loss.divergence])


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """How training differs from showing the images as they are.

    Attributes:
        mirror: show half of the images mirrored, left to right, and half of all upside down.
        noise: standard deviation of normal noise on what the encoder sees, in units of the range 0 to 1; the
            targets stay clean (a denoising autoencoder).
    """

    mirror: bool = False
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise ValueError(f"noise must not be negative, got {self.noise}")


def autoencoder_loss(
    model: Autoencoder,
    network: nn.Module,
    views: ViewOptions,
    *,
    generator: torch.Generator,
    bf16: bool = False,
) -> Callable[[Canvases], Terms]:
    """What `Progress` computes for an autoencoder: terms `total`, `reconstruction` and `divergence`.

    Args:
        model: the bare model.
        network: a `LossModule` of it, or its distributed wrapper.
        views: what is shown.
        generator: of the views; on the CPU.
        bf16: run the forward pass in bfloat16 where the operator allows; weights stay float32.
    """

    def compute(canvases: Canvases) -> Terms:
        targets = model.preprocess(canvases)
        if views.mirror:
            targets = _mirrored(targets, generator)
        images = targets
        if views.noise:
            noise = torch.empty(targets.shape).normal_(generator=generator).to(targets.device)
            images = (targets + views.noise * noise).clamp(0, 1)
        with torch.autocast(targets.device.type, dtype=torch.bfloat16, enabled=bf16):
            total, reconstruction, divergence = network(images, targets)
        return {"total": total, "reconstruction": reconstruction, "divergence": divergence}

    return compute


def _mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    for dim in (2, 3):
        chosen = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
        images = torch.where(chosen[:, None, None, None], images.flip(dim), images)
    return images


@torch.inference_mode()
def held_out_loss(model: Autoencoder, batches: Iterable[Canvases]) -> float:
    """The mean total loss an image, in evaluation mode; draws of a posterior are the same every time.

    Its negative is the score of `cvcore.train.epochs.run_epochs`.
    """
    total, count = 0.0, 0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for canvases in batches:
            images = model.preprocess(canvases)
            total += float(model.loss(images).total) * len(canvases)
            count += len(canvases)
    if not count:
        raise ValueError("there are no held-out images")
    return total / count
