"""torchvision's Faster R-CNN (Ren et al. 2015) and Mask R-CNN (He et al. 2017), image to detections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

from cvcore.detect.base import Detector
from cvcore.detect.pasting import paste_masks
from cvcore.detect.torchvision_ssd import float_shapes
from cvcore.image.fit import Fit, clip_boxes
from cvcore.ops.box_coder import BoxCoder
from cvcore.ops.boxes import select_candidates
from cvcore.types import Detections, DetectOptions, InputSpec

# Boxes with a shorter side are dropped before suppression, pixels.
_SMALLEST_SIDE_PX = 1e-2
_FINEST_STRIDE = 4

RawImage = dict[str, Any]


class TorchvisionRcnn(Detector):
    """Images lie at the top left of a square canvas, scaled as the papers do; each is cropped from it again.

    Images of one size run as one batch and others apart, never padded to each other: padding would let a
    detection depend on which images happen to share a batch.
    """

    def __init__(
        self, network: Any, *, labels: tuple[str, ...], shortest_edge_px: int, longest_edge_px: int
    ) -> None:
        """Wrap torchvision's `FasterRCNN` or `MaskRCNN` module."""
        super().__init__()
        self.network: Any = network
        self.labels = labels
        self.makes_masks = network.roi_heads.has_mask()
        self.input_spec = InputSpec(
            longest_edge_px, longest_edge_px, fit="shortest_edge", shortest_edge_px=shortest_edge_px
        )
        self._coder = BoxCoder(tuple(network.roi_heads.box_coder.weights))

    def preprocess(self, canvases: Tensor, fits: Sequence[Fit] | None = None) -> list[Tensor]:
        """Crop each image from its canvas: (3, content height, content width) floats, normalised."""
        images = super().preprocess(canvases)
        transform = self.network.transform
        if fits is None:
            return [transform.normalize(image) for image in images]
        return [
            transform.normalize(image[:, : fit.content_height, : fit.content_width])
            for image, fit in zip(images, fits, strict=True)
        ]

    def forward(self, images: Sequence[Tensor]) -> list[RawImage]:
        """Run the network up to the box head.

        Returns:
            for each image its `proposals`, (P, 4) float32 xyxy in canvas pixels, their class `logits`,
            (P, C), their `offsets`, (P, C, 4), and the `features`, maps of (1, channels, h, w) by name.
        """
        same_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            same_size[tuple(image.shape)].append(index)
        found: dict[int, RawImage] = {}
        for indices in same_size.values():
            batch = torch.stack([images[i] for i in indices])
            found.update(zip(indices, self._forward_batch(batch), strict=True))
        return [found[i] for i in range(len(images))]

    def count_boxes(self, images: Sequence[Tensor]) -> int:
        """See `Detector.count_boxes`: the anchors of each level that compete for proposals."""
        network = self.network
        padded = network.transform.batch_images(list(images[:1]), network.transform.size_divisible)
        objectness, _ = network.rpn.head(list(network.backbone(padded).values()))
        return sum(min(level[0].numel(), network.rpn.pre_nms_top_n()) for level in objectness)

    def decode(
        self, raw: Sequence[RawImage], fits: Sequence[Fit], options: DetectOptions
    ) -> list[Detections]:
        """See `Detector.decode`."""
        return [self._decode_image(image, fit, options) for image, fit in zip(raw, fits, strict=True)]

    def _forward_batch(self, images: Tensor) -> list[RawImage]:
        network, sizes = self.network, [tuple(images.shape[-2:])] * len(images)
        padded = network.transform.batch_images(list(images), network.transform.size_divisible)
        features = network.backbone(padded)
        proposals = self._propose(ImageList(padded, sizes), features)
        pooled = network.roi_heads.box_roi_pool(features, proposals, [tuple(padded.shape[-2:])])
        logits, offsets = network.roi_heads.box_predictor(network.roi_heads.box_head(pooled))
        counts = [len(boxes) for boxes in proposals]
        return [
            {
                "proposals": boxes,
                "logits": image_logits,
                "offsets": image_offsets.unflatten(1, (-1, 4)),
                "features": {name: maps[i : i + 1] for name, maps in features.items()},
            }
            for i, (boxes, image_logits, image_offsets) in enumerate(
                zip(proposals, logits.float().split(counts), offsets.float().split(counts), strict=True)
            )
        ]

    def _propose(self, images: ImageList, features: dict[str, Tensor]) -> list[Tensor]:
        """The region proposal network, with its geometry in float32 whatever the network's precision."""
        rpn, maps = self.network.rpn, list(features.values())
        objectness, offsets = rpn.head(maps)
        anchors = rpn.anchor_generator(images, float_shapes(maps))
        per_level = [level[0].numel() for level in objectness]
        objectness, offsets = concat_box_prediction_layers(
            [level.float() for level in objectness], [level.float() for level in offsets]
        )
        boxes = rpn.box_coder.decode(offsets, anchors).view(len(anchors), -1, 4)
        proposals: list[Tensor] = rpn.filter_proposals(boxes, objectness, images.image_sizes, per_level)[0]
        return proposals

    def _decode_image(self, raw: RawImage, fit: Fit, options: DetectOptions) -> Detections:
        scores = raw["logits"].softmax(dim=-1)[:, 1:]  # Without the background.
        proposal, label = torch.nonzero(scores >= options.min_score, as_tuple=True)
        boxes = self._coder.decode(raw["offsets"][proposal, label + 1], raw["proposals"][proposal])
        boxes = clip_boxes(boxes, height=fit.content_height, width=fit.content_width)
        large = (boxes[:, 2:] - boxes[:, :2] >= _SMALLEST_SIDE_PX).all(dim=1)
        found = select_candidates(boxes[large], scores[proposal, label][large], label[large] + 1, options)
        if not self.makes_masks:
            return found
        masks = self._masks(raw["features"], found, fit)
        return Detections(found.boxes, found.scores, found.label_ids, masks)

    def _masks(self, features: dict[str, Tensor], found: Detections, fit: Fit) -> Tensor:
        """Masks, (N, H, W) bool at the source's size, of the detections."""
        heads, finest = self.network.roi_heads, next(iter(features.values()))
        if not len(found):
            return finest.new_zeros((0, fit.source_height, fit.source_width), dtype=torch.bool)
        canvas = tuple(_FINEST_STRIDE * side for side in finest.shape[-2:])
        dtype = next(heads.mask_head.parameters()).dtype
        maps = {name: feature.to(dtype) for name, feature in features.items()}
        logits = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(maps, [found.boxes], [canvas])))
        small = (
            logits[torch.arange(len(found), device=logits.device), found.label_ids, None].float().sigmoid()
        )
        return paste_masks(small[:, 0], found.boxes, fit)
