"""Little pictures of a plate, normal or with a hole, and a model that was trained on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cvcore.autoencode.conv import ConvAutoencoder
from cvcore.checkpoint import save_checkpoint
from tests.corpus import encode

SIZE = 32
CONFIG = {"input_size": SIZE, "channels": 1, "width": 4, "depth": 2, "latent_size": 6}


def plate(seed: int, *, hole: bool = False, light: float = 0.0) -> bytes:
    """A PNG of 40 x 36 pixels: a shaded square with noise; a hole is dark."""
    rng = np.random.default_rng(seed)
    columns = np.broadcast_to(np.arange(40), (36, 40))
    gray = 120 + 2 * columns + rng.normal(0, 4) + rng.normal(0, 3, (36, 40)) + light
    gray[8:28, 8:32] += 40
    if hole:
        top, left = rng.integers(10, 18), rng.integers(10, 22)
        gray[top : top + 9, left : left + 9] = 10
    return encode(Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).convert("RGB"), "PNG")


def write_plates(folder: Path, count: int, *, seed: int = 0, hole: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index:03d}.png").write_bytes(plate(seed + index, hole=hole))
    return folder


def write_model(folder: Path, *, seed: int = 0) -> Path:
    """A checkpoint as `veedor train` leaves it, of an autoencoder with random weights."""
    torch.manual_seed(seed)
    model = ConvAutoencoder(**CONFIG)  # type: ignore[arg-type]
    body = save_checkpoint(
        model.state_dict(), model="conv_autoencoder", config=CONFIG, labels=(), training={}
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(body)
    return folder
