"""Pictures that a variational autoencoder makes up."""

from __future__ import annotations

import torch

from cvcore.autoencode.variational import VariationalAutoencoder
from cvcore.errors import ModelError, SpecError
from cvcore.models import build_model
from jobs.model_files import fetch_model
from jobs.spec import ModelSection
from jobs.stages.image_heads import encode_png
from jobs.storage import Access, join, open_store, resolve_location

MAX_AT_ONCE = 64


def generate_images(model: str, out: str, *, num: int, seed: int, access: Access) -> list[str]:
    """Write `num` samples as PNG, on the model's canvas; returns where. The same seed gives the same.

    Raises:
        SpecError: for no samples.
        ModelError: for a model that is no variational autoencoder.
    """
    if num < 1:
        raise SpecError(f"--num must be at least 1, got {num}")
    network = build_model(fetch_model(ModelSection(name=model), access).source)
    if not isinstance(network, VariationalAutoencoder):
        raise ModelError(f"{model} cannot generate: train a vae (veedor train IMAGES --model vae)")
    target = resolve_location(out).rstrip("/")
    store = open_store(target, access)
    generator = torch.Generator().manual_seed(seed)
    written: list[str] = []
    while len(written) < num:
        for image in network.generate(min(MAX_AT_ONCE, num - len(written)), generator=generator):
            uri = join(target, f"{len(written):05d}.png")
            store.put(uri, encode_png(image))
            written.append(uri)
    return written
