"""Every segmenter's small sibling, trained on membranes and defects, and segmentation-models-pytorch's U-Net.

    python benchmarks/segmenters.py [--json] [--data NAME ...] [--only NAME ...] [--epochs N]

Two datasets: `membrane`, ISBI 2012's 30 images of neurons, of which the membranes are the foreground; and
`tile`, 392 defects of magnetic tiles, five kinds as one. The images of `lists/*_held_out.txt` (6 and 96) are
measured, with the weights after the last epoch, so that nothing is chosen by them. All train on two threads
by the loop that `veedor train` runs in its worker, with the same views, loss, schedule and number of steps;
so does the peer's network, whose decoder is as wide as makes its parameters about as many as our U-Net's.
FCN starts from ImageNet's SqueezeNet, the others from random weights. Images a second are of the network and
its map, one image at a time, which weights do not change: they are measured at the end, one network after the
other, of all that the file has. Other figures of networks that are trained as now are kept; `--only` without
a name trains none.

The peer is kept apart: pip install --no-deps --target .venv/segment_peers
-r benchmarks/peers/segment_peers.txt
"""

from __future__ import annotations

import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Claim, argument_parser, earlier, report
from PIL import Image
from torch import Tensor, nn

from cvcore.image.normalize import unit_floats
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
LISTS = Path(__file__).parent / "lists"
IMAGENET = "weights/squeezenet1_1-imagenet/squeezenet1_1.safetensors"
THREADS = 2
CROP_PX = 256
"""Of DeconvNet, where the canvas is no smaller."""
VIEWS: tuple[Augmentation, ...] = ("flip", "turn", "jitter", "colour")
PEER = "smp_unet"
ALIKE = 0.15
"""By how much of ours the peer's number of parameters may differ."""

SQUEEZENET: dict[str, Any] = {"backbone": "squeezenet1_1", "init": IMAGENET}
RECIPES: dict[str, dict[str, Any]] = {
    "unet": {
        "model": "unet",
        "width": 10,
        "depth": 5,
        "options": {"padded": True, "norm": True, "channels": 1},
    },
    "fcn8s": {"model": "fcn8s", **SQUEEZENET},
    "fcn16s": {"model": "fcn16s", **SQUEEZENET},
    "fcn32s": {"model": "fcn32s", **SQUEEZENET},
    "deconvnet": {"model": "deconvnet", "width": 0.125, "depth": 4},
}


Pair = tuple[str, Path, Path]
"""An image's name, itself, and its mask."""


def membranes() -> Iterator[Pair]:
    source = shared_data("segment", "membrane")
    for image in sorted((source / "image").iterdir()):
        yield image.stem, image, source / "label" / image.name


def defects() -> Iterator[Pair]:
    source = shared_data("anomaly", "magnetic-tile")
    for mask in sorted((source / "masks").glob("*/*.png")):
        kind = mask.parent.name
        yield f"{kind}_{mask.stem}", source / "test" / kind / f"{mask.stem}.jpg", mask


@dataclass(frozen=True)
class Task:
    """What is learned, and how long.

    Attributes:
        labels: of the masks' dark pixels, and of their bright ones.
        foreground: of the two, the class that is asked for.
        size_px: of the canvas.
        loss: `balanced` where defects are a speck in one image and half of another.
    """

    pairs: Callable[[], Iterator[Pair]]
    labels: tuple[str, str]
    foreground: int
    size_px: int
    epochs: int
    batch_size: int
    loss: str


TASKS = {
    "membrane": Task(
        membranes, ("membrane", "cell"), 0, size_px=512, epochs=40, batch_size=2, loss="cross_entropy+dice"
    ),
    "tile": Task(defects, ("sound", "defect"), 1, size_px=128, epochs=80, batch_size=4, loss="balanced+dice"),
}


