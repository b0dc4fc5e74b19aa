"""The layers as torch modules. Every `forward` takes the input, then the layer's sources in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvcore.darknet import layers as L
from cvcore.darknet.activations import ACTIVATIONS
from cvcore.darknet.convolution import ConvolutionBlock, darknet_batch_norm
from cvcore.darknet.stored import StoredTensor, stored_norm


class LocalBlock(nn.Module):
    """A convolution with its own kernel at every output location.

    Attributes:
        weight: (locations, filters, channels * size * size).
        bias: (filters, locations).
    """

    def __init__(self, layer: L.Local) -> None:
        super().__init__()
        self.layer = layer
        filters, locations = layer.output.channels, layer.output.height * layer.output.width
        fan_in = layer.input.channels * layer.size**2
        bound = math.sqrt(2 / fan_in)
        self.weight = nn.Parameter(torch.empty(locations, filters, fan_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(filters, locations))
        self.activation = ACTIVATIONS[layer.activation]

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        columns = F.unfold(x, layer.size, padding=layer.padding, stride=layer.stride)  # B, C*k*k, L
        product = torch.bmm(self.weight, columns.permute(2, 1, 0))  # L, filters, B
        out = product.permute(2, 1, 0) + self.bias
        return self.activation(
            out.reshape(-1, layer.output.channels, layer.output.height, layer.output.width)
        )

    def stored_tensors(self) -> list[StoredTensor]:
        """Bias, then kernel."""
        return [StoredTensor("bias", self.bias), StoredTensor("kernel", self.weight)]


class ConnectedBlock(nn.Module):
    """A fully connected layer on the flattened input; puts out (B, outputs, 1, 1)."""

    def __init__(self, layer: L.Connected) -> None:
        super().__init__()
        outputs = layer.output.channels
        self.linear = nn.Linear(layer.input.num_values, outputs, bias=not layer.batch_normalize)
        self.norm = darknet_batch_norm(outputs) if layer.batch_normalize else None
        self.activation = ACTIVATIONS[layer.activation]

    def forward(self, x: Tensor) -> Tensor:
        out = self.linear(x.flatten(1))[:, :, None, None]
        return self.activation(out if self.norm is None else self.norm(out))

    def stored_tensors(self) -> list[StoredTensor]:
        """Bias, weight, then scale, mean and variance where there is batch norm."""
        matrix = StoredTensor("matrix", self.linear.weight)
        if self.norm is not None:
            return [StoredTensor("bias", self.norm.bias), matrix, *stored_norm(self.norm)]
        return [StoredTensor("bias", self.linear.bias), matrix]


class MaxPool(nn.Module):
    """Max pooling with Darknet's lopsided padding, filled with minus infinity."""

    def __init__(self, layer: L.MaxPool) -> None:
        super().__init__()
        self.size, self.stride = layer.size, layer.stride
        before = layer.padding // 2
        # What the last window reaches beyond the image is often less than the padding allows.
        reach_y = (layer.output.height - 1) * layer.stride + layer.size - before - layer.input.height
        reach_x = (layer.output.width - 1) * layer.stride + layer.size - before - layer.input.width
        symmetric = max(reach_y, reach_x) <= before <= layer.size // 2
        self.padding = before if symmetric else 0
        self.extra = None if symmetric else (before, max(0, reach_x), before, max(0, reach_y))

    def forward(self, x: Tensor) -> Tensor:
        if self.extra is not None:
            x = F.pad(x, self.extra, value=-math.inf)
        return F.max_pool2d(x, self.size, self.stride, self.padding)


