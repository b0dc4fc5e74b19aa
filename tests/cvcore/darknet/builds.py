"""Small `.cfg` texts, random networks and the folder of real weights, for the Darknet tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cvcore.darknet.cfg import parse_cfg
from cvcore.darknet.detector import DarknetDetector
from cvcore.darknet.modules import build_module
from cvcore.darknet.network import DarknetNetwork
from tests.data import shared_data

REAL = {
    "yolo-fastest-1.1": "yolo-fastest-1.1",
    "mobilenetv2-yolo-fastest-voc": "MobileNetV2-YOLO-Fastest-voc-v2",
    "yolo-lite-voc": "tiny-yolov2-trial3-noBatch",
}


def cfg_text(body: str, *, height: int = 8, width: int = 8, channels: int = 3) -> str:
    """A `.cfg` with `[net]` on lines 1 to 4 and `body`, one section a line (`;` ends a key), after it."""
    return f"[net]\nheight={height}\nwidth={width}\nchannels={channels}\n{body}"


def sections(*names_and_keys: str) -> str:
    """`"maxpool size=2 stride=2"` becomes a section, each key on its own line."""
    return "\n".join(
        "\n".join([f"[{words[0]}]", *words[1:]]) for words in (text.split() for text in names_and_keys)
    )


def single(section: str, *, height: int = 8, width: int = 8, channels: int = 3) -> nn.Module:
    """The module of a one-layer network."""
    cfg = parse_cfg(cfg_text(sections(section), height=height, width=width, channels=channels))
    return build_module(cfg.layers[0]).eval()


def randomize(network: nn.Module, *, seed: int = 0) -> None:
    """Fill every value of a network; variances stay above 0.5 so that outputs keep their size."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var") or name.endswith("norm.weight"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point():
            fan_in = max(1, tensor[0].numel()) if tensor.ndim > 1 else 16
            tensor.normal_(std=fan_in**-0.5, generator=generator)


def random_network(body: str, **size: int) -> DarknetNetwork:
    """A network with random values in evaluation mode."""
    network = DarknetNetwork(parse_cfg(cfg_text(body, **size))).eval()
    randomize(network)
    return network


def empty_network(text: str) -> DarknetNetwork:
    """A network whose values are not set yet: quick to make at any size."""
    with torch.device("meta"):
        network = DarknetNetwork(parse_cfg(text))
    return network.to_empty(device="cpu").eval()


@dataclass(frozen=True)
class RealDetector:
    """A published detector, its files, and the images to try it on."""

    cfg_path: Path
    weights_path: Path
    detector: DarknetDetector


def real_detector(folder: str) -> RealDetector:
    """One of `REAL`, loaded; skips where the data is absent."""
    base = shared_data("weights", folder)
    cfg_path, weights_path = base / f"{REAL[folder]}.cfg", base / f"{REAL[folder]}.weights"
    detector = DarknetDetector.from_cfg(cfg_path.read_text())
    detector.load_darknet_weights(weights_path.read_bytes(), name=weights_path.name)
    return RealDetector(cfg_path, weights_path, detector)


def all_outputs(network: DarknetNetwork, images: Tensor) -> list[Tensor]:
    """Every layer's output, computed without freeing or slicing."""
    outputs: list[Tensor] = []
    x = images
    with torch.inference_mode():
        for layer, block in zip(network.cfg.layers, network.blocks, strict=True):
            x = block(x, *[outputs[source] for source in layer.sources])
            outputs.append(x.clone())
    return outputs