class PeerUNet(Segmenter):
    """segmentation-models-pytorch's U-Net on ResNet-18 without its last stage, from random weights."""

    def __init__(self, task: Task, decoder: tuple[int, ...]) -> None:
        super().__init__(
            task.labels,
            input_spec=InputSpec(task.size_px, task.size_px),
            loss_options=SegmentLossOptions(task.loss),
        )
        sys.path.append(str(PEERS))
        smp: Any = importlib.import_module("segmentation_models_pytorch")
        self.network = smp.Unet(
            "resnet18",
            encoder_depth=len(decoder),
            encoder_weights=None,
            decoder_channels=decoder,
            in_channels=1,
            classes=len(task.labels),
        )
        self.network.encoder.layer4 = nn.Identity()  # built, and never run at this depth

    def preprocess(self, canvases: Tensor, fits: Any = None) -> Tensor:
        del fits
        return unit_floats(canvases[..., :1], torch.float32) * 2 - 1

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def lay_out(task: Task, held_out: set[str], folder: Path) -> None:
    """The images as a dataset of two splits, their masks as 0 and 255: those of tiles have soft edges."""
    for name, image, mask in task.pairs():
        split = folder / ("val" if name in held_out else "train")
        for kind in ("images", "masks"):
            (split / kind).mkdir(parents=True, exist_ok=True)
        (split / "images" / f"{name}{image.suffix}").write_bytes(image.read_bytes())
        bright = np.asarray(Image.open(mask)) >= 128
        Image.fromarray(bright.astype(np.uint8) * 255).save(split / "masks" / f"{name}.png")
    (folder / "dataset.yaml").write_text(f"names: [{', '.join(task.labels)}]\n")


def recipes(*, epochs: int | None = None) -> dict[str, dict[str, Any]]:
    """How each network learns each task, by "TASK NETWORK"; what differs from `veedor train`'s defaults."""
    found: dict[str, dict[str, Any]] = {}
    for data, task in TASKS.items():
        common = {
            "epochs": epochs or task.epochs,
            "batch_size": task.batch_size,
            "input_size": task.size_px,
            "loss": task.loss,
            "warmup_steps": 50,
        }
        found |= {f"{data} {name}": common | recipe for name, recipe in RECIPES.items()}
        crop = {"crop_size": min(CROP_PX, task.size_px)}
        found[f"{data} deconvnet"] = found[f"{data} deconvnet"] | {"options": crop}
        found[f"{data} {PEER}"] = found[f"{data} unet"]
    return found


def make_spec(recipe: dict[str, Any], data: Path) -> SegmenterTrainSpec:
    started = {"init": str(shared_data(recipe["init"]))} if "init" in recipe else {}
    return SegmenterTrainSpec.model_validate({"data": str(data), "out": str(data / "run")} | recipe | started)


