"""Every score of every model, by name: canvases in; a number an image, and a map where there is one, out.

Higher is more anomalous, always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cvcore.anomaly.latent import Mahalanobis, NearestNeighbors
from cvcore.anomaly.maps import error_map, reduce_map, smooth
from cvcore.anomaly.memory_bank import PatchCore
from cvcore.anomaly.options import LATENT, MAP_KINDS, ScoreName, ScoreOptions
from cvcore.autoencode.base import Autoencoder
from cvcore.autoencode.variational import VariationalAutoencoder
from cvcore.errors import ModelError

DRAWS = 8
"""Of the posterior, for `probability` and `elbo`."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Of a batch.

    Attributes:
        raw: (B,) float32.
        maps: (B, H, W) float32 on the canvas, or None where the score has no place in the image.
        latents: (B, D) float32, of autoencoders.
    """

    raw: Tensor
    maps: Tensor | None
    latents: Tensor | None = None


def scores_of(model: nn.Module) -> tuple[ScoreName, ...]:
    """The scores that a model can give; the first is its default.

    Raises:
        ModelError: for a model that gives none.
    """
    if isinstance(model, PatchCore):
        return ("patches",)
    if isinstance(model, VariationalAutoencoder):
        return ("probability", *MAP_KINDS, "elbo", *LATENT)
    if isinstance(model, Autoencoder):
        return (*MAP_KINDS, *LATENT)
    raise ModelError(f"a {type(model).__name__} gives no anomaly scores: use an autoencoder or patchcore")


def latent_size_of(model: nn.Module) -> int | None:
    """Numbers of a model's latent vectors; None for a model without."""
    return model.latent_size if isinstance(model, Autoencoder) else None


@torch.inference_mode()
def latent_vectors(model: Autoencoder, batches: Iterable[Tensor]) -> Tensor:
    """Latent vectors, (N, D) on the CPU, of canvases in batches of (B, H, W, 3) uint8."""
    found = [model.encode(model.preprocess(canvases)).float().cpu() for canvases in batches]
    return torch.cat(found) if found else torch.zeros(0, model.latent_size)


class Scorer:
    """A model and one of its scores.

    Args:
        model: in evaluation mode.
        name: of `scores_of(model)`.
        options: how maps become scores.
        normals: latent vectors of normal images, (N, D), for the scores in `LATENT`.

    Raises:
        ModelError: for a score that the model does not give, or one that misses its normals.
        TooFewNormalsError: for normals that a latent score cannot be fitted to.
    """

    def __init__(
        self,
        model: nn.Module,
        name: ScoreName,
        options: ScoreOptions,
        *,
        normals: Tensor | None = None,
    ) -> None:
        known = scores_of(model)
        if name not in known:
            raise ModelError(
                f"a {type(model).__name__} does not give the score {name!r}: choose one of {', '.join(known)}"
            )
        self.model = model
        self.name = name
        self._options = options
        self._latent: Mahalanobis | NearestNeighbors | None = None
        if name in LATENT:
            if normals is None:
                raise ModelError(
                    f"the score {name!r} needs the latent vectors of normal images: calibrate first"
                )
            if name == "mahalanobis":
                self._latent = Mahalanobis.fit(normals)
            else:
                self._latent = NearestNeighbors(normals, options.neighbors)

    @torch.inference_mode()
    def score(self, canvases: Tensor) -> Scores:
        """Score (B, H, W, 3) uint8 canvases: each alike, whatever else is in the batch."""
        model = self.model
        if isinstance(model, PatchCore):
            found = model(model.preprocess(canvases))
            return Scores(found.images.float().cpu(), found.maps.float().cpu())
        assert isinstance(model, Autoencoder)
        images = model.preprocess(canvases)
        encoded = model.encode(images)
        latents = encoded.float().cpu()
        if self._latent is not None:
            return Scores(self._latent.score(latents), None, latents)
        if isinstance(model, VariationalAutoencoder) and self.name in ("probability", "elbo"):
            return replace(self._by_likelihood(model, images), latents=latents)
        maps = error_map(images, model.decode(encoded), self.name)  # type: ignore[arg-type]
        return replace(self._reduced(maps), latents=latents)

    def _by_likelihood(self, model: VariationalAutoencoder, images: Tensor) -> Scores:
        generator = torch.Generator(images.device).manual_seed(0)
        if self.name == "elbo":
            return Scores(-model.elbo(images, samples=DRAWS, generator=generator).float().cpu(), None)
        return self._reduced(-model.log_probability_map(images, samples=DRAWS, generator=generator))

    def _reduced(self, maps: Tensor) -> Scores:
        maps = smooth(maps.float(), self._options.sigma).cpu()
        return Scores(reduce_map(maps, self._options.reduction), maps)


def all_scores(
    model: nn.Module, options: ScoreOptions, *, normals: Tensor | None = None
) -> Mapping[ScoreName, Scorer]:
    """A scorer for every score that the model can give."""
    return {name: Scorer(model, name, options, normals=normals) for name in scores_of(model)}
