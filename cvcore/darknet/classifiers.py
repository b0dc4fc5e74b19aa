"""Darknet-19 and Darknet-53, and any classifier that a `.cfg` describes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cvcore.darknet.cfg import Cfg
from cvcore.darknet.detector import label_names
from cvcore.darknet.layers import Softmax
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

_MAXPOOL = "[maxpool]\nsize=2\nstride=2\n"
_AVGPOOL = "[avgpool]\n"
_SOFTMAX = "[softmax]\ngroups=1\n"
_SHORTCUT = "[shortcut]\nfrom=-3\nactivation=linear\n"


def darknet19_cfg(*, num_classes: int = 1000, size: int = 256) -> str:
    """The `.cfg` of Darknet-19 on a `size` x `size` canvas."""
    stages = ["\n".join(_convolution(filters, kernel) for filters, kernel in stage) for stage in DARKNET19]
    body = f"\n{_MAXPOOL}\n".join(stages)
    return "\n".join([_net(size), body, _classes(num_classes), _AVGPOOL, _SOFTMAX])


def darknet53_cfg(*, num_classes: int = 1000, size: int = 256) -> str:
    """The `.cfg` of Darknet-53 on a `size` x `size` canvas."""
    sections = [_net(size), _convolution(32, 3)]
    for filters, num_blocks in DARKNET53:
        sections.append(_convolution(filters, 3, stride=2))
        sections += [_convolution(filters // 2, 1), _convolution(filters, 3), _SHORTCUT] * num_blocks
    return "\n".join([*sections, _AVGPOOL, _classes(num_classes), _SOFTMAX])


def _net(size: int) -> str:
    return f"[net]\nheight={size}\nwidth={size}\nchannels=3\n"


def _convolution(filters: int, size: int, *, stride: int = 1) -> str:
    return (
        f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride={stride}\n"
        "pad=1\nactivation=leaky\n"
    )


def _classes(num_classes: int) -> str:
    return f"[convolutional]\nfilters={num_classes}\nsize=1\nstride=1\npad=1\nactivation=linear\n"


class DarknetClassifier(DarknetModel):
    """A classifier built from a `.cfg`, on a letterboxed canvas as Darknet's `classifier predict` has it.

    Attributes:
        input_spec: the canvas that it reads.
        labels: class names, in output order.
    """

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
        self._ends_in_softmax = any(isinstance(layer, Softmax) for layer in cfg.layers)
        self.eval()

    def preprocess(self, canvases: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 RGB canvases to (B, 3, H, W) floats, 0 to 1, in the parameters' dtype."""
        dtype = next(self.parameters()).dtype
        return unit_floats(canvases, dtype)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) floats, 0 to 1, to (B, classes) probabilities."""
        (output,) = self.network(images)
        scores: Tensor = output.flatten(1)
        return scores if self._ends_in_softmax else torch.softmax(scores, dim=1)


def _check_classifies(cfg: Cfg) -> None:
    last = cfg.layers[-1]
    if cfg.heads:
        raise ModelError(f"the cfg is of a detector ({cfg.heads[0]}); load it with DarknetDetector")
    if (last.output.height, last.output.width) != (1, 1):
        raise ModelError(f"a classifier ends in one value a class, but {last} puts out {last.output}")
    if cfg.input.channels != 3:
        raise ModelError(f"a classifier reads RGB, but the cfg has channels={cfg.input.channels}")