def measure(name: str, recipe: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train one and look at it."""
    spec, train, held_out, model = prepare(name, recipe, folder)
    began, worked = time.perf_counter(), time.process_time()
    model = trained(model, spec, train, held_out, name)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    metrics = evaluate_segmenter(model, held_out)
    return {
        "recipe": recipe,
        "metrics": asdict(metrics),
        "pixel_error": metrics.pixel_error,
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "training_s": seconds,
        "training_cpu_s": worked,
    }


def prepare(
    name: str, recipe: dict[str, Any], folder: Path
) -> tuple[SegmenterTrainSpec, MaskSamples, MaskSamples, Segmenter]:
    """How one is trained, on what, and with its first weights."""
    data, _, network = name.partition(" ")
    spec = make_spec(recipe, folder / data)
    train, held_out, model = prepare_segmenter(spec)
    if network == PEER:
        torch.manual_seed(spec.seed)
        model = alike_peer(model, TASKS[data])
    return spec, train, held_out, model


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


def alike_peer(ours: Segmenter, task: Task) -> PeerUNet:
    """The peer whose decoder's width brings its parameters nearest to ours."""
    wanted = sum(p.numel() for p in ours.parameters())
    peers = [PeerUNet(task, (4 * k, 2 * k, k, k)) for k in range(8, 40, 4)]
    best = min(peers, key=lambda peer: abs(sum(p.numel() for p in peer.parameters()) - wanted))
    found = sum(p.numel() for p in best.parameters())
    assert abs(found - wanted) < ALIKE * wanted, f"the peer has {found:,} parameters, ours {wanted:,}"
    return best


def images_per_s(model: Segmenter, samples: MaskSamples) -> float:
    """Of a model in evaluation mode, one image at a time."""
    rates = []
    for sample in [samples.samples[0], *samples.samples]:
        canvas = torch.from_numpy(sample.canvas)[None]
        began = time.perf_counter()
        model.predict(canvas, [sample.fit])
        rates.append(1 / (time.perf_counter() - began))
    return statistics.median(rates[1:])  # the first one warms up


def claims_of(found: dict[str, dict[str, Any]]) -> list[Claim]:
    """A line each, and what is asked of them where those to compare with were run."""
    claims = []
    for name, each in found.items():
        data, _, network = name.partition(" ")
        index, metrics = TASKS[data].foreground, each["metrics"]
        of_foreground = [metrics[f"class_{what}"][index] for what in ("iou", "dice", "boundary_f1")]
        figures = [*of_foreground, each["pixel_error"]]
        target, met = "", None
        if network == "unet" and f"{data} {PEER}" in found:
            wanted = iou_of(found, data, PEER)
            target, met = f"IoU ≥ the peer's {wanted:.3f}", of_foreground[0] >= wanted
        claims.append(
            Claim(
                f"{data}, {network}: foreground IoU, Dice, boundary F1, pixel error; parameters, training "
                "(processor time), images/s",
                target,
                f"{', '.join(f'{figure:.3f}' for figure in figures)}; {each['num_parameters'] / 1e6:.2f} M, "
                f"{each['training_s'] / 60:.1f} min ({each['training_cpu_s'] / 60:.1f} min), "
                f"{each['images_per_s']:.1f} images/s",
                met,
            )
        )
    for data in TASKS:
        fcns = [name for name in ("fcn8s", "fcn16s", "fcn32s") if f"{data} {name}" in found]
        if len(fcns) == 3:
            ious = [iou_of(found, data, name) for name in fcns]
            claims.append(
                Claim(
                    f"{data}, FCN-8s, 16s, 32s: foreground IoU",
                    "FCN-8s ≥ 16s ≥ 32s",
                    ", ".join(f"{iou:.3f}" for iou in ious),
                    ious == sorted(ious, reverse=True),
                )
            )
    return claims


def iou_of(found: dict[str, dict[str, Any]], data: str, network: str) -> float:
    """Of the foreground."""
    return float(found[f"{data} {network}"]["metrics"]["class_iou"][TASKS[data].foreground])


def main() -> None:
    parser = argument_parser("segmenters", __doc__)
    networks = [*RECIPES, PEER]
    parser.add_argument("--data", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--only", nargs="*", choices=networks, default=networks)
    parser.add_argument("--epochs", type=int, help="for a quick look: fewer of them")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    planned = recipes(epochs=asked.epochs)
    found = earlier(asked.json, planned)
    with tempfile.TemporaryDirectory() as folder:
        for data in asked.data:
            held_out = set((LISTS / f"{data}_held_out.txt").read_text().split())
            lay_out(TASKS[data], held_out, Path(folder) / data)
            for name in (f"{data} {network}" for network in asked.only):
                found[name] = measure(name, planned[name], Path(folder))
            for name in (name for name in found if name.startswith(f"{data} ")):
                _, _, held_out_samples, model = prepare(name, planned[name], Path(folder))
                found[name]["images_per_s"] = images_per_s(model.eval(), held_out_samples)
    found = {name: found[name] for name in planned if name in found}
    report("segmenters", claims_of(found), found, asked.json)


if __name__ == "__main__":
    main()
