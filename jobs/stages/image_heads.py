"""What autoencoders make of images: cleaner ones, and codes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor, nn

from cvcore.autoencode.base import Autoencoder
from cvcore.autoencode.coding import Prior, encode_latent
from cvcore.image.fit import Fit
from cvcore.metrics.restoration import mean_ssim, psnr
from cvcore.types import InputSpec
from jobs.schemas import code_schema, restore_schema
from jobs.stages.rows import NON_FINITE, carried_columns, table_of
from jobs.stages.tasks import CodeTask, RestoreTask

NOISE_SEED = 0


class _AutoencoderHead:
    """Canvases through an autoencoder; the whole canvas is the image, since these models stretch."""

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model, Autoencoder), "the driver admits autoencoders only"
        self.model = model
        self.input_spec: InputSpec = model.input_spec


@dataclass(frozen=True, slots=True)
class Restored:
    """A picture as PNG, on the canvas; and what was measured of it, if noise was added."""

    image: bytes
    before: tuple[float, float] | None
    after: tuple[float, float] | None


class RestoreHead(_AutoencoderHead):
    """Canvases to what the autoencoder makes of them."""

    def __init__(self, model: nn.Module, task: RestoreTask) -> None:
        super().__init__(model)
        self._noise = task.noise

    def compute(self, images: Tensor, fits: Sequence[Fit]) -> tuple[Tensor, Tensor | None, Tensor]:
        del fits
        targets = self.model.preprocess(images)
        if not self._noise:
            return targets, None, self.model(targets)
        # The same noise for every image: each is restored alike in any batch.
        generator = torch.Generator().manual_seed(NOISE_SEED)
        noise = torch.empty(targets.shape[1:]).normal_(generator=generator).to(targets.device)
        noisy = (targets + self._noise * noise).clamp(0, 1)
        return targets, noisy, self.model(noisy)

    def finish(self, raw: tuple[Tensor, Tensor | None, Tensor], fits: Sequence[Fit]) -> list[Any]:
        targets, noisy, restored = raw
        before = None if noisy is None else _measured(noisy, targets)
        after = None if noisy is None else _measured(restored, targets)
        found: list[Any] = []
        for index in range(len(fits)):
            if not torch.isfinite(restored[index]).all():
                found.append(NON_FINITE)
                continue
            body = encode_png(restored[index])
            pairs = [None if each is None else each[index] for each in (before, after)]
            found.append(Restored(body, *pairs))
        return found

    def table(self, batch: pa.Table, found: Mapping[int, Any]) -> pa.Table:
        schema = restore_schema()
        columns = carried_columns(batch, found, schema)
        rows = [
            each if isinstance(each := found.get(row), Restored) else None for row in range(batch.num_rows)
        ]
        columns["image"] = pa.array([r and r.image for r in rows], pa.binary())
        for place, name in enumerate(("psnr", "ssim")):
            for moment in ("before", "after"):
                pairs = [r and getattr(r, moment) for r in rows]
                columns[f"{name}_{moment}"] = pa.array([p and p[place] for p in pairs], pa.float32())
        return table_of(batch, columns, schema)


def _measured(images: Tensor, targets: Tensor) -> list[tuple[float, float]]:
    ratios, similarities = psnr(images, targets).tolist(), mean_ssim(images, targets).tolist()
    return list(zip(ratios, similarities, strict=True))


def encode_png(image: Tensor) -> bytes:
    """A picture, (C, H, W) from 0 to 1, as PNG."""
    pixels = (image.float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Coded:
    """A latent vector, (D,), and how near its reconstruction comes, decibels."""

    latent: npt.NDArray[np.float32]
    psnr: float


class CodeHead(_AutoencoderHead):
    """Canvases to codes."""

    def __init__(self, model: nn.Module, task: CodeTask) -> None:
        super().__init__(model)
        self._step = task.step
        self._prior = Prior(*np.load(io.BytesIO(task.prior)).astype(np.float64))

    def compute(self, images: Tensor, fits: Sequence[Fit]) -> tuple[Tensor, Tensor]:
        del fits
        targets = self.model.preprocess(images)
        latents = self.model.encode(targets)
        means = torch.from_numpy(self._prior.means).to(latents)
        delta = self._prior.delta(float(np.float32(self._step)))
        quantised = means + ((latents - means) / delta).round() * delta
        return latents, psnr(self.model.decode(quantised), targets)

    def finish(self, raw: tuple[Tensor, Tensor], fits: Sequence[Fit]) -> list[Any]:
        latents, ratios = raw
        finite = torch.isfinite(latents).all(dim=1).tolist()
        rows = zip(latents.float().cpu().numpy(), ratios.tolist(), finite, strict=True)
        del fits
        return [Coded(latent, ratio) if ok else NON_FINITE for latent, ratio, ok in rows]

    def table(self, batch: pa.Table, found: Mapping[int, Any]) -> pa.Table:
        schema = code_schema()
        columns = carried_columns(batch, found, schema)
        widths, heights = batch.column("width").to_pylist(), batch.column("height").to_pylist()
        codes: list[bytes | None] = []
        ratios: list[float | None] = []
        for row in range(batch.num_rows):
            each = found.get(row)
            if not isinstance(each, Coded):
                codes.append(None)
                ratios.append(None)
                continue
            size = {"width": min(widths[row], 65_535), "height": min(heights[row], 65_535)}
            codes.append(encode_latent(each.latent, self._prior, step=self._step, **size))
            ratios.append(each.psnr)
        columns["code"] = pa.array(codes, pa.binary())
        columns["psnr"] = pa.array(ratios, pa.float32())
        return table_of(batch, columns, schema)
