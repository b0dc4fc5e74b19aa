"""Any Darknet detector, v1 to v3, behind the one detector contract."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cvcore.darknet.cfg import Cfg
from cvcore.darknet.heads import decode_head
from cvcore.darknet.layers import Detection
from cvcore.darknet.model import DarknetModel
from cvcore.detect.base import Detector
from cvcore.errors import ModelError
from cvcore.image.fit import Fit
from cvcore.ops.boxes import select_batch
from cvcore.types import Detections, DetectOptions, InputSpec


class DarknetDetector(DarknetModel, Detector):
    """A detector built from a `.cfg`.

    v2 and v3 read a letterboxed canvas, as Darknet's `detector test` does; v1 a stretched one, as its
    `yolo test` does.
    """

    def __init__(self, cfg: Cfg, *, labels: Sequence[str] | None = None) -> None:
        """Build with random weights, in evaluation mode.

        Raises:
            ModelError: where `cfg` has no detection head, does not read RGB, or the labels are not as
                many as its classes.
        """
        _check_detects(cfg)
        super().__init__(cfg)
        num_classes = cfg.heads[0].num_classes
        self.labels = label_names(labels, num_classes)
        stretched = any(isinstance(head, Detection) for head in cfg.heads)
        self.input_spec = InputSpec(
            height=cfg.input.height, width=cfg.input.width, fit="stretch" if stretched else "letterbox"
        )
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) floats, 0 to 1, to the raw input of each head, each (B, C, rows, columns)."""
        return self.network(images)  # type: ignore[no-any-return]

    def decode(
        self, raw: tuple[Tensor, ...], fits: Sequence[Fit], options: DetectOptions
    ) -> list[Detections]:
        """Raw head outputs to detections in canvas pixels, suppressed over all heads together."""
        spec, cfg = self.input_spec, self.network.cfg
        found = [
            decode_head(head, tensor, height=spec.height, width=spec.width)
            for head, tensor in zip(cfg.heads, raw, strict=True)
        ]
        boxes = torch.cat([head.boxes for head in found], dim=1)
        scores = torch.cat([head.class_scores for head in found], dim=1)
        assert len(boxes) == len(fits)
        return select_batch(boxes, scores, options)


def label_names(labels: Sequence[str] | None, num_classes: int) -> tuple[str, ...]:
    """The labels, or `class 0`, `class 1`, ... where there are none.

    Raises:
        ModelError: where they are not as many as the classes.
    """
    if labels is None:
        return tuple(f"class {i}" for i in range(num_classes))
    if len(labels) != num_classes:
        raise ModelError(f"the cfg has {num_classes} classes, but {len(labels)} labels were given")
    return tuple(labels)


def _check_detects(cfg: Cfg) -> None:
    if not cfg.heads:
        raise ModelError(
            f"the cfg has no detection head ([yolo], [region] or [detection]); it ends in {cfg.layers[-1]}. "
            "Classifiers are loaded with DarknetClassifier"
        )
    counts = {head.num_classes for head in cfg.heads}
    if len(counts) > 1:
        raise ModelError(f"the cfg's heads disagree in classes: {sorted(counts)}")
    if cfg.input.channels != 3:
        raise ModelError(f"a detector reads RGB, but the cfg has channels={cfg.input.channels}")
