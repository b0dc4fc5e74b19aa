"""Darknet's convolution, batch norm and activation, in one block that folds them for inference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

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
# Activations that oneDNN computes with a convolution, by Darknet's names, and what they are told.
_FUSED: Mapping[str, tuple[str, list[float]]] = MappingProxyType(
    {
        "linear": ("none", []),
        "leaky": ("leaky_relu", [0.1]),
        "relu": ("relu", []),
        "logistic": ("sigmoid", []),
    }
)


def darknet_batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with Darknet's constants."""
    return nn.BatchNorm2d(channels, eps=_EPSILON, momentum=_MOMENTUM)


class ConvolutionBlock(nn.Module):
    """Convolution, optional batch norm, activation.

    `fold` merges the batch norm into a copy of the kernel that is used while the block is in evaluation
    mode and gradients are off; parameters, and so what a writer sees, stay as they are. On a CPU the copy is
    in oneDNN's own layout, which would else be made for every image, and the activation is part of the
    convolution where oneDNN has it.

    A block that is moved is folded anew; a copy of a block starts without.
    """

    folded_weight: Tensor | None
    folded_bias: Tensor | None
    _packed: Tensor | None

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
        self._packed = None
        self._input_size = [1, channels, layer.input.height, layer.input.width]
        self._fused = _FUSED.get(layer.activation)
        self._initialize(layer.size**2 * channels // layer.groups)

    def _initialize(self, fan_in: int) -> None:
        # A norm leaves the kernel's scale free, and steps of a fixed size turn a small kernel faster.
        gain = 2 if self.norm is None else 1 / 3
        nn.init.normal_(self.conv.weight, std=math.sqrt(gain / fan_in))
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        if self.folded_bias is not None and not self.training and not torch.is_grad_enabled():
            if self._packed is not None:
                return self._run_packed(x, self._packed)
            assert self.folded_weight is not None
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
            self.folded_bias = self.conv.bias.detach()
        else:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * factor[:, None, None, None]
            self.folded_bias = norm.bias - norm.running_mean * factor
        self._packed = self._pack(weight)
        self.folded_weight = weight.detach() if self._packed is None else None

    def unfold(self) -> None:
        """Drop the copy; `fold` makes a new one."""
        self.folded_weight = self.folded_bias = self._packed = None

    def _pack(self, weight: Tensor) -> Tensor | None:
        conv = self.conv
        if weight.device.type != "cpu" or weight.dtype != torch.float32 or not torch._C._has_mkldnn:
            return None
        packed: Tensor = torch.ops.aten.mkldnn_reorder_conv2d_weight(
            weight.contiguous().to_mkldnn(),
            conv.padding,
            conv.stride,
            conv.dilation,
            conv.groups,
            self._input_size,
        )
        return packed

    def _run_packed(self, x: Tensor, packed: Tensor) -> Tensor:
        conv, (name, scalars) = self.conv, self._fused or ("none", [])
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x,
            packed,
            self.folded_bias,
            conv.padding,
            conv.stride,
            conv.dilation,
            conv.groups,
            name,
            scalars,
            "",
        )
        return out if self._fused else self.activation(out)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        folded = self.folded_bias is not None
        self.unfold()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if folded:
            self.fold()
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state["_buffers"] = state["_buffers"] | {"folded_weight": None, "folded_bias": None}
        return state | {"_packed": None}

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
