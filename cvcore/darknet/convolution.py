"""Darknet's convolution, batch norm and activation, in one block that folds them for inference."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvcore.darknet.activations import ACTIVATIONS
from cvcore.darknet.layers import Convolutional
from cvcore.darknet.stored import StoredTensor, stored_norm

# Darknet divides by sqrt(variance) + 1e-6 on a CPU and by sqrt(variance + 1e-5) on a GPU. This is the
# form between them, which OpenCV uses too: it moves the logits (of size 20) of small published detectors by
# at most 0.002 against the first and 0.02 against the second.
_EPSILON = 1e-6
# Darknet keeps 0.99 of its running statistics a step.
_MOMENTUM = 0.01


def darknet_batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with Darknet's constants."""
    return nn.BatchNorm2d(channels, eps=_EPSILON, momentum=_MOMENTUM)


class ConvolutionBlock(nn.Module):
    """Convolution, optional batch norm, activation.

    `fold` merges the batch norm into a copy of the kernel that is used while the block is in evaluation
    mode and gradients are off; parameters, and so what a writer sees, stay as they are.
    """

    folded_weight: Tensor | None
    folded_bias: Tensor | None

    def __init__(self, layer: Convolutional) -> None:
        super().__init__()
        channels, filters = layer.input.channels, layer.output.channels
        self.conv = nn.Conv2d(
            channels,
            filters,
            layer.size,
            layer.stride,
            layer.padding,
            groups=layer.groups,
            bias=not layer.batch_normalize,
        )
        self.norm = darknet_batch_norm(filters) if layer.batch_normalize else None
        self.activation = ACTIVATIONS[layer.activation]
        self.register_buffer("folded_weight", None, persistent=False)
        self.register_buffer("folded_bias", None, persistent=False)
        self._initialize(layer.size**2 * channels // layer.groups)

    def _initialize(self, fan_in: int) -> None:
        # A norm leaves the kernel's scale free, and steps of a fixed size turn a small kernel faster.
        gain = 2 if self.norm is None else 1 / 3
        nn.init.normal_(self.conv.weight, std=math.sqrt(gain / fan_in))
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        if self.folded_weight is not None and not self.training and not torch.is_grad_enabled():
            out = F.conv2d(
                x, self.folded_weight, self.folded_bias, conv.stride, conv.padding, conv.dilation, conv.groups
            )
        else:
            out = conv(x)
            out = out if self.norm is None else self.norm(out)
        return self.activation(out)

    @torch.no_grad()
    def fold(self) -> None:
        """Make the copy for inference from the present parameters."""
        weight, norm = self.conv.weight, self.norm
        if norm is None:
            assert self.conv.bias is not None
            self.folded_weight, self.folded_bias = weight.detach(), self.conv.bias.detach()
        else:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            self.folded_weight = weight * factor[:, None, None, None]
            self.folded_bias = norm.bias - norm.running_mean * factor

    def unfold(self) -> None:
        """Drop the copy; `fold` makes a new one."""
        self.folded_weight = self.folded_bias = None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.unfold()
        super()._load_from_state_dict(*args, **kwargs)

    def stored_tensors(self) -> list[StoredTensor]:
        """Bias, then scale, mean and variance where there is batch norm, then the kernel."""
        kernel = StoredTensor("kernel", self.conv.weight)
        if self.norm is not None:
            return [StoredTensor("bias", self.norm.bias), *stored_norm(self.norm), kernel]
        assert self.conv.bias is not None
        return [StoredTensor("bias", self.conv.bias), kernel]
