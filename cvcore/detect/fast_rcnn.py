"""Fast R-CNN (Girshick 2015): one feature map of the image, and a head on each proposed region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cvcore.backbones.build import BackboneName, build_backbone
from cvcore.backbones.trunk import Trunk
from cvcore.detect.contents import same_size_batches
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
from cvcore.detect.region_loss import RegionLossOptions, region_loss, sample_regions
from cvcore.detect.searching import ProposedImages, SearchingDetector
from cvcore.detect.truth import Truth
from cvcore.image.fit import Fit
from cvcore.ops.padding import PaddedBoxes
from cvcore.types import Detections, DetectOptions, InputSpec


class FastRcnn(SearchingDetector):
    """The network, its losses and its decoding; see `build_fast_rcnn` for its configuration."""

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        spec: InputSpec,
        trunk: Trunk,
        head: RegionHead,
        max_proposals: int,
        regions_per_image: int,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        self.labels = labels
        self.input_spec = spec
        self.config = config
        self.trunk, self.head = trunk, head
        self.max_proposals = max_proposals
        self.region_options = RegionLossOptions(regions_per_image=regions_per_image)

    def forward(self, proposed: ProposedImages) -> RegionOutputs:
        """Scores and offsets of each image's proposals; images of one size run together."""
        indices, parts = [], []
        for own, batch in same_size_batches(proposed.images):
            features = self.trunk.last_map(batch)
            regions = PaddedBoxes(proposed.regions.boxes[own], proposed.regions.valid[own])
            indices.append(own)
            parts.append(self.head.padded(features, regions, all_finite(features)))
        return in_order(indices, parts)

    def decode(self, raw: RegionOutputs, fits: Sequence[Fit], options: DetectOptions) -> list[Detections]:
        """See `Detector.decode`."""
        return decode_regions(raw, fits, options)

    def losses(self, images: ProposedImages, truth: Truth) -> dict[str, Tensor]:
        """See `TrainableDetector.losses`: the multi-task loss (equation 1), by its two terms."""
        features = self.trunk.last_map(torch.stack(images.images))
        regions = sample_regions(images.regions, truth.padded(len(features)), self.region_options)
        logits, offsets = self.head(features, regions.boxes, regions.image_index)
        classes, box = region_loss(logits, offsets, regions, coder=CODER, options=self.region_options)
        return {"total": classes + box, "classes": classes, "box": box}

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


def build_fast_rcnn(
    labels: tuple[str, ...] | None = None,
    *,
    backbone: BackboneName = "vgg16",
    stride: int = 16,
    frozen_convs: int = 0,
    shortest_edge: int = 600,
    canvas: Sequence[int] = (1000, 1000),
    narrow_to: int | None = None,
    head_width: int = 4096,
    pool: Pool = "max",
    dropout: float = 0.5,
    max_proposals: int = 2000,
    regions_per_image: int = 64,
) -> FastRcnn:
    """Build an untrained Fast R-CNN; by default the paper's, on VGG16 for VOC's 20 classes.

    Args:
        labels: class names, without a background.
        backbone, stride: see `build_backbone`, whose last map this is.
        frozen_convs: so many first convolutions do not learn (the paper's section 4.5: the 4 before conv3_1).
        shortest_edge: images are scaled to this, or less where one would leave the canvas, pixels.
        canvas: height and width, pixels.
        head_width: of fc6 and fc7.
        narrow_to, pool, dropout: see `RegionHead`.
        max_proposals: the best so many regions of an image reach the head.
        regions_per_image: sampled for the loss.

    Raises:
        ValueError: for a configuration that no network can have.
    """
    names = labels or VOC_LABELS
    counts = {
        "head_width": head_width,
        "max_proposals": max_proposals,
        "regions_per_image": regions_per_image,
    }
    check_counts(counts | ({} if narrow_to is None else {"narrow_to": narrow_to}))
    height, width = canvas
    trunk = build_backbone(backbone, last_stride=stride)
    trunk.freeze_convs(frozen_convs)
    model = FastRcnn(
        names,
        spec=InputSpec(height, width, fit="shortest_edge", shortest_edge_px=shortest_edge),
        trunk=trunk,
        head=RegionHead(
            trunk.channels[stride],
            len(names),
            stride=stride,
            width=head_width,
            pool=pool,
            dropout=dropout,
            narrow_to=narrow_to,
        ),
        max_proposals=max_proposals,
        regions_per_image=regions_per_image,
        config={
            "backbone": backbone,
            "stride": stride,
            "frozen_convs": frozen_convs,
            "shortest_edge": shortest_edge,
            "canvas": [height, width],
            "narrow_to": narrow_to,
            "pool": pool,
            "dropout": dropout,
            **counts,
        },
    )
    return model.to(memory_format=torch.channels_last)
