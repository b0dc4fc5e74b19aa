"""How well every score of every model tells defects from normal tiles: images and pixels.

    python benchmarks/anomaly_scores.py [--json] [--epochs 60] [--models conv vae ...]

Magnetic tile surfaces (400 normal ones to train on, of which 80 are held out for early stopping and for the
latent scores' normals; 100 normal and 392 defective ones to test). Everything is stretched onto one canvas;
pixel figures are taken on the canvas, against masks that are stretched alike. The memory bank's backbone is
SqueezeNet 1.1 trained on ImageNet; beside it PyPI's anomalib runs its own PatchCore, on the same canvases
with the same backbone, layers, neighbours and number of patches, sampled and remembered.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from common import Claim, argument_parser, report
from torch import Tensor
from torchvision.models import get_model

from cvcore.anomaly.memory_bank import LAYERS, MAX_CANDIDATES, PatchCore, backbone_state
from cvcore.anomaly.options import ScoreOptions
from cvcore.anomaly.scorers import Scores, all_scores, latent_vectors
from cvcore.autoencode.base import Autoencoder
from cvcore.autoencode.conv import ConvAutoencoder
from cvcore.autoencode.dense import DenseAutoencoder
from cvcore.autoencode.variational import VariationalAutoencoder
from cvcore.checkpoint import load_into, read_state_dict
from cvcore.image.decode import decode_to_canvas
from cvcore.metrics.anomaly import Ranking, aupro
from cvcore.train.epochs import run_epochs
from cvcore.train.progress import OptimizeOptions, Progress
from cvcore.train.reconstruct import LossModule, ViewOptions, autoencoder_loss, held_out_loss
from cvcore.types import InputSpec
from tests.data import shared_data

PEERS = Path(sys.prefix) / "anomaly_peers"
BATCH = 16
HELD_OUT = 80
SEED = 0
MODELS: dict[str, Callable[[], Autoencoder | PatchCore]] = {
    "dense_autoencoder": lambda: DenseAutoencoder(input_size=64, channels=1, latent_size=32),
    "conv_autoencoder": lambda: ConvAutoencoder(channels=1, width=16, latent_size=64),
    "vae": lambda: VariationalAutoencoder(channels=1, width=16, latent_size=64),
    "patchcore": lambda: PatchCore(backbone="squeezenet1_1", input_size=224, memory_size=2000),
}


class Scoring(Protocol):
    """What scores a batch of canvases."""

    def score(self, canvases: Tensor) -> Scores: ...


class AnomalibPatchCore:
    """anomalib's PatchCore in the place of ours."""

    def __init__(self, ours: PatchCore, normal: Tensor) -> None:
        sys.path.insert(0, str(PEERS))
        from anomalib.models.image.patchcore.torch_model import PatchcoreModel

        network = get_model("squeezenet1_1", weights=None)
        own = ours.extractor.state_dict()
        network.load_state_dict(own, strict=False)
        torch.manual_seed(SEED)
        self._ours = ours
        self._model = PatchcoreModel(
            layers=LAYERS["squeezenet1_1"], backbone=network, num_neighbors=ours.neighbors
        )
        self._model.train()
        with torch.no_grad():
            for part in normal.split(BATCH):
                self._model(ours.preprocess(part))
        # Of a sample as large as ours: all of them would take it hours.
        patches = torch.cat(self._model.embedding_store)
        self._model.embedding_store = [patches[torch.randperm(len(patches))[:MAX_CANDIDATES]]]
        self._model.subsample_embedding(len(ours.memory) / MAX_CANDIDATES)
        self._model.eval()

    @torch.inference_mode()
    def score(self, canvases: Tensor) -> Scores:
        found = self._model(self._ours.preprocess(canvases))
        return Scores(found.pred_score.flatten(), found.anomaly_map[:, 0])


def load(paths: list[Path], spec: InputSpec) -> Tensor:
    """Images on the canvas, (N, H, W, 3) uint8."""
    drawn = [decode_to_canvas(path.read_bytes(), spec, name=path.name).canvas for path in paths]
    return torch.from_numpy(np.stack(drawn))


