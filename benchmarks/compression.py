"""Rate and distortion of an autoencoder's codes, beside JPEG files of equal size.

    python benchmarks/compression.py [--json] [--epochs 40]

Magnetic tile surfaces, stretched onto 128 x 128 gray pixels: trained on 320 normal ones, its prior from 80
others, measured on 100 more. JPEG is Pillow's at the quality whose files come nearest in mean size; at its
smallest it is still larger than a code.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from anomaly_scores import BATCH, HELD_OUT, SEED, load, train
from common import Claim, argument_parser, report
from PIL import Image
from torch import Tensor

from cvcore.anomaly.scorers import latent_vectors
from cvcore.autoencode.base import Autoencoder
from cvcore.autoencode.coding import Prior, decode_latent, encode_latent
from cvcore.autoencode.conv import ConvAutoencoder
from cvcore.metrics.restoration import mean_ssim, psnr
from tests.data import shared_data

STEPS = (4.0, 2.0, 1.0, 0.5, 0.25)


def to_jpeg(images: Tensor, quality: int) -> tuple[float, Tensor]:
    """Mean bytes, and what comes back, (B, 1, H, W)."""
    sizes, back = [], []
    for image in (images[:, 0] * 255).round().byte().numpy():
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
        sizes.append(len(buffer.getvalue()))
        back.append(np.asarray(Image.open(buffer)))
    return float(np.mean(sizes)), torch.from_numpy(np.stack(back))[:, None].float() / 255


@torch.inference_mode()
def code(model: Autoencoder, images: Tensor, prior: Prior, step: float) -> tuple[float, Tensor]:
    latents = model.encode(images).numpy()
    codes = [encode_latent(latent, prior, step=step, width=128, height=128) for latent in latents]
    back = np.stack([decode_latent(each, prior).latent for each in codes])
    return float(np.mean([len(each) for each in codes])), model.decode(torch.from_numpy(back).float())


def quality_of(images: Tensor, found: tuple[float, Tensor]) -> dict[str, float]:
    return {
        "bytes": found[0],
        "psnr": float(psnr(found[1], images).mean()),
        "ssim": float(mean_ssim(found[1], images).mean()),
    }


def main() -> None:
    parser = argument_parser("compression", __doc__)
    parser.add_argument("--epochs", type=int, default=40)
    asked = parser.parse_args()
    root = shared_data("anomaly", "magnetic-tile")
    torch.manual_seed(SEED)
    model = ConvAutoencoder(channels=1, width=16, latent_size=64)
    normal = load(sorted((root / "train" / "good").iterdir()), model.input_spec)
    order = torch.randperm(len(normal), generator=torch.Generator().manual_seed(SEED))
    held_out = normal[order[:HELD_OUT]]
    train(model, normal[order[HELD_OUT:]], held_out, epochs=asked.epochs)
    prior = Prior.fit(latent_vectors(model, held_out.split(BATCH)).numpy())
    images = model.preprocess(load(sorted((root / "test" / "good").iterdir()), model.input_spec))
    jpegs = {quality: quality_of(images, to_jpeg(images, quality)) for quality in range(1, 96, 2)}
    rows: list[dict[str, Any]] = []
    claims = []
    for step in STEPS:
        ours = quality_of(images, code(model, images, prior, step))
        nearest = min(jpegs, key=lambda quality: abs(jpegs[quality]["bytes"] - ours["bytes"]))
        jpeg = jpegs[nearest]
        rows.append({"step": step, "code": ours, "jpeg_quality": nearest, "jpeg": jpeg})
        claims.append(
            Claim(
                f"codes of magnetic tiles, step {step:g}: bytes, PSNR, SSIM; the JPEG nearest in size",
                "",
                f"{ours['bytes']:.0f} bytes, {ours['psnr']:.2f} dB, {ours['ssim']:.3f}; "
                f"JPEG {jpeg['bytes']:.0f} bytes, {jpeg['psnr']:.2f} dB, {jpeg['ssim']:.3f}",
            )
        )
    best = max(row["code"]["psnr"] for row in rows)
    beaten = next((quality for quality in sorted(jpegs) if jpegs[quality]["psnr"] > best), None)
    if beaten is not None:
        claims.append(
            Claim(
                "codes of magnetic tiles: JPEG's size from which on it is nearer than any code",
                "",
                f"{jpegs[beaten]['bytes']:.0f} bytes (quality {beaten}, {jpegs[beaten]['psnr']:.2f} dB)",
            )
        )
    report("compression", claims, {"rows": rows, "jpeg": jpegs}, asked.json)


if __name__ == "__main__":
    main()
