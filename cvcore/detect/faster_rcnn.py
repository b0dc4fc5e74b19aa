"""Faster R-CNN (Ren et al. 2015): a region proposal network and Fast R-CNN's head on one feature map.

Trained by the paper's approximate joint training (section 3.2): the head learns from proposals as they are,
and no gradient goes through their coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cvcore.backbones.build import BackboneName, build_backbone
from cvcore.backbones.trunk import Trunk
from cvcore.detect.base import TrainableDetector
from cvcore.detect.contents import crop_contents, same_size_batches
from cvcore.detect.labels import VOC_LABELS
from cvcore.detect.region_head import (
    CODER,
    Pool,
    RegionHead,
    RegionOutputs,
    all_finite,
    check_counts,
    decode_regions,
    in_order,
)
from cvcore.detect.region_loss import RegionLossOptions, RegionTargets, region_loss, sample_regions
from cvcore.detect.truth import Truth
from cvcore.image.fit import Fit
from cvcore.image.normalize import imagenet_floats
from cvcore.propose.rpn import RATIOS, SIZES, Rpn, anchor_shapes, inside_image, propose_regions
from cvcore.propose.rpn_loss import RpnLossOptions, rpn_loss, sample_anchors
from cvcore.types import Detections, DetectOptions, InputSpec

# The authors' code lets 6,000 candidates compete for 300 proposals, and 12,000 for 2,000 in training.
_CANDIDATES, _TRAINING_CANDIDATES = 20, 6


@dataclass(frozen=True, slots=True)
class Learned:
    """What a training step of a batch gives: terms of the loss, the map, and the sampled regions."""

    terms: dict[str, Tensor]
    features: Tensor
    regions: RegionTargets


class FasterRcnn(TrainableDetector):
    """The network, its losses and its decoding; see `build_faster_rcnn` for its configuration."""

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        spec: InputSpec,
        trunk: Trunk,
        rpn: Rpn,
        head: RegionHead,
        proposals: int,
        training_proposals: int,
        regions_per_image: int,
        background_from: float,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        self.labels = labels
        self.input_spec = spec
        self.config = config
        self.trunk, self.rpn, self.head = trunk, rpn, head
        self.proposals, self.training_proposals = proposals, training_proposals
        self.rpn_options = RpnLossOptions()
        self.region_options = RegionLossOptions(
            regions_per_image=regions_per_image, background_from=background_from
        )

    def preprocess(self, canvases: Tensor, fits: Sequence[Fit] | None = None) -> list[Tensor]:
        """Each image cropped from its canvas: (3, content height, content width), normalised."""
        return crop_contents(imagenet_floats(canvases, next(self.parameters()).dtype), fits)

    def forward(self, images: Sequence[Tensor]) -> RegionOutputs:
        """Scores and offsets of each image's best proposals; images of one size run together."""
        indices, parts = [], []
        for own, batch in same_size_batches(images):
            indices.append(own)
            features = self.trunk.last_map(batch)
            parts.append(self.find_regions(features, height=batch.shape[2], width=batch.shape[3]))
        return in_order(indices, parts)

    def find_regions(self, features: Tensor, *, height: int, width: int) -> RegionOutputs:
        """The same from a map, (B, C, h, w), of images of that size in pixels."""
        scores, offsets = self.rpn(features)
        regions = propose_regions(
            scores,
            offsets,
            self.rpn.anchors(features),
            height=height,
            width=width,
            candidates=_CANDIDATES * self.proposals,
            proposals=self.proposals,
        )
        return self.head.padded(features, regions, all_finite(scores, offsets))

    def count_boxes(self, images: Sequence[Tensor]) -> int:
        """See `Detector.count_boxes`: the anchors that compete for proposals."""
        anchors: int = self.rpn(self.trunk.last_map(images[0][None]))[0].shape[1]
        return min(anchors, _CANDIDATES * self.proposals)

    def decode(self, raw: RegionOutputs, fits: Sequence[Fit], options: DetectOptions) -> list[Detections]:
        """See `Detector.decode`."""
        return decode_regions(raw, fits, options)

    def losses(self, images: Sequence[Tensor], truth: Truth) -> dict[str, Tensor]:
        """See `TrainableDetector.losses`: the proposal network's two terms and the head's two."""
        terms = self.learn(images, truth).terms
        return {"total": torch.stack([*terms.values()]).sum(), **terms}

    def learn(self, images: Sequence[Tensor], truth: Truth) -> Learned:
        """The terms of the loss, and what further branches learn from; see `losses`."""
        batch = torch.stack(list(images))
        padded = truth.padded(len(batch))
        features = self.trunk.last_map(batch)
        height, width = batch.shape[-2:]
        scores, offsets = self.rpn(features)
        anchors = self.rpn.anchors(features)
        inside = inside_image(anchors, height=height, width=width)
        targets = sample_anchors(anchors, inside, padded, self.rpn_options)
        cells = features.shape[2] * features.shape[3]
        objectness, proposal_box = rpn_loss(
            scores, offsets, targets, num_cells=cells, options=self.rpn_options
        )
        proposals = propose_regions(
            scores,
            offsets,
            anchors,
            height=height,
            width=width,
            candidates=_TRAINING_CANDIDATES * self.training_proposals,
            proposals=self.training_proposals,
        )
        regions = sample_regions(proposals, padded, self.region_options)
        logits, refined = self.head(features, regions.boxes, regions.image_index)
        classes, box = region_loss(logits, refined, regions, coder=CODER, options=self.region_options)
        terms = {"objectness": objectness, "proposal_box": proposal_box, "classes": classes, "box": box}
        return Learned(terms, features, regions)

    def load_backbone(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """Start from a classifier: the trunk, and fc6 and fc7 of a VGG16 where their shapes fit.

        Args:
            state: under torchvision's names.
            name: what messages call it.

        Raises:
            WeightsError: naming what does not fit the trunk; nothing is then copied.
        """
        self.trunk.load(state, name=name)
        self.head.load(state)


def build_faster_rcnn(
    labels: tuple[str, ...] | None = None,
    *,
    backbone: BackboneName = "vgg16",
    stride: int = 16,
    frozen_convs: int = 0,
    shortest_edge: int = 600,
    canvas: Sequence[int] = (1000, 1000),
    anchor_sizes: Sequence[float] = SIZES,
    anchor_ratios: Sequence[float] = RATIOS,
    rpn_width: int = 512,
    narrow_to: int | None = None,
    head_width: int = 4096,
    pool: Pool = "max",
    dropout: float = 0.5,
    proposals: int = 300,
    training_proposals: int = 2000,
    regions_per_image: int = 128,
    background_from: float = 0.0,
) -> FasterRcnn:
    """Build an untrained Faster R-CNN; by default the paper's, on VGG16 for VOC's 20 classes.

    Args:
        labels: class names, without a background.
        backbone, stride: see `build_backbone`, whose last map this is.
        frozen_convs: so many first convolutions do not learn (the paper's section 4.5: the 4 before conv3_1).
        shortest_edge: images are scaled to this, or less where one would leave the canvas, pixels.
        canvas: height and width, pixels.
        anchor_sizes: square roots of the anchors' areas, pixels.
        anchor_ratios: their heights over their widths.
        rpn_width: channels of the proposal network's 3x3 convolution.
        head_width: of fc6 and fc7.
        narrow_to, pool, dropout: see `RegionHead`.
        proposals, training_proposals: the best so many regions of an image reach the head.
        regions_per_image, background_from: see `RegionLossOptions`.

    Raises:
        ValueError: for a configuration that no network can have.
    """
    names = labels or VOC_LABELS
    sizes, ratios = tuple(map(float, anchor_sizes)), tuple(map(float, anchor_ratios))
    if not sizes or not ratios or min(*sizes, *ratios) <= 0:
        raise ValueError(f"anchor_sizes and anchor_ratios must be positive, got {sizes} and {ratios}")
    counts = {
        "rpn_width": rpn_width,
        "head_width": head_width,
        "proposals": proposals,
        "training_proposals": training_proposals,
        "regions_per_image": regions_per_image,
    }
    check_counts(counts | ({} if narrow_to is None else {"narrow_to": narrow_to}))
    height, width = canvas
    trunk = build_backbone(backbone, last_stride=stride)
    trunk.freeze_convs(frozen_convs)
    model = FasterRcnn(
        names,
        spec=InputSpec(height, width, fit="shortest_edge", shortest_edge_px=shortest_edge),
        trunk=trunk,
        rpn=Rpn(trunk.channels[stride], anchor_shapes(sizes, ratios), stride=stride, width=rpn_width),
        head=RegionHead(
            trunk.channels[stride],
            len(names),
            stride=stride,
            width=head_width,
            pool=pool,
            dropout=dropout,
            narrow_to=narrow_to,
        ),
        proposals=proposals,
        training_proposals=training_proposals,
        regions_per_image=regions_per_image,
        background_from=background_from,
        config={
            "backbone": backbone,
            "stride": stride,
            "frozen_convs": frozen_convs,
            "shortest_edge": shortest_edge,
            "canvas": [height, width],
            "anchor_sizes": list(sizes),
            "anchor_ratios": list(ratios),
            "narrow_to": narrow_to,
            "pool": pool,
            "dropout": dropout,
            "background_from": background_from,
            **counts,
        },
    )
    return model.to(memory_format=torch.channels_last)