class AvgPool(nn.Module):
    """The mean of each channel, (B, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)


class Route(nn.Module):
    """Sources joined along channels, or one group of each."""

    def __init__(self, layer: L.Route) -> None:
        super().__init__()
        self.groups, self.group_id = layer.groups, layer.group_id

    def forward(self, _x: Tensor, *sources: Tensor) -> Tensor:
        if self.groups > 1:
            sources = tuple(source.chunk(self.groups, dim=1)[self.group_id] for source in sources)
        return sources[0] if len(sources) == 1 else torch.cat(sources, dim=1)


class Shortcut(nn.Module):
    """Residual addition; sources of another shape are added where both have values."""

    def __init__(self, layer: L.Shortcut) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[layer.activation]
        self.same = layer.source == layer.input
        self.channels = min(layer.source.channels, layer.input.channels)
        self.read_step = max(1, layer.source.height // layer.input.height)
        self.write_step = max(1, layer.input.height // layer.source.height)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        if self.same:
            return self.activation(x + source)
        out = x.clone()
        read, write = self.read_step, self.write_step
        out[:, : self.channels, ::write, ::write] += source[:, : self.channels, ::read, ::read]
        return self.activation(out)


class ScaleChannels(nn.Module):
    """Squeeze and excitation: the source times one factor a channel."""

    def __init__(self, layer: L.ScaleChannels) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[layer.activation]

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        return self.activation(source * x)


class Upsample(nn.Module):
    """Nearest-neighbour enlargement."""

    def __init__(self, layer: L.Upsample) -> None:
        super().__init__()
        self.stride, self.scale = layer.stride, layer.scale

    def forward(self, x: Tensor) -> Tensor:
        out = F.interpolate(x, scale_factor=float(self.stride), mode="nearest")
        return out if self.scale == 1 else out * self.scale


class Reorg(nn.Module):
    """Darknet's space to depth.

    Darknet walks its *depth to space* index pattern over the input's own shape and reads the memory as
    something else on either side. With s the stride and an input of C x H x W, the values are taken as
    (C / s^2) x (H s) x (W s), split into s x s phases, phases made the slowest channels, and the result of
    C x H x W is then taken as (C s^2) x (H / s) x (W / s). Published weights were trained on this order.
    """

    def __init__(self, layer: L.Reorg) -> None:
        super().__init__()
        self.stride, self.reverse, self.input, self.output = (
            layer.stride,
            layer.reverse,
            layer.input,
            layer.output,
        )

    def forward(self, x: Tensor) -> Tensor:
        stride, shape = self.stride, self.input
        few = shape.channels // stride**2
        if self.reverse:
            phases = x.reshape(-1, stride, stride, few, shape.height, shape.width)
            mixed = phases.permute(0, 3, 4, 1, 5, 2)
        else:
            pixels = x.reshape(-1, few, shape.height, stride, shape.width, stride)
            mixed = pixels.permute(0, 3, 5, 1, 2, 4)
        return mixed.reshape(-1, self.output.channels, self.output.height, self.output.width)


class Crop(nn.Module):
    """The centre of the image, from 0..1 to -1..1 unless the `.cfg` says noadjust."""

    def __init__(self, layer: L.Crop) -> None:
        super().__init__()
        self.height, self.width, self.to_signed = layer.output.height, layer.output.width, layer.to_signed
        self.top = (layer.input.height - self.height) // 2
        self.left = (layer.input.width - self.width) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = x[:, :, self.top : self.top + self.height, self.left : self.left + self.width]
        return out * 2 - 1 if self.to_signed else out


class Softmax(nn.Module):
    """Softmax over each group of the flattened input, in the input's shape."""

    def __init__(self, layer: L.Softmax) -> None:
        super().__init__()
        self.groups, self.temperature = layer.groups, layer.temperature

    def forward(self, x: Tensor) -> Tensor:
        grouped = x.reshape(x.shape[0], self.groups, -1)
        return torch.softmax(grouped / self.temperature, dim=-1).reshape(x.shape)


def _identity(_layer: L.Layer) -> nn.Module:
    return nn.Identity()


def _avgpool(_layer: L.AvgPool) -> nn.Module:
    return AvgPool()


def _dropout(layer: L.Dropout) -> nn.Module:
    return nn.Dropout(layer.probability)


# A builder takes exactly the layer type that it stands under.
_BUILDERS: Mapping[type[L.Layer], Callable[[Any], nn.Module]] = MappingProxyType(
    {
        L.Convolutional: ConvolutionBlock,
        L.Local: LocalBlock,
        L.Connected: ConnectedBlock,
        L.MaxPool: MaxPool,
        L.AvgPool: _avgpool,
        L.Route: Route,
        L.Shortcut: Shortcut,
        L.ScaleChannels: ScaleChannels,
        L.Upsample: Upsample,
        L.Reorg: Reorg,
        L.Dropout: _dropout,
        L.Crop: Crop,
        L.Softmax: Softmax,
        L.Cost: _identity,
        L.Detection: _identity,
        L.Region: _identity,
        L.Yolo: _identity,
    }
)


def build_module(layer: L.Layer) -> nn.Module:
    """The module that runs `layer`; heads pass their raw input on."""
    return _BUILDERS[type(layer)](layer)
