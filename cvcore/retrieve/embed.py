"""One vector an image: an autoencoder's latent vector, or the mean of a frozen backbone's patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cvcore.anomaly.memory_bank import PatchCore
from cvcore.autoencode.base import Autoencoder
from cvcore.errors import ModelError


def embedding_size_of(model: nn.Module) -> int | None:
    """Numbers of a model's embeddings; None for a model without."""
    if isinstance(model, PatchCore):
        return int(model.memory.shape[1])
    return model.latent_size if isinstance(model, Autoencoder) else None


@torch.inference_mode()
def embed(model: nn.Module, canvases: Tensor) -> Tensor:
    """Embeddings, (B, D) float32 on the CPU, of (B, H, W, 3) uint8 canvases: each alike in any batch.

    Raises:
        ModelError: for a model without.
    """
    if isinstance(model, PatchCore):
        return model.patches(model.preprocess(canvases)).mean(dim=(2, 3)).float().cpu()
    if isinstance(model, Autoencoder):
        return model.encode(model.preprocess(canvases)).float().cpu()
    raise ModelError(f"a {type(model).__name__} gives no embeddings: use an autoencoder or patchcore")
