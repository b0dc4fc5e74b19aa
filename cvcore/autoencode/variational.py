"""The variational autoencoder (Kingma and Welling 2013, Auto-Encoding Variational Bayes)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cvcore.autoencode.base import AutoencoderLoss
from cvcore.autoencode.conv import ConvAutoencoder

MIN_LOG_SIGMA = math.log(0.5 / 255)
"""Half a gray level: what 8 bits can tell."""


class Posterior(NamedTuple):
    """q(z|x), a normal distribution with a diagonal covariance: mean and log variance, (B, D) each."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, *, generator: torch.Generator | None = None, alike: bool = False) -> Tensor:
        """One z for each image, by reparameterisation: mean + sigma * noise (section 2.4).

        `alike` uses one draw of the noise for all images: what an image gets does not depend on its batch.
        """
        noise = torch.empty_like(self.mean[:1] if alike else self.mean).normal_(generator=generator)
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def divergence(self) -> Tensor:
        """KL(q(z|x) || N(0, I)), (B,), nats (appendix B)."""
        terms = 1 + self.log_variance - self.mean.square() - self.log_variance.exp()
        return -0.5 * terms.sum(dim=1)


class VariationalAutoencoder(ConvAutoencoder):
    """A `ConvAutoencoder` whose encoder gives a distribution; its decoder can be fed from the prior.

    The likelihood p(x|z) is normal around the decoded image with one standard deviation for all pixels, which
    is learned, so that the two terms of the loss need no weights between them (Rybkin et al. 2021, Simple and
    Effective VAE Training with Calibrated Decoders).

    `encode` gives the mean: it is deterministic.
    """

    def __init__(
        self,
        *,
        input_size: int = 128,
        channels: int = 3,
        width: int = 32,
        depth: int = 4,
        latent_size: int = 64,
        beta: float = 1.0,
    ) -> None:
        super().__init__(
            input_size=input_size,
            channels=channels,
            width=width,
            depth=depth,
            latent_size=latent_size,
            error="mse",
        )
        if not beta > 0:
            raise ValueError(f"beta must be above 0, got {beta}")
        self.beta = beta
        self.to_log_variance = nn.Linear(self.to_latent.in_features, latent_size)
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def posterior(self, images: Tensor) -> Posterior:
        """q(z|x) of each image."""
        features = self.features(images)
        # Beyond these bounds exp() leaves what float32 and bfloat16 can hold.
        return Posterior(self.to_latent(features), self.to_log_variance(features).clamp(-20.0, 20.0))

    def log_likelihood(self, decoded: Tensor, images: Tensor) -> Tensor:
        """log p(x|z) of each pixel, of the shape of `images`, nats."""
        log_sigma = self.log_sigma.clamp(min=MIN_LOG_SIGMA)
        scaled = (images - decoded) * (-log_sigma).exp()
        return -0.5 * scaled.square() - log_sigma - 0.5 * math.log(2 * math.pi)

    def loss(self, images: Tensor, targets: Tensor | None = None) -> AutoencoderLoss:
        """The negative of the evidence's lower bound (equation 10, one sample), an image; KL times `beta`.

        Divided by the number of values of an image, so that it compares with other sizes' losses.
        """
        wanted = images if targets is None else targets
        posterior = self.posterior(images)
        decoded = self.decode(posterior.sample())
        values = wanted[0].numel()
        reconstruction = -self.log_likelihood(decoded, wanted).mean()
        divergence = posterior.divergence().mean()
        return AutoencoderLoss(reconstruction + self.beta * divergence / values, reconstruction, divergence)

    def elbo(self, images: Tensor, *, samples: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """The evidence's lower bound of each image, (B,), nats: the mean over `samples` draws."""
        posterior = self.posterior(images)
        return (
            self._mean_log_likelihood(images, posterior, samples, generator).sum(dim=(1, 2, 3))
            - posterior.divergence()
        )

    def log_probability_map(
        self, images: Tensor, *, samples: int = 8, generator: torch.Generator | None = None
    ) -> Tensor:
        """The reconstruction probability (An and Cho 2015, algorithm 4) of each pixel, (B, H, W), as its log.

        The mean over `samples` draws, alike for all images, and over channels of log p(x|z).
        """
        posterior = self.posterior(images)
        return self._mean_log_likelihood(images, posterior, samples, generator).mean(dim=1)

    def _mean_log_likelihood(
        self, images: Tensor, posterior: Posterior, samples: int, generator: torch.Generator | None
    ) -> Tensor:
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        total = torch.zeros_like(images)
        for _ in range(samples):
            total += self.log_likelihood(
                self.decode(posterior.sample(generator=generator, alike=True)), images
            )
        return total / samples

    @torch.inference_mode()
    def generate(self, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """`count` images decoded from z drawn from the prior N(0, I)."""
        device = self.log_sigma.device
        latents = torch.empty(count, self.latent_size, device=device).normal_(generator=generator)
        return self.decode(latents)
