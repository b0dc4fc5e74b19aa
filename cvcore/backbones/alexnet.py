"""AlexNet's convolutions (Krizhevsky et al. 2012), as torchvision has them."""

from __future__ import annotations

from torch import nn

from cvcore.backbones.trunk import Trunk


def build_alexnet() -> Trunk:
    """conv1 to conv5, giving conv1, conv2 and conv5 (strides 4, 8 and 16).

    The first convolution is padded by 4 pixels, torchvision's by 2, and poolings round up: so the maps of an
    image whose sides are multiples of 32 have a share of them. Away from the border outputs are the
    classifier's, shifted.
    """
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
    )
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return Trunk(features, taps={4: 1, 8: 4, 16: 11}, channels={4: 64, 8: 192, 16: 256})
