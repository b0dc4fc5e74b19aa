"""torchvision's detectors behind the one detector contract, and what it publishes for them.

The graphs, their normalisation and their published weights are torchvision's own. What differs is where
decisions are made: images are fitted to the canvas once, while decoding, and `DetectOptions` alone decides
on scores, suppression and limits.

Label ids are COCO's category ids, as torchvision numbers its outputs: 0 is `__background__` and ids that
COCO does not use are `N/A`; neither is ever detected by trained weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torchvision.models import detection as graphs
from torchvision.models import get_model_weights, get_weight, list_models
from torchvision.ops import FrozenBatchNorm2d

from cvcore.detect.base import Detector
from cvcore.detect.torchvision_rcnn import TorchvisionRcnn
from cvcore.detect.torchvision_ssd import TorchvisionSsd
from cvcore.errors import ModelError, did_you_mean

Graph = Literal[
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
]
BACKGROUND = "__background__"

# Graphs whose published weights were trained on fixed batch statistics, with the epsilon they then have.
_FROZEN_EPSILON = {
    "fasterrcnn_resnet50_fpn": 0.0,
    "maskrcnn_resnet50_fpn": 0.0,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 1e-5,
}
# (shortest edge, longest edge) in pixels.
_RCNN_SIZES = {"fasterrcnn_mobilenet_v3_large_320_fpn": (320, 640)}
_DEFAULT_RCNN_SIZE = (800, 1333)

# Names of layers before torchvision 0.13 and since; its own loading renames them too.
_RENAMED = (
    (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)", r"\1.0.\2"),
    (r"(rpn\.head\.conv)\.(weight|bias)", r"\1.0.0.\2"),
)
_SCHEME = "torchvision://"


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """Weights that torchvision publishes.

    Attributes:
        url: where they are.
        sha256_prefix: how the file's SHA-256 begins, as its name says.
        labels: class names, in output order.
    """

    url: str
    sha256_prefix: str
    labels: tuple[str, ...]


def build_torchvision(
    labels: tuple[str, ...] | None = None,
    *,
    graph: Graph,
    min_size: int | None = None,
    max_size: int | None = None,
) -> Detector:
    """Build one of torchvision's detectors with random weights, in evaluation mode.

    Args:
        labels: class names by output; the background is put before them where it is not their first.
            COCO's by default.
        graph: torchvision's name of the model.
        min_size, max_size: of the R-CNN family: images are scaled to a shortest edge of `min_size` px, or
            less where the longest would pass `max_size` px.

    Raises:
        ValueError: for an unknown graph, or sizes for one that has a fixed canvas.
    """
    if graph not in get_args(Graph):
        raise ValueError(f"graph must be one of {', '.join(get_args(Graph))}, got {graph!r}")
    names = _coco_labels(graph) if labels is None else labels
    if names[0] != BACKGROUND:
        names = (BACKGROUND, *names)
    build = getattr(graphs, graph)
    plain: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": len(names)}
    if graph.startswith("ssd"):
        if min_size is not None or max_size is not None:
            raise ValueError(f"{graph} has a fixed canvas, so it takes neither min_size nor max_size")
        return TorchvisionSsd(build(**plain), labels=names).eval()
    shortest, longest = _RCNN_SIZES.get(graph, _DEFAULT_RCNN_SIZE)
    network = build(**plain)
    if graph in _FROZEN_EPSILON:
        _freeze_batch_norms(network.backbone, epsilon=_FROZEN_EPSILON[graph])
    return TorchvisionRcnn(
        network, labels=names, shortest_edge_px=min_size or shortest, longest_edge_px=max_size or longest
    ).eval()


def rename_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of torchvision's model, of any of its versions, to this project's wrapper."""
    return {f"network.{_current_name(name)}": tensor for name, tensor in state.items()}


def published_weights(reference: str) -> PublishedWeights:
    """Look up `torchvision://<weights>`: `SSD300_VGG16_Weights.COCO_V1`, or `ssd300_vgg16` for its default.

    Nothing is fetched.

    Raises:
        ModelError: for a reference that torchvision does not publish.
    """
    name = reference.removeprefix(_SCHEME)
    try:
        weights: Any = get_weight(name) if "." in name else get_model_weights(name.lower()).DEFAULT
    except (ValueError, KeyError, AttributeError) as error:
        known = [str(w) for model in list_models(module=graphs) for w in get_model_weights(model)]
        near = did_you_mean(name, [*known, *list_models()])
        raise ModelError(
            f"torchvision publishes no weights {name!r}.{near} Detectors' are {', '.join(known)}"
        ) from error
    digest = re.search(r"-([0-9a-f]{8,})\.\w+$", weights.url)
    assert digest is not None, f"torchvision's file names end in a hash: {weights.url}"
    return PublishedWeights(weights.url, digest[1], tuple(weights.meta["categories"]))


def _coco_labels(graph: str) -> tuple[str, ...]:
    return published_weights(graph).labels


def _current_name(name: str) -> str:
    for old, new in _RENAMED:
        name = re.sub(f"^{old}$", new, name)
    # The mask head's layers were counted from one.
    return re.sub(r"(roi_heads\.mask_head)\.mask_fcn(\d+)\.", lambda m: f"{m[1]}.{int(m[2]) - 1}.0.", name)


@torch.no_grad()
def _freeze_batch_norms(module: nn.Module, *, epsilon: float) -> None:
    """Replace every batch norm below `module` by one with fixed statistics, as torchvision trained them."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=epsilon))
        else:
            _freeze_batch_norms(child, epsilon=epsilon)
