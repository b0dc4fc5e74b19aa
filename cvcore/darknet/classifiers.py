"""Darknet-19 and Darknet-53, and any classifier that a `.cfg` describes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from cvcore.classify.base import Classifier
from cvcore.darknet.cfg import Cfg
from cvcore.darknet.detector import label_names
from cvcore.darknet.layers import AvgPool, Dropout, Softmax
from cvcore.darknet.model import DarknetModel
from cvcore.errors import ModelError
from cvcore.image.normalize import unit_floats
from cvcore.types import InputSpec

# YOLO9000 (Redmon and Farhadi 2016), table 6: (filters, size) of each convolution, one stage a line, a
# max pooling between stages.
DARKNET19 = (
    ((32, 3),),
    ((64, 3),),
    ((128, 3), (64, 1), (128, 3)),
    ((256, 3), (128, 1), (256, 3)),
    ((512, 3), (256, 1), (512, 3), (256, 1), (512, 3)),
    ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)),
)

# YOLOv3 (Redmon and Farhadi 2018), table 1: (filters, residual blocks) of each stage.
DARKNET53 = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))

STRIDE = 32

_MAXPOOL = "[maxpool]\nsize=2\nstride=2\n"
_AVGPOOL = "[avgpool]\n"
_SOFTMAX = "[softmax]\ngroups=1\n"
_SHORTCUT = "[shortcut]\nfrom=-3\nactivation=linear\n"


def scaled_channels(filters: int, width: float) -> int:
    """`filters` at this width, a multiple of 8 unless the width is 1."""
    return filters if width == 1 else max(8, round(filters * width / 8) * 8)


def darknet19_cfg(*, num_classes: int = 1000, size: int = 256, width: float = 1.0) -> str:
    """The `.cfg` of Darknet-19 on a `size` x `size` canvas; `width` multiplies all channels but the last."""
    _check(size, width)
    stages = [
        "\n".join(_convolution(scaled_channels(filters, width), kernel) for filters, kernel in stage)
        for stage in DARKNET19
    ]
    body = f"\n{_MAXPOOL}\n".join(stages)
    return "\n".join([_net(size), body, _classes(num_classes), _AVGPOOL, _SOFTMAX])


def darknet53_cfg(*, num_classes: int = 1000, size: int = 256, width: float = 1.0) -> str:
    """The `.cfg` of Darknet-53 on a `size` x `size` canvas; `width` multiplies all channels but the last."""
    _check(size, width)
    sections = [_net(size), _convolution(scaled_channels(32, width), 3)]
    for filters, num_blocks in DARKNET53:
        wide, narrow = scaled_channels(filters, width), scaled_channels(filters // 2, width)
        sections.append(_convolution(wide, 3, stride=2))
        sections += [_convolution(narrow, 1), _convolution(wide, 3), _SHORTCUT] * num_blocks
    return "\n".join([*sections, _AVGPOOL, _classes(num_classes), _SOFTMAX])


def _check(size: int, width: float) -> None:
    if size < STRIDE:
        raise ValueError(f"input_size must be at least {STRIDE}, the network's stride; got {size}")
    if not width > 0:
        raise ValueError(f"width must be greater than 0, got {width}")


def _net(size: int) -> str:
    return f"[net]\nheight={size}\nwidth={size}\nchannels=3\n"


def _convolution(filters: int, size: int, *, stride: int = 1) -> str:
    return (
        f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride={stride}\n"
        "pad=1\nactivation=leaky\n"
    )


def _classes(num_classes: int) -> str:
    return f"[convolutional]\nfilters={num_classes}\nsize=1\nstride=1\npad=1\nactivation=linear\n"


class DarknetClassifier(DarknetModel, Classifier):
    """A classifier built from a `.cfg`, on a letterboxed canvas as Darknet's `classifier predict` has it."""

    def __init__(self, cfg: Cfg, *, labels: Sequence[str] | None = None) -> None:
        """Build with random weights, in evaluation mode.

        Raises:
            ModelError: where `cfg` holds a detection head, does not end in one value a class, does not read
                RGB, or the labels are not as many as its classes.
        """
        _check_classifies(cfg)
        super().__init__(cfg)
        self.labels = label_names(labels, cfg.layers[-1].output.channels)
        self.input_spec = InputSpec(height=cfg.input.height, width=cfg.input.width)
        self.config = {}
        self._head_start, self._head_stop, self._temperature = _head_layers(cfg)
        self.map_channels = cfg.layers[self._head_start].input.channels
        classes = max(layer.index for layer in cfg.layers if layer.num_weights)
        self.num_trunk_layers = classes
        self.head_prefix = f"network.blocks.{classes}."
        self.eval()

    def preprocess(self, canvases: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 RGB canvases to (B, 3, H, W) floats, 0 to 1, in the parameters' dtype."""
        dtype = next(self.parameters()).dtype
        return unit_floats(canvases, dtype)

    def trunk(self, images: Tensor) -> Tensor:
        """The layers before the classifying one, and before an average that it reads."""
        return self.network.run_layers(images, stop=self._head_start)

    def head(self, maps: Tensor) -> Tensor:
        """What a softmax at the end of the `.cfg` reads: logits, (B, classes)."""
        scores = self.network.run_layers(maps, start=self._head_start, stop=self._head_stop)
        return scores.flatten(1) / self._temperature


def _head_layers(cfg: Cfg) -> tuple[int, int, float]:
    """Where the head starts and stops, by layer, and the temperature of the softmax behind it."""
    last = max(layer.index for layer in cfg.layers if layer.num_weights)
    start = last
    while start > 0 and isinstance(cfg.layers[start - 1], AvgPool | Dropout):
        start -= 1
    behind = cfg.layers[last + 1 :]
    ends = [layer for layer in behind if isinstance(layer, Softmax)]
    return start, ends[0].index if ends else len(cfg.layers), ends[0].temperature if ends else 1.0


def _check_classifies(cfg: Cfg) -> None:
    last = cfg.layers[-1]
    if cfg.heads:
        raise ModelError(f"the cfg is of a detector ({cfg.heads[0]}); load it with DarknetDetector")
    if (last.output.height, last.output.width) != (1, 1):
        raise ModelError(f"a classifier ends in one value a class, but {last} puts out {last.output}")
    if not any(layer.num_weights for layer in cfg.layers):
        raise ModelError("the cfg has no layer that learns, so it classifies nothing")
    if cfg.input.channels != 3:
        raise ModelError(f"a classifier reads RGB, but the cfg has channels={cfg.input.channels}")
