"""GoogLeNet's layers before its pooling (Szegedy et al. 2015), torchvision's with batch norm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models import googlenet

from cvcore.backbones.trunk import Trunk
from cvcore.image.normalize import IMAGENET_MEAN, IMAGENET_STD

_LAYERS = (
    "conv1 maxpool1 conv2 conv3 maxpool2 inception3a inception3b maxpool3 inception4a inception4b "
    "inception4c inception4d inception4e maxpool4 inception5a inception5b"
).split()
_TAPS = {4: "conv3", 8: "inception3b", 16: "inception4e", 32: "inception5b"}
_CHANNELS = {4: 192, 8: 480, 16: 832, 32: 1024}


class GoogLeNetTrunk(Trunk):
    """A trunk whose layers have torchvision's names (`features.inception3a.branch1.conv.weight`).

    It turns normalised images into the range from -1 to 1, which torchvision's published weights were made
    for.
    """

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """See `Trunk.forward`."""
        mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        return super().forward((images * std + mean) * 2 - 1)

    def load(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """See `Trunk.load`; in a classifier's state the layers stand at the top."""
        super().load({f"features.{key}": value for key, value in state.items()}, name=name)


def build_googlenet() -> Trunk:
    """Up to the last inception module, giving the maps of strides 4, 8, 16 and 32."""
    graph = googlenet(weights=None, aux_logits=False, transform_input=False, init_weights=False)
    features = nn.Sequential(OrderedDict((layer, getattr(graph, layer)) for layer in _LAYERS))
    for layer in features.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    taps = {stride: _LAYERS.index(layer) for stride, layer in _TAPS.items()}
    return GoogLeNetTrunk(features, taps=taps, channels=_CHANNELS)
