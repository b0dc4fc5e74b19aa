"""Every segmenter's small sibling, trained on neuron membranes, and segmentation-models-pytorch's U-Net.

    python benchmarks/segmenters.py [--json] [--only NAME ...] [--epochs N] [--size PX]

ISBI 2012's 30 images with masks: 24 are learnt from, the 6 of `lists/membrane_held_out.txt` are measured,
with the weights after the last epoch, so that nothing is chosen by them. All train on two threads by the loop
that `veedor train` runs in its worker, with the same views, loss, schedule and number of steps; so does the
peer's network, whose decoder is as wide as makes its parameters about as many as our U-Net's. FCN starts from
ImageNet's SqueezeNet. Foreground is the membrane. Images a second are of the network and its map, one image
at a time.

The peer is kept apart: pip install --no-deps --target .venv/segment_peers
-r benchmarks/peers/segment_peers.txt
"""

from __future__ import annotations

import importlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from common import Claim, argument_parser, report
from torch import Tensor, nn

from cvcore.image.normalize import unit_floats
from cvcore.metrics.segmentation import SegmentationMetrics
from cvcore.segment.base import Segmenter
from cvcore.segment.losses import SegmentLossOptions
from cvcore.train.augment import AugmentOptions
from cvcore.train.masks import MaskSamples
from cvcore.train.progress import OptimizeOptions, Progress
from cvcore.train.run import RunOptions
from cvcore.train.segment import SegmenterLoss, evaluate_segmenter, segmenter_epochs, segmenter_loss
from cvcore.types import Augmentation, InputSpec
from jobs.train_run import average_decay
from jobs.train_segmenter import prepare_segmenter
from jobs.train_spec import SegmenterTrainSpec
from tests.data import shared_data

PEERS = Path(os.environ.get("VEEDOR_SEGMENT_PEERS", Path(sys.prefix) / "segment_peers"))
HELD_OUT = Path(__file__).parent / "lists" / "membrane_held_out.txt"
IMAGENET = "weights/squeezenet1_1-imagenet/squeezenet1_1.safetensors"
THREADS, SIZE_PX, EPOCHS, BATCH = 2, 512, 60, 2
LABELS = ("membrane", "cell")
LOSS = "cross_entropy+dice"
VIEWS: tuple[Augmentation, ...] = ("flip", "turn", "jitter", "colour")
PEER = "smp_unet"
ALIKE = 0.15
"""By how much of ours the peer's number of parameters may differ."""

UNET: dict[str, Any] = {"width": 16, "depth": 4}
SQUEEZENET: dict[str, Any] = {"backbone": "squeezenet1_1", "init": IMAGENET}
RECIPES: dict[str, dict[str, Any]] = {
    "unet": {"model": "unet", **UNET, "options": {"padded": True, "norm": True, "channels": 1}},
    "fcn8s": {"model": "fcn8s", **SQUEEZENET},
    "fcn16s": {"model": "fcn16s", **SQUEEZENET},
    "fcn32s": {"model": "fcn32s", **SQUEEZENET},
    "deconvnet": {"model": "deconvnet", "width": 0.125, "depth": 4, "options": {"crop_size": 256}},
}


@dataclass(frozen=True)
class Measured:
    """What one network came to."""

    metrics: SegmentationMetrics
    num_parameters: int
    training_s: float
    images_per_s: float


class PeerUNet(Segmenter):
    """segmentation-models-pytorch's U-Net: three stages of ResNet-18 encode, from random weights."""

    def __init__(self, size_px: int, decoder: tuple[int, ...]) -> None:
        options = SegmentLossOptions(LOSS)
        super().__init__(LABELS, input_spec=InputSpec(size_px, size_px), loss_options=options)
        sys.path.append(str(PEERS))
        smp: Any = importlib.import_module("segmentation_models_pytorch")
        self.network = smp.Unet(
            "resnet18",
            encoder_depth=len(decoder),
            encoder_weights=None,
            decoder_channels=decoder,
            in_channels=1,
            classes=len(LABELS),
        )
        for stage in ("layer3", "layer4"):  # built, and never run at this depth
            setattr(self.network.encoder, stage, nn.Identity())

    def preprocess(self, canvases: Tensor, fits: Any = None) -> Tensor:
        del fits
        return unit_floats(canvases[..., :1], torch.float32) * 2 - 1

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def lay_out(folder: Path) -> None:
    """The images as a dataset of two splits."""
    source = shared_data("segment", "membrane")
    held_out = set(HELD_OUT.read_text().split())
    for image in sorted((source / "image").iterdir()):
        split = folder / ("val" if image.stem in held_out else "train")
        for kind, path in (("images", image), ("masks", source / "label" / image.name)):
            (split / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, split / kind / image.name)
    (folder / "dataset.yaml").write_text(f"names: [{', '.join(LABELS)}]\n")