def train(model: Autoencoder, images: Tensor, held_out: Tensor, *, epochs: int) -> Autoencoder:
    """The averaged weights of the epoch that reconstructs held-out images best."""
    network = LossModule(model)
    compute = autoencoder_loss(
        model, network, ViewOptions(mirror=True), generator=torch.Generator().manual_seed(SEED)
    )
    steps = epochs * (len(images) // BATCH)
    progress = Progress(model, network, compute, OptimizeOptions(2e-3, steps, 50))
    best: dict[str, Tensor] = {}

    def batches(epoch: int) -> list[Tensor]:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        return [part for part in images[order].split(BATCH) if len(part) == BATCH]

    def measure() -> tuple[float, None]:
        return -held_out_loss(progress.average.model, held_out.split(BATCH)), None

    for seen in run_epochs(progress, batches, measure, epochs=epochs):
        if seen.is_best:
            best = {name: value.clone() for name, value in progress.average.model.state_dict().items()}
    model.load_state_dict(best)
    return model.eval()


def measure(name: str, *, epochs: int) -> dict[str, Any]:
    """A model's figures by score."""
    root = shared_data("anomaly", "magnetic-tile")
    torch.manual_seed(SEED)
    model = MODELS[name]()
    normal = load(sorted((root / "train" / "good").iterdir()), model.input_spec)
    order = torch.randperm(len(normal), generator=torch.Generator().manual_seed(SEED))
    fit, held_out = normal[order[HELD_OUT:]], normal[order[:HELD_OUT]]
    tests = sorted(path for path in (root / "test").glob("*/*"))
    shown = load(tests, model.input_spec)
    masks = [mask_of(root, path, model.input_spec) for path in tests]
    began = time.perf_counter()
    normals = None
    if isinstance(model, PatchCore):
        weights = shared_data("weights", "squeezenet1_1-imagenet", "squeezenet1_1.safetensors")
        state = read_state_dict(weights.read_bytes(), name=weights.name)
        load_into(model, backbone_state(model, state))
        model.remember(normal.split(BATCH), seed=SEED)
    else:
        train(model, fit, held_out, epochs=epochs)
        normals = latent_vectors(model, held_out.split(BATCH))
    figures: dict[str, Any] = {"train_s": time.perf_counter() - began, "scores": {}}
    anomalous = [path.parent.name != "good" for path in tests]
    scorers: dict[str, Scoring] = dict(all_scores(model, ScoreOptions(), normals=normals))
    if isinstance(model, PatchCore):
        scorers["patches, by anomalib"] = AnomalibPatchCore(model, normal)
    for score, scorer in scorers.items():
        began = time.perf_counter()
        found = [scorer.score(part) for part in shown.split(BATCH)]
        seconds = time.perf_counter() - began
        ranking = Ranking.of(torch.cat([part.raw for part in found]).numpy(), anomalous)
        row = {
            "image_auroc": ranking.auroc(),
            "image_ap": ranking.average_precision(),
            "images_per_s": len(tests) / seconds,
        }
        if found[0].maps is not None:
            maps = torch.cat([part.maps for part in found if part.maps is not None]).numpy()
            row["pixel_auroc"] = Ranking.of(maps, np.stack(masks)).auroc()
            row["aupro"] = aupro(list(maps), masks)
        figures["scores"][score] = row
    return figures


def mask_of(root: Path, path: Path, spec: InputSpec) -> np.ndarray:
    """Where a test image is defective, on the canvas."""
    file = root / "masks" / path.parent.name / f"{path.stem}.png"
    if path.parent.name == "good":
        return np.zeros((spec.height, spec.width), bool)
    return decode_to_canvas(file.read_bytes(), spec, name=file.name).canvas[..., 0] > 127


def main() -> None:
    parser = argument_parser("anomaly_scores", __doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    asked = parser.parse_args()
    results = {name: measure(name, epochs=asked.epochs) for name in asked.models}
    claims = []
    for name, figures in results.items():
        for score, row in figures["scores"].items():
            pixels = (
                f", pixel AUROC {row['pixel_auroc']:.3f}, AUPRO {row['aupro']:.3f}" if "aupro" in row else ""
            )
            claims.append(
                Claim(
                    f"magnetic tiles, {name}, {score}",
                    "",
                    f"image AUROC {row['image_auroc']:.3f}, AP {row['image_ap']:.3f}{pixels}",
                )
            )
    report("anomaly_scores", claims, results, asked.json)


if __name__ == "__main__":
    main()
