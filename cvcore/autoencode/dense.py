"""The dense autoencoder: layers of halving width, mirrored (Hinton and Salakhutdinov 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from cvcore.autoencode.base import Autoencoder, ErrorKind


class DenseAutoencoder(Autoencoder):
    """Pixels through `hidden` layers to the latent vector, and through as many back.

    Args:
        input_size: height and width, pixels.
        channels: 1 or 3.
        hidden: units of the encoder's layers, in order; the decoder has them reversed.
        latent_size: numbers of the latent vector.
        error: of pixels, `mse` or `mae`.
    """

    def __init__(
        self,
        *,
        input_size: int = 64,
        channels: int = 3,
        hidden: Sequence[int] = (1000, 500, 250),
        latent_size: int = 32,
        error: ErrorKind = "mse",
    ) -> None:
        super().__init__(input_size=input_size, channels=channels, latent_size=latent_size, error=error)
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden needs at least one layer of at least one unit, got {list(hidden)}")
        shape = (channels, input_size, input_size)
        widths = [channels * input_size**2, *hidden]
        self.encoder = nn.Sequential(nn.Flatten(), *_layers(widths), nn.Linear(widths[-1], latent_size))
        back = [latent_size, *reversed(hidden)]
        self.decoder = nn.Sequential(
            *_layers(back), nn.Linear(back[-1], widths[0]), nn.Sigmoid(), nn.Unflatten(1, shape)
        )

    def encode(self, images: Tensor) -> Tensor:
        latents: Tensor = self.encoder(images)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        images: Tensor = self.decoder(latents)
        return images


def _layers(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    return layers
