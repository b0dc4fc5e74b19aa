"""VGG16's convolutions (Simonyan and Zisserman 2014, configuration D)."""

from __future__ import annotations

from torch import nn

from cvcore.backbones.trunk import Trunk

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of 3x3 convolutions before each pooling; the last pooling is left to the detector."""


def build_vgg16(last_stride: int = 16) -> Trunk:
    """conv1_1 to conv5_3, giving conv2_2, conv3_3, conv4_3 and conv5_3 (strides 2, 4, 8 and 16).

    What comes after the map of `last_stride` is left out.

    Poolings round sides up, as in the Caffe models that SSD and the R-CNN family began from; torchvision's
    classifier rounds down. On even sides they agree.
    """
    layers: list[nn.Module] = []
    taps: dict[int, int] = {}
    channels: dict[int, int] = {}
    before = 3
    for depth, (wide, count) in enumerate(STAGES[: last_stride.bit_length()]):
        if depth:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        for _ in range(count):
            layers += [nn.Conv2d(before, wide, 3, padding=1), nn.ReLU(inplace=True)]
            before = wide
        if depth:
            taps[2**depth], channels[2**depth] = len(layers) - 1, wide
    features = nn.Sequential(*layers)
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return Trunk(features, taps=taps, channels=channels)
