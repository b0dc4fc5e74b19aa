"""torchvision's classifiers behind the one classifier contract, with the preprocessing it publishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torchvision.models import get_model_builder, get_model_weights

from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer
from cvcore.types import InputSpec

Graph = Literal["alexnet", "vgg16", "resnet18", "resnet34", "resnet50", "squeezenet1_1"]

_HEADS: Mapping[str, str] = {
    "alexnet": "classifier.6",
    "vgg16": "classifier.6",
    "squeezenet1_1": "classifier.1",
}
_RESNET_HEAD = "fc"


@dataclass(frozen=True, slots=True)
class Published:
    """What torchvision says of a graph's default weights.

    Attributes:
        labels: ImageNet's class names, in output order.
        crop_px, resize_px: of its transform: the shorter side is scaled to the one, the middle is cropped to
            the other.
        least_px: the smallest side that the graph reads.
        num_parameters: of the graph for ImageNet.
    """

    labels: tuple[str, ...]
    crop_px: int
    resize_px: int
    least_px: int
    num_parameters: int


def published(graph: Graph) -> Published:
    """Look a graph up; nothing is fetched."""
    weights: Any = get_model_weights(graph).DEFAULT
    transforms = weights.transforms()
    return Published(
        tuple(weights.meta["categories"]),
        transforms.crop_size[0],
        transforms.resize_size[0],
        max(weights.meta["min_size"]),
        weights.meta["num_params"],
    )


class TorchvisionClassifier(Classifier):
    """A graph of torchvision's, its tensors under `network.`."""

    def __init__(self, graph: Graph, *, labels: tuple[str, ...], spec: InputSpec) -> None:
        """Build with random weights, as torchvision starts them."""
        super().__init__()
        self.labels, self.input_spec = labels, spec
        self.network: Any = get_model_builder(graph)(weights=None, num_classes=len(labels))
        self.head_prefix = f"network.{_HEADS.get(graph, _RESNET_HEAD)}."
        self._is_resnet = graph.startswith("resnet")
        self.map_channels = _channels_read(self.network, graph)

    def trunk(self, images: Tensor) -> Tensor:
        """The last map before anything is pooled or connected: AlexNet's and VGG's pool5, ResNet's conv5."""
        net = self.network
        if not self._is_resnet:
            maps: Tensor = net.features(images)
            return maps
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        deepest: Tensor = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return deepest

    def head(self, maps: Tensor) -> Tensor:
        """See `Classifier.head`."""
        net = self.network
        if self._is_resnet:
            logits: Tensor = net.fc(net.avgpool(maps).flatten(1))
        elif hasattr(net, "avgpool"):
            logits = net.classifier(net.avgpool(maps).flatten(1))
        else:  # SqueezeNet's head is a convolution, which it averages
            logits = net.classifier(maps).flatten(1)
        return logits


def _channels_read(network: Any, graph: Graph) -> int:
    if graph.startswith("resnet"):
        return int(network.fc.in_features)
    if graph == "squeezenet1_1":
        return int(network.classifier[1].in_channels)
    convolutions = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    return convolutions[-1].out_channels


def build_torchvision_classifier(
    labels: tuple[str, ...] | None = None,
    *,
    graph: Graph,
    input_size: int | None = None,
    localize: bool = False,
) -> Classifier | Localizer:
    """Build one of torchvision's classifiers with random weights, in evaluation mode.

    Args:
        labels: class names; ImageNet's 1000 by default.
        graph: torchvision's name of the model.
        input_size: side of the square canvas, pixels; the published crop by default. Images are scaled to a
            shorter side that is larger by the published factor.
        localize: whether it gives one box as well; it then reads the whole image, stretched.

    Raises:
        ValueError: for an unknown graph, or a canvas that is too small for it.
    """
    if graph not in get_args(Graph):
        raise ValueError(f"graph must be one of {', '.join(get_args(Graph))}, got {graph!r}")
    facts = published(graph)
    size = input_size or facts.crop_px
    if size < facts.least_px:
        raise ValueError(f"{graph} reads images of at least {facts.least_px} px a side, got {size}")
    names = facts.labels if labels is None else labels
    edge = round(size * facts.resize_px / facts.crop_px)
    spec = InputSpec(size, size, fit="center_crop", shortest_edge_px=edge)
    if localize:
        spec = InputSpec(size, size, fit="stretch")
    model = TorchvisionClassifier(graph, labels=names, spec=spec)
    model.config = {"input_size": size}
    return (Localizer(model) if localize else model).eval()


def rename_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of torchvision's model to this project's wrapper."""
    return {f"network.{name}": tensor for name, tensor in state.items()}
