"""Any Darknet detector, v1 to v3, behind the one detector contract; it trains too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cvcore.backbones.build import BackboneName
from cvcore.darknet.borrowed import borrow_convolutions
from cvcore.darknet.cfg import Cfg
from cvcore.darknet.convolution import ConvolutionBlock
from cvcore.darknet.heads import decode_head
from cvcore.darknet.layers import Detection, Head, MaxPool, Region, Shortcut, Yolo
from cvcore.darknet.losses import LossKind, darknet_losses
from cvcore.darknet.model import DarknetModel
from cvcore.darknet.network import DarknetNetwork
from cvcore.darknet.retarget import retarget_cfg
from cvcore.detect.base import TrainableDetector
from cvcore.detect.truth import Truth
from cvcore.errors import ModelError
from cvcore.image.fit import Fit
from cvcore.ops.boxes import select_batch
from cvcore.types import Detections, DetectOptions, InputSpec


class DarknetDetector(DarknetModel, TrainableDetector):
    """A detector built from a `.cfg`.

    Attributes:
        config: of `cvcore.detect.yolo.build_darknet`, unless what built it sets another builder's.
        loss_kind: what it is trained by; see `cvcore.darknet.losses`.
        trunk: the classifier that it begins as, if it does.
        num_backbone_layers: so many first layers stand for a classifier's; through the last residual block
            unless what built it knows better, or through the last pooling where there is none.

    v2 and v3 read a letterboxed canvas, as Darknet's `detector test` does; v1 a stretched one, as its
    `yolo test` does.
    """

    augmentation = ("jitter", "flip", "hsv")

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
        self.num_anchors = sum(len(head.anchors) for head in cfg.heads if isinstance(head, Yolo | Region))
        self.canvas_step = cfg.stride if self.num_anchors else 0  # v1's connected layers fix the canvas
        self.loss_kind: LossKind = "paper"
        self.trunk: BackboneName | None = None
        self.num_backbone_layers = _backbone_end(cfg)
        self._other_canvases: dict[tuple[int, int], DarknetNetwork] = {}
        _start_heads(self.network)
        self.eval()

    @property
    def backbone_parts(self) -> tuple[str, ...]:  # type: ignore[override]
        """See `TrainableDetector`."""
        return tuple(f"network.blocks.{index}" for index in range(self.num_backbone_layers))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) floats, 0 to 1, to the raw input of each head, each (B, C, rows, columns)."""
        return self.network(images)  # type: ignore[no-any-return]

    def count_boxes(self, images: Tensor) -> int:
        """See `Detector.count_boxes`: those of all cells of all heads."""
        del images
        return sum(_boxes_of(head) for head in self.network.cfg.heads)

    def losses(self, images: Tensor, truth: Truth) -> dict[str, Tensor]:
        """See `TrainableDetector.losses`; of any canvas that the network can read."""
        raw, _ = self.forward_with_maps(images, ())
        return self.losses_of(raw, truth, height=images.shape[2], width=images.shape[3])

    def losses_of(
        self, raw: tuple[Tensor, ...], truth: Truth, *, height: int, width: int
    ) -> dict[str, Tensor]:
        """`losses` of what each head gave on a canvas of `height` x `width` pixels."""
        heads = self._network_on(height, width).cfg.heads
        return darknet_losses(heads, raw, truth, height=height, width=width, kind=self.loss_kind)

    def forward_with_maps(
        self, images: Tensor, layers: Sequence[int]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """See `DarknetNetwork.forward_with_maps`; of any canvas that the network can read."""
        return self._network_on(*images.shape[2:]).forward_with_maps(images, layers)

    def load_backbone(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """See `TrainableDetector.load_backbone` and `borrow_convolutions`."""
        if self.trunk is None:
            super().load_backbone(state, name=name)
        else:
            borrow_convolutions(self.network, self.trunk, state, name=name)

    def with_classes(self, num_classes: int) -> DarknetDetector:
        """The same network for another number of classes, without memory for its weights (on `meta`)."""
        canvas = self.network.cfg.input
        text = retarget_cfg(self.cfg_text, num_classes=num_classes)
        with torch.device("meta"):
            return DarknetDetector.from_cfg(text, height=canvas.height, width=canvas.width)

    def _network_on(self, height: int, width: int) -> DarknetNetwork:
        own = self.network.cfg.input
        if (height, width) == (own.height, own.width):
            return self.network
        if (height, width) not in self._other_canvases:
            self._other_canvases[height, width] = self.network.resized(height=height, width=width)
        return self._other_canvases[height, width]

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


def _backbone_end(cfg: Cfg) -> int:
    for kind in (Shortcut, MaxPool):
        found = [layer.index for layer in cfg.layers if isinstance(layer, kind)]
        if found:
            return found[-1] + 1
    return 0


def _boxes_of(head: Head) -> int:
    if isinstance(head, Detection):
        return head.side**2 * head.num
    assert isinstance(head, Yolo | Region)
    return head.output.height * head.output.width * len(head.anchors)


@torch.no_grad()
def _start_heads(network: DarknetNetwork) -> None:
    """Start with every box unlikely, so that background does not drown the first steps.

    Raw outputs of v1 are no logits: they start as any layer's.
    """
    for head in network.cfg.heads:
        block = network.blocks[head.index - 1]
        if not isinstance(head, Yolo | Region) or not isinstance(block, ConvolutionBlock):
            continue
        nn.init.normal_(block.conv.weight, std=0.01)
        if block.conv.bias is not None:
            bias = block.conv.bias.view(len(head.anchors), -1)
            bias.zero_()
            # Squared errors, unlike cross-entropy, hardly move a logistic that starts near 0.
            bias[:, 4], bias[:, 5:] = (-4.6, -1.5) if isinstance(head, Yolo) else (-2.0, 0.0)


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
