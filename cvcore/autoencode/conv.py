"""The convolutional autoencoder: strided convolutions down, a latent vector, nearest upsampling back.

After Masci et al. 2011 (Stacked Convolutional Auto-Encoders). Upsampling is nearest followed by a
convolution, which leaves no checkerboard (Odena et al. 2016, Deconvolution and Checkerboard Artifacts).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from cvcore.autoencode.base import Autoencoder, ErrorKind

MAX_GROWTH = 4
"""Channels grow twofold a stage, up to this many times the first stage's."""


class ConvAutoencoder(Autoencoder):
    """`depth` stages that halve the picture, a linear layer to the latent vector, and the way back.

    Args:
        input_size: height and width, pixels; a multiple of 2**depth.
        channels: 1 or 3.
        width: channels of the first stage.
        depth: stages.
        latent_size: numbers of the latent vector.
        error: of pixels, `mse` or `mae`.
    """

    def __init__(
        self,
        *,
        input_size: int = 128,
        channels: int = 3,
        width: int = 32,
        depth: int = 4,
        latent_size: int = 128,
        error: ErrorKind = "mse",
    ) -> None:
        super().__init__(input_size=input_size, channels=channels, latent_size=latent_size, error=error)
        if width < 1 or depth < 1:
            raise ValueError(f"width and depth must be at least 1, got {width} and {depth}")
        if input_size < 2**depth or input_size % 2**depth:
            raise ValueError(
                f"input_size must be a multiple of 2**depth = {2**depth}, got {input_size}: "
                "change it, or the depth"
            )
        widths = [width * min(2**stage, MAX_GROWTH) for stage in range(depth)]
        grid = input_size // 2**depth
        self.features = nn.Sequential(
            *(_down(*pair) for pair in zip([channels, *widths], widths, strict=False)), nn.Flatten()
        )
        self.to_latent = nn.Linear(widths[-1] * grid**2, latent_size)
        self.from_latent = nn.Linear(latent_size, widths[-1] * grid**2)
        back = [*reversed(widths), width]
        self.pictures = nn.Sequential(
            nn.Unflatten(1, (widths[-1], grid, grid)),
            *(_up(*pair) for pair in pairwise(back)),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def encode(self, images: Tensor) -> Tensor:
        latents: Tensor = self.to_latent(self.features(images))
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        images: Tensor = self.pictures(self.from_latent(latents))
        return images


def _down(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(0.1, inplace=True),
    )


def _up(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(0.1, inplace=True),
    )
