"""Read a Darknet `.cfg` into a typed network: frozen layers with every shape inferred and checked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from cvcore.darknet.head_kinds import HEAD_KINDS
from cvcore.darknet.kinds import LAYER_KINDS, Context, Kind, keys
from cvcore.darknet.layers import Connected, Head, Layer, Local, Route, Shape
from cvcore.darknet.sections import Section, UnusedKey, split_sections
from cvcore.errors import CfgError, did_you_mean

_logger = logging.getLogger(__name__)

_KINDS = {**LAYER_KINDS, **HEAD_KINDS}
_ALIASES = {
    "conv": "convolutional",
    "conn": "connected",
    "max": "maxpool",
    "avg": "avgpool",
    "soft": "softmax",
}

_NET_USED = keys("height width channels")
_NET_TRAINING = keys(
    "batch subdivisions max_batches time_steps policy steps scales scale step gamma power burn_in "
    "learning_rate learning_rate_min sgdr_cycle sgdr_mult seq_scales momentum decay adam B1 B2 eps "
    "max_crop min_crop flip aspect angle saturation exposure hue random blur gaussian_noise mixup cutmix "
    "mosaic mosaic_bound letter_box label_smooth_eps contrastive contrastive_jit_flip contrastive_color "
    "unsupervised adversarial_lr attention ema_alpha max_chart_loss center clip notruth inputs "
    "random_crop resize_step num_sigmas_reject_badlabels badlabels_rejection_percentage try_fix_nan "
    "optimized_memory workspace_size_limit_MB loss_scale dynamic_minibatch track augment_speed "
    "sequential_subdivisions init_sequential_subdivisions show_receptive_field cudnn_benchmark "
    "weights_reject_freq equidistant_point use_cuda_graph tracking gpu_index scales1 dropblock"
)


@dataclass(frozen=True, slots=True)
class Cfg:
    """A parsed network.

    Attributes:
        input: the canvas that it reads.
        layers: in file order; `layers[i].index == i`.
        unused: keys that no known Darknet reads; they have no effect.
        sections: what the layers were read from.
    """

    input: Shape
    layers: tuple[Layer, ...]
    unused: tuple[UnusedKey, ...] = ()
    sections: tuple[Section, ...] = field(default=(), repr=False, compare=False)

    @property
    def heads(self) -> tuple[Head, ...]:
        """The detection heads, in file order; empty for a classifier or a backbone."""
        return tuple(layer for layer in self.layers if isinstance(layer, Head))

    @property
    def num_operations(self) -> int:
        """Operations an image over convolutions, local and connected layers; a multiply-add is 2."""
        return sum(layer.num_operations for layer in self.layers)

    @property
    def num_weights(self) -> int:
        """Values in a complete `.weights` file, after its header."""
        return sum(layer.num_weights for layer in self.layers)

    @property
    def stride(self) -> int:
        """How many canvas pixels share one output cell: the multiple that other canvas sizes must be."""
        sizes = [head.output.height for head in self.heads]
        sizes += [layer.input.height for layer in self.layers if layer.section == "avgpool"]
        return max((self.input.height // size for size in sizes), default=1)


def parse_cfg(text: str, *, height: int | None = None, width: int | None = None) -> Cfg:
    """Parse the text of a `.cfg`.

    Args:
        text: the file's content.
        height, width: canvas size instead of the file's, pixels; multiples of the network's stride.

    Raises:
        CfgError: naming line and section, for anything that Darknet would misread or cannot run.
    """
    net, *sections = split_sections(text)
    if net.name not in ("net", "network"):
        raise net.error("the first section must be [net]")
    unused = net.check_keys(used=_NET_USED, ignored=_NET_TRAINING, refused={})
    channels, own_height, own_width = (net.integer(key, minimum=1) for key in ("channels", "height", "width"))
    cfg = _infer(Shape(channels, own_height, own_width), sections, unused)
    for key in cfg.unused:
        _logger.warning("line %d, [%s]: unused key %r has no effect", key.line, key.section, key.key)
    canvas = Shape(channels, height or own_height, width or own_width)
    if canvas == cfg.input:
        return cfg
    return resize_cfg(cfg, height=canvas.height, width=canvas.width)


def resize_cfg(cfg: Cfg, *, height: int, width: int) -> Cfg:
    """The same network on another canvas, pixels; multiples of its stride.

    Raises:
        CfgError: for a network that has one canvas only, or another multiple.
    """
    canvas = Shape(cfg.input.channels, height, width)
    _check_resizable(cfg, canvas)
    return _infer(canvas, cfg.sections, cfg.unused)


def _infer(canvas: Shape, sections: Sequence[Section], net_unused: Sequence[UnusedKey]) -> Cfg:
    layers: list[Layer] = []
    unused = list(net_unused)
    for section in sections:
        kind = _kind(section)
        unused += section.check_keys(used=kind.used, ignored=kind.ignored, refused=kind.refused)
        layer = kind.parse(Context(section, canvas, tuple(layers)))
        _check_reads_no_head(section, layer, layers)
        layers.append(layer)
    if not layers:
        raise CfgError("the cfg holds [net] and no layer")
    return Cfg(canvas, tuple(layers), tuple(unused), tuple(sections))


def _kind(section: Section) -> Kind:
    name = _ALIASES.get(section.name, section.name)
    if name not in _KINDS:
        allowed = ", ".join(sorted(_KINDS))
        raise section.error(f"unknown section.{did_you_mean(name, _KINDS)} Supported: {allowed}")
    return _KINDS[name]


def _check_reads_no_head(section: Section, layer: Layer, before: list[Layer]) -> None:
    reads = list(layer.sources) if isinstance(layer, Route) else [layer.index - 1, *layer.sources]
    for index in reads:
        if index >= 0 and isinstance(before[index], Head):
            raise section.error(f"reads {before[index]}, a detection head, which has no further use")


def _check_resizable(cfg: Cfg, canvas: Shape) -> None:
    for layer in cfg.layers:
        if isinstance(layer, Connected | Local):
            raise CfgError(
                f"{layer} fixes the canvas at {cfg.input.height}x{cfg.input.width}; "
                f"got {canvas.height}x{canvas.width}"
            )
    for name, size in (("height", canvas.height), ("width", canvas.width)):
        if size < 1 or size % cfg.stride:
            below = max(1, size // cfg.stride) * cfg.stride
            raise CfgError(
                f"{name}={size} is not a multiple of the network's stride {cfg.stride}; "
                f"nearest: {below} or {below + cfg.stride}"
            )
