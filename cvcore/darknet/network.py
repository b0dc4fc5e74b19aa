"""A parsed `.cfg` as a torch module."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from typing import Self

import torch
from torch import Tensor, nn

from cvcore.darknet.cfg import Cfg, resize_cfg
from cvcore.darknet.convolution import ConvolutionBlock
from cvcore.darknet.layers import Cost, Head
from cvcore.darknet.modules import build_module
from cvcore.errors import ModelError

# The C library maps larger blocks anew each time, and their page faults cost more than the arithmetic.
_REUSED_BLOCK_BYTES = 32 * 2**20


class DarknetNetwork(nn.Module):
    """Runs the layers of `cfg` in order and keeps an activation only until its last reader.

    Inference on a CPU lays activations out channels last and cuts large batches into slices: both are
    for speed and do not change what an image gives.

    Attributes:
        cfg: the parsed network.
        blocks: one module a layer, in order.
    """

    def __init__(self, cfg: Cfg, *, blocks: Sequence[nn.Module] | None = None) -> None:
        """Build with random weights, or of the layers' given modules."""
        super().__init__()
        self.cfg = cfg
        self.blocks = nn.ModuleList(blocks or [build_module(layer) for layer in cfg.layers])
        self._last_reader = _last_readers(cfg)
        self._released = _released_after(self._last_reader)
        self._outputs = _output_layers(cfg)
        largest = 4 * max(layer.output.num_values for layer in cfg.layers)
        self._slice_images = max(1, _REUSED_BLOCK_BYTES // largest)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run the network.

        Args:
            images: (B, channels, height, width) float, 0 to 1, of exactly the canvas size.

        Returns:
            For a detector the raw input of every detection head, in file order, each (B, C, H, W), no
            activation applied. For any other network its last layer's output, alone.

        Raises:
            ModelError: for images of another shape.
        """
        self._check_canvas(images)
        return self._in_slices(images, lambda part: self._run(part, self._outputs))

    def forward_with_maps(
        self, images: Tensor, layers: Sequence[int]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What `forward` gives, and the outputs of `layers`, (B, C, h, w) each, of the same pass."""
        self._check_canvas(images)
        wanted = self._outputs | set(layers)
        results = self._in_slices(images, lambda part: self._run(part, wanted))
        found = dict(zip(sorted(wanted), results, strict=True))
        return tuple(found[k] for k in sorted(self._outputs)), tuple(found[k] for k in layers)

    def run_layers(self, x: Tensor, *, start: int = 0, stop: int) -> Tensor:
        """The output of layer `stop` - 1 for the input of layer `start`; (B, C, H, W) both.

        No layer from `start` on may read one before it, but for its direct predecessor.
        """
        if start == 0:
            self._check_canvas(x)
        (output,) = self._in_slices(x, lambda part: (self._steps(part, range(start, stop)),))
        return output

    def _check_canvas(self, images: Tensor) -> None:
        canvas = self.cfg.input
        if images.ndim != 4 or images.shape[1:] != (canvas.channels, canvas.height, canvas.width):
            raise ModelError(f"the network reads (batch, {canvas}) images, got {tuple(images.shape)}")

    def _in_slices(self, x: Tensor, run: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        num_slices = math.ceil(len(x) / self._slice_images)
        if self.training or torch.is_grad_enabled() or x.device.type != "cpu" or num_slices <= 1:
            return run(x)
        results = [run(part) for part in x.tensor_split(num_slices)]
        return tuple(torch.cat(parts) for parts in zip(*results, strict=True))

    def _run(self, images: Tensor, wanted: Set[int]) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []
        self._steps(images, range(len(self.blocks)), lambda i, x: outputs.append(x) if i in wanted else None)
        return tuple(outputs)

    def _steps(self, x: Tensor, indices: range, tell: Callable[[int, Tensor], None] | None = None) -> Tensor:
        kept: dict[int, Tensor] = {}
        if x.device.type == "cpu" and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        for index in indices:
            layer, block = self.cfg.layers[index], self.blocks[index]
            x = block(x, *[kept[source] for source in layer.sources])
            if index in self._last_reader:
                kept[index] = x
            for unread in self._released.get(index, ()):
                del kept[unread]
            if tell is not None:
                tell(index, x)
        return x

    def resized(self, *, height: int, width: int) -> DarknetNetwork:
        """The same network on another canvas, pixels: it shares all parameters with this one.

        Raises:
            CfgError: for a network that has one canvas only, or no multiple of its stride.
        """
        cfg = resize_cfg(self.cfg, height=height, width=width)
        blocks = [
            block if any(True for _ in block.parameters()) else build_module(layer).train(self.training)
            for layer, block in zip(cfg.layers, self.blocks, strict=True)
        ]
        network = DarknetNetwork(cfg, blocks=blocks)
        network.training = self.training  # and not what is shared: a frozen norm stays in evaluation
        return network

    def fuse(self) -> Self:
        """Fold batch norms into copies of the kernels, for evaluation mode; parameters are untouched.

        The copies last until `unfuse`, `train()`, or the next load of weights. After changing parameters
        by hand, call it again.
        """
        if self.training:
            raise ModelError("fuse() is for inference: call eval() first")
        for block in self._convolutions():
            block.fold()
        return self

    def unfuse(self) -> Self:
        """Drop what `fuse` made."""
        for block in self._convolutions():
            block.unfold()
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch to training, which unfuses, or to evaluation."""
        if mode:
            self.unfuse()
        return super().train(mode)

    def _convolutions(self) -> list[ConvolutionBlock]:
        return [block for block in self.blocks if isinstance(block, ConvolutionBlock)]


def _last_readers(cfg: Cfg) -> dict[int, int]:
    """For every layer that a later one names as a source, the index of the last one that does."""
    return {source: layer.index for layer in cfg.layers for source in layer.sources}


def _released_after(last_reader: dict[int, int]) -> dict[int, list[int]]:
    released: dict[int, list[int]] = {}
    for source, reader in last_reader.items():
        released.setdefault(reader, []).append(source)
    return released


def _output_layers(cfg: Cfg) -> frozenset[int]:
    heads = {layer.index for layer in cfg.layers if isinstance(layer, Head)}
    if heads:
        return frozenset(heads)
    return frozenset({max((la.index for la in cfg.layers if not isinstance(la, Cost)), default=0)})


def count_parameters(network: nn.Module) -> int:
    """Learnable values; running statistics are not among them."""
    return sum(parameter.numel() for parameter in network.parameters())
