"""PatchCore: distances of an image's patches to a bounded memory of normal ones.

Roth et al. 2022, Towards Total Recall in Industrial Anomaly Detection. Features are a frozen classifier's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvcore.anomaly.latent import distances
from cvcore.anomaly.maps import smooth
from cvcore.errors import ModelError, TooFewNormalsError
from cvcore.image.normalize import imagenet_floats
from cvcore.types import InputSpec

# Backbone -> the modules, by name, whose outputs are strides 8 and 16 (section 3.1: levels 2 and 3).
LAYERS: dict[str, tuple[str, ...]] = {
    "resnet18": ("layer2", "layer3"),
    "resnet50": ("layer2", "layer3"),
    "squeezenet1_1": ("features.7", "features.12"),
    "wide_resnet50_2": ("layer2", "layer3"),
}
POOL = 3
PROJECTED = 128
MAX_CANDIDATES = 50_000
MAP_SIGMA = 4.0
CHUNK = 2048


@dataclass(frozen=True, slots=True)
class PatchScores:
    """Scores of a batch.

    Attributes:
        images: (B,), the reweighted distance of the farthest patch (equation 7).
        maps: (B, H, W) at the canvas's size: distances, interpolated and smoothed.
    """

    images: Tensor
    maps: Tensor


class PatchCore(nn.Module):
    """A frozen backbone and a memory of normal patches.

    Args:
        backbone: a torchvision classifier, of `LAYERS`.
        input_size: height and width of the canvas, pixels.
        memory_size: patches kept; the memory starts empty.
        neighbors: of the nearest memory item, in the reweighting.
    """

    labels: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        backbone: str = "squeezenet1_1",
        input_size: int = 224,
        memory_size: int = 2000,
        neighbors: int = 9,
    ) -> None:
        super().__init__()
        if backbone not in LAYERS:
            raise ValueError(f"backbone must be one of {', '.join(LAYERS)}, got {backbone!r}")
        if memory_size < 1 or neighbors < 1:
            raise ValueError(
                f"memory_size and neighbors must be at least 1, got {memory_size} and {neighbors}"
            )
        self.input_spec = InputSpec(height=input_size, width=input_size, fit="stretch")
        self.neighbors = neighbors
        self.extractor = _extractor(backbone)
        with torch.inference_mode():
            channels = sum(
                part.shape[1] for part in self._features(torch.zeros(1, 3, input_size, input_size))
            )
        self.register_buffer("memory", torch.zeros(memory_size, channels))
        self.register_buffer("stored", torch.zeros((), dtype=torch.int64))

    memory: Tensor
    stored: Tensor

    def train(self, mode: bool = True) -> PatchCore:
        """Nothing here learns by gradients: the backbone stays in evaluation mode."""
        del mode
        return super().train(False)

    def preprocess(self, canvases: Tensor) -> Tensor:
        """Canvases, (B, H, W, 3) uint8, normalised as the backbone was trained, (B, 3, H, W)."""
        return imagenet_floats(canvases.to(self.memory.device), torch.float32)

    def patches(self, images: Tensor) -> Tensor:
        """Patch features, (B, D, h, w), aware of their surroundings: pooled 3x3, on the finest grid (3.1)."""
        pooled = [
            functional.avg_pool2d(part, POOL, stride=1, padding=POOL // 2) for part in self._features(images)
        ]
        grid = pooled[0].shape[-2:]
        same = [pooled[0]] + [
            functional.interpolate(part, size=grid, mode="bilinear", align_corners=False)
            for part in pooled[1:]
        ]
        return torch.cat(same, dim=1)

    @torch.inference_mode()
    def remember(self, batches: Iterable[Tensor], *, seed: int = 0) -> int:
        """Fill the memory with a coreset of the patches of normal images.

        Args:
            batches: canvases, (B, H, W, 3) uint8; they are gone through once. Of all their patches a uniform
                sample of 50,000 is held, which bounds what it takes.
            seed: of the sample, the projection and the first patch of the coreset.

        Returns:
            How many patches are remembered.

        Raises:
            TooFewNormalsError: without any image.
        """
        generator = torch.Generator().manual_seed(seed)
        reservoir = _Reservoir(MAX_CANDIDATES, self.memory.shape[1], generator)
        for canvases in batches:
            reservoir.add(self.patches(self.preprocess(canvases)).permute(0, 2, 3, 1).flatten(0, 2).cpu())
        candidates = reservoir.rows
        if not len(candidates):
            raise TooFewNormalsError("there is no normal image to remember: give some")
        chosen = coreset(candidates, len(self.memory), generator=generator)
        self.memory.zero_()
        self.memory[: len(chosen)] = candidates[chosen].to(self.memory.device)
        self.stored.fill_(len(chosen))
        return len(chosen)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> PatchScores:
        """Score preprocessed images.

        Raises:
            ModelError: while nothing is remembered.
        """
        count = int(self.stored)
        if not count:
            raise ModelError("this PatchCore remembers no normal images: train it first")
        memory = self.memory[:count]
        features = self.patches(images)
        batch, size, height, width = features.shape
        rows = features.permute(0, 2, 3, 1).reshape(-1, size)
        found = [distances(part, memory).min(dim=1) for part in torch.split(rows, CHUNK)]
        nearest = torch.cat([part.values for part in found]).view(batch, -1)
        items = torch.cat([part.indices for part in found]).view(batch, -1)
        farthest = nearest.argmax(dim=1, keepdim=True)
        scores = self._reweighted(
            rows.view(batch, -1, size)[torch.arange(batch), farthest[:, 0]],
            nearest.gather(1, farthest)[:, 0],
            items.gather(1, farthest)[:, 0],
            memory,
        )
        maps = functional.interpolate(
            nearest.view(batch, 1, height, width),
            size=(self.input_spec.height, self.input_spec.width),
            mode="bilinear",
            align_corners=False,
        )[:, 0]
        return PatchScores(scores, smooth(maps, MAP_SIGMA))

    def _reweighted(self, patches: Tensor, nearest: Tensor, items: Tensor, memory: Tensor) -> Tensor:
        """Equation 7: more where the nearest memory item is itself far from its neighbours."""
        count = min(self.neighbors, len(memory))
        if count < 2:
            return nearest
        around = distances(memory[items], memory).topk(count, dim=1, largest=False).indices
        near = (patches[:, None] - memory[around]).norm(dim=2)
        share = torch.exp(nearest - torch.logsumexp(near, dim=1))
        return (1 - share).clamp(min=0) * nearest

    def _features(self, images: Tensor) -> list[Tensor]:
        return list(self.extractor(images).values())


def coreset(rows: Tensor, size: int, *, generator: torch.Generator) -> Tensor:
    """Indices of `size` rows of (N, D) that leave none far away: the greedy answer to the k-centre problem.

    Algorithm 1: distances are taken in a random projection onto 128 dimensions (Johnson-Lindenstrauss). All
    rows, in order, where there are not more.
    """
    count, width = rows.shape
    if count <= size:
        return torch.arange(count)
    if width > PROJECTED:
        rows = rows @ (torch.randn(width, PROJECTED, generator=generator) / PROJECTED**0.5)
    chosen = torch.empty(size, dtype=torch.int64)
    chosen[0] = torch.randint(count, (1,), generator=generator)[0]
    norms = rows.square().sum(dim=1)
    gap = torch.full((count,), float("inf"))
    for place in range(1, size):
        last = chosen[place - 1]
        gap = torch.minimum(gap, norms + norms[last] - 2 * (rows @ rows[last]))
        gap[last] = -1.0  # never twice, where rounding leaves something above 0
        chosen[place] = gap.argmax()
    return chosen


class _Reservoir:
    """A uniform sample of a stream of rows (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, width: int, generator: torch.Generator) -> None:
        self._rows = torch.empty(size, width)
        self._generator = generator
        self._seen = 0

    @property
    def rows(self) -> Tensor:
        return self._rows[: min(self._seen, len(self._rows))]

    def add(self, rows: Tensor) -> None:
        room = max(0, len(self._rows) - self._seen)
        self._rows[self._seen : self._seen + min(room, len(rows))] = rows[:room]
        late = rows[room:]
        if len(late):
            # Of the row that is the n-th seen, the place is uniform below n; it is kept where there is one.
            numbers = self._seen + room + torch.arange(1, len(late) + 1, dtype=torch.float64)
            chance = torch.rand(len(late), generator=self._generator, dtype=torch.float64)
            places = (chance * numbers).long()
            for row in (places < len(self._rows)).nonzero()[:, 0].tolist():
                self._rows[places[row]] = late[row]
        self._seen += len(rows)


def _extractor(backbone: str) -> nn.Module:
    from torchvision.models import get_model
    from torchvision.models.feature_extraction import create_feature_extractor

    build: Callable[..., Any] = get_model
    network = build(backbone, weights=None).eval().requires_grad_(False)
    extractor: nn.Module = create_feature_extractor(network, return_nodes=list(LAYERS[backbone]))
    return extractor.eval()


def backbone_state(model: PatchCore, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a torchvision classifier that `model` has, under its names, with the model's own memory.

    Layers after those that features are taken from, and the classifying ones, are left out.
    """
    own = model.state_dict()
    renamed = {f"extractor.{name}": value for name, value in state.items()}
    return {name: renamed.get(name, own[name]) for name in own if name in renamed or "." not in name}