def make_spec(name: str, data: Path, *, epochs: int, size_px: int) -> SegmenterTrainSpec:
    recipe = dict(RECIPES["unet" if name == PEER else name])
    if "init" in recipe:
        recipe["init"] = str(shared_data(recipe["init"]))
    settings = {"data": str(data), "out": str(data / name), "epochs": epochs, "batch_size": BATCH}
    return SegmenterTrainSpec.model_validate(
        {**settings, "input_size": size_px, "loss": LOSS, "warmup_steps": 50, **recipe}
    )


def measure(name: str, data: Path, *, epochs: int, size_px: int) -> Measured:
    """Train one and look at it."""
    spec = make_spec(name, data, epochs=epochs, size_px=size_px)
    train, held_out, model = prepare_segmenter(spec)
    if name == PEER:
        torch.manual_seed(spec.seed)
        model = alike_peer(model, size_px)
    began = time.perf_counter()
    model = trained(model, spec, train, held_out, name)
    seconds = time.perf_counter() - began
    return Measured(
        evaluate_segmenter(model, held_out),
        sum(p.numel() for p in model.parameters()),
        seconds,
        _images_per_s(model, held_out),
    )


def trained(
    model: Segmenter, spec: SegmenterTrainSpec, train: MaskSamples, held_out: MaskSamples, name: str
) -> Segmenter:
    """The averaged weights after the last epoch."""
    steps = spec.epochs * max(1, len(train.samples) // spec.batch_size)
    network = SegmenterLoss(model)
    progress = Progress(
        model,
        network,
        segmenter_loss(model, network),
        OptimizeOptions(spec.lr, steps, min(spec.warmup_steps, steps // 4), spec.weight_decay),
        average_decay=average_decay(steps),
    )
    options = RunOptions(spec.epochs, spec.batch_size, spec.seed, AugmentOptions(VIEWS))
    for each in segmenter_epochs(progress, train, held_out, options):
        assert each.found is not None
        print(f"{name} epoch {each.epoch + 1}/{spec.epochs}: mIoU {each.found.mean_iou:.3f}", flush=True)
    return progress.average.model


def alike_peer(ours: Segmenter, size_px: int) -> PeerUNet:
    """The peer whose decoder's width brings its parameters nearest to ours."""
    wanted = sum(p.numel() for p in ours.parameters())
    peers = [PeerUNet(size_px, (8 * k, 4 * k, 2 * k)) for k in range(8, 40, 4)]
    best = min(peers, key=lambda peer: abs(sum(p.numel() for p in peer.parameters()) - wanted))
    found = sum(p.numel() for p in best.parameters())
    assert abs(found - wanted) < ALIKE * wanted, f"the peer has {found:,} parameters, ours {wanted:,}"
    return best


def _images_per_s(model: Segmenter, samples: MaskSamples) -> float:
    rates = []
    for sample in samples.samples[:1] + samples.samples:
        canvas = torch.from_numpy(sample.canvas)[None]
        began = time.perf_counter()
        model.predict(canvas, [sample.fit])
        rates.append(1 / (time.perf_counter() - began))
    return statistics.median(rates[1:])  # the first one warms up


def claims_of(found: dict[str, Measured]) -> list[Claim]:
    """A line each; ours is held against the peer where both were run."""
    peer = found.get(PEER)
    claims = []
    for name, each in found.items():
        figures = (
            f"{each.metrics.class_iou[0]:.3f}, {each.metrics.class_dice[0]:.3f}, "
            f"{each.metrics.class_boundary_f1[0]:.3f}, {each.metrics.pixel_error:.3f}; "
            f"{each.num_parameters / 1e6:.2f} M, {each.training_s / 60:.1f} min, "
            f"{each.images_per_s:.1f} images/s"
        )
        held = name == "unet" and peer is not None
        claims.append(
            Claim(
                f"ISBI 2012 membranes, {name}: foreground IoU, Dice, boundary F1, pixel error; parameters, "
                "training time, images/s",
                f"IoU ≥ the peer's {peer.metrics.class_iou[0]:.3f}" if held and peer else "",
                figures,
                each.metrics.class_iou[0] >= peer.metrics.class_iou[0] if held and peer else None,
            )
        )
    return claims


def main() -> None:
    parser = argument_parser("segmenters", __doc__)
    names = [*RECIPES, PEER]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--size", type=int, default=SIZE_PX, help="side of the canvas, pixels")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        found = {
            name: measure(name, Path(folder), epochs=asked.epochs, size_px=asked.size) for name in asked.only
        }
    details = {
        "epochs": asked.epochs,
        "size_px": asked.size,
        "loss": LOSS,
        "recipes": RECIPES,
        "found": {name: asdict(each) for name, each in found.items()},
    }
    report("segmenters", claims_of(found), details, asked.json)


if __name__ == "__main__":
    main()
