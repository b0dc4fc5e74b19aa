"""What every autoencoder is: z = f(x), x̂ = g(z), and a loss over the two (Hinton and Salakhutdinov 2006)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from cvcore.types import InputSpec

# ITU-R BT.601's luma of R, G and B.
LUMA = (0.299, 0.587, 0.114)
ErrorKind = Literal["mse", "mae"]


@dataclass(frozen=True, slots=True)
class AutoencoderLoss:
    """A batch's loss, each a scalar: `total` is what is minimised.

    Attributes:
        total: reconstruction plus what is asked of the latent vectors.
        reconstruction: how unlike the targets the reconstructions are.
        divergence: of the latent distribution from its prior, in nats an image; 0 where there is none.
    """

    total: Tensor
    reconstruction: Tensor
    divergence: Tensor


class Autoencoder(nn.Module, ABC):
    """An encoder to `latent_size` numbers and a decoder back.

    Images are (B, C, H, W) floats from 0 to 1, C = `channels` (1 is luma) and H, W those of `input_spec`.
    Latent vectors are (B, `latent_size`).
    """

    labels: tuple[str, ...] = ()

    def __init__(self, *, input_size: int, channels: int, latent_size: int, error: ErrorKind) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 (gray) or 3 (colour), got {channels}")
        if latent_size < 1:
            raise ValueError(f"latent_size must be at least 1, got {latent_size}")
        if error not in ("mse", "mae"):
            raise ValueError(f"error must be mse or mae, got {error!r}")
        self.input_spec = InputSpec(height=input_size, width=input_size, fit="stretch")
        self.channels = channels
        self.latent_size = latent_size
        self.error: ErrorKind = error

    def preprocess(self, canvases: Tensor) -> Tensor:
        """Canvases, (B, H, W, 3) uint8, as images on the model's device."""
        images = canvases.to(next(self.parameters()).device).permute(0, 3, 1, 2).float() / 255
        if self.channels == 1:
            images = (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        return images

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Images to latent vectors."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latent vectors to images."""

    def forward(self, images: Tensor) -> Tensor:
        """Images to their reconstructions."""
        return self.decode(self.encode(images))

    def loss(self, images: Tensor, targets: Tensor | None = None) -> AutoencoderLoss:
        """The mean error of pixels against `targets`: the images themselves, unless they are to be denoised.

        A denoising autoencoder (Vincent et al. 2008) sees corrupted `images` and is held to clean `targets`.
        """
        difference = self(images) - (images if targets is None else targets)
        mean = difference.square().mean() if self.error == "mse" else difference.abs().mean()
        return AutoencoderLoss(mean, mean, torch.zeros_like(mean))
