"""R-CNN (Girshick et al. 2014): each proposed region warped to a crop, and a classifier's features of it.

Three trainings, as in the paper. `losses` fine-tunes the network with a softmax over the classes and the
background (section 2.3). Then `cvcore.detect.rcnn_fit.fit_heads` fits a linear support vector machine and a
box regression for each class on the features; both are buffers, so that a checkpoint holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvcore.backbones.crops import CropBackbone, CropFeatures
from cvcore.detect.labels import VOC_LABELS
from cvcore.detect.region_head import check_counts, select_class_boxes
from cvcore.detect.searching import ProposedImages, SearchingDetector
from cvcore.detect.truth import PaddedTruth, Truth
from cvcore.image.fit import Fit
from cvcore.ops.box_coder import BoxCoder
from cvcore.ops.padding import PaddedBoxes
from cvcore.ops.region_matching import overlaps
from cvcore.ops.sampling import sample_rows
from cvcore.ops.warp import warp_regions, with_context
from cvcore.types import Detections, DetectOptions, InputSpec

if TYPE_CHECKING:
    from cvcore.train.batches import Batch

CODER = BoxCoder()
POSITIVE_IOU = 0.5
PAPER_CROP, PAPER_CONTEXT = 227, 16
_CHUNK_PIXELS = 64 * PAPER_CROP * PAPER_CROP


@dataclass(frozen=True, slots=True)
class RcnnOutputs:
    """Raw outputs for each region of each image; zeros in empty places.

    Attributes:
        boxes: (B, P, 4) float32 xyxy, content pixels, the regions.
        valid: (B, P) bool, which places hold one.
        scores: (B, P, K) float32, 0 to 1.
        offsets: (B, P, K, 4) float32, each class's own.
    """

    boxes: Tensor
    valid: Tensor
    scores: Tensor
    offsets: Tensor


@dataclass(frozen=True, slots=True)
class FittedHeads:
    """What `fit_heads` learned of D-dimensional features (F-dimensional pooled ones) for K classes.

    Attributes:
        svm_weights, svm_bias: (K, D) and (K,): a margin is weights @ feature + bias.
        box_weights, box_bias: (K, F, 4) and (K, 4): offsets are pooled feature @ weights + bias.
    """

    svm_weights: Tensor
    svm_bias: Tensor
    box_weights: Tensor
    box_bias: Tensor


class Rcnn(SearchingDetector):
    """The network, its fitted heads and its decoding; see `build_rcnn` for its configuration."""

    finishes = True
    backbone_parts = ("crops",)
    fitted: Tensor
    svm_weights: Tensor
    svm_bias: Tensor
    box_weights: Tensor
    box_bias: Tensor

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        spec: InputSpec,
        crops: CropFeatures,
        crop_size: int,
        max_proposals: int,
        positives: int,
        backgrounds: int,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        self.labels = labels
        self.input_spec = spec
        self.config = config
        self.crops = crops
        self.crop_size, self.max_proposals = crop_size, max_proposals
        self.positives, self.backgrounds = positives, backgrounds
        self.classes = nn.Linear(crops.size, len(labels) + 1)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.zeros_(self.classes.bias)
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self.register_buffer("svm_weights", torch.zeros(len(labels), crops.size))
        self.register_buffer("svm_bias", torch.zeros(len(labels)))
        self.register_buffer("box_weights", torch.zeros(len(labels), crops.pooled_size, 4))
        self.register_buffer("box_bias", torch.zeros(len(labels), 4))

    def describe(self, images: Tensor, boxes: Tensor, image_index: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the pooled features, (n, F), and the features, (n, D), of (N, 4) boxes, chunk by chunk.

        A chunk is as many crops as fit into a fixed number of pixels, which bounds the memory.
        """
        context = PAPER_CONTEXT * self.crop_size / PAPER_CROP
        grown = with_context(boxes, crop_size=self.crop_size, context=context)
        size = max(1, _CHUNK_PIXELS // self.crop_size**2)
        for own, image in zip(torch.split(grown, size), torch.split(image_index, size), strict=True):
            pooled, features = self.crops(warp_regions(images, own, image, crop_size=self.crop_size))
            yield pooled, features

    def forward(self, proposed: ProposedImages) -> RcnnOutputs:
        """Scores and offsets of each image's proposals.

        Before `fit_heads` scores are the softmax's and offsets zero. After it a score is the sigmoid of the
        machine's margin, which keeps the order: a region on the decision boundary has 0.5, one on the
        negative side's margin 0.27.
        """
        regions = proposed.regions
        boxes, image_index = regions.flat()
        shape = (*regions.valid.shape, len(self.labels))
        scores, offsets = boxes.new_zeros(shape), boxes.new_zeros((*shape, 4))
        if len(boxes):
            chunks = [self._judge(*both) for both in self.describe(proposed.padded(), boxes, image_index)]
            scores[regions.valid] = torch.cat([own for own, _ in chunks])
            offsets[regions.valid] = torch.cat([own for _, own in chunks])
        return RcnnOutputs(regions.boxes, regions.valid, scores, offsets)

    def decode(self, raw: RcnnOutputs, fits: Sequence[Fit], options: DetectOptions) -> list[Detections]:
        """See `Detector.decode`. The paper suppresses at an IoU of 0.3."""
        boxes = CODER.decode(raw.offsets, raw.boxes[:, :, None])  # (B, P, K, 4)
        scores = raw.scores.masked_fill(~raw.valid[..., None], -1.0)
        return [
            select_class_boxes(own_boxes, own_scores, fit, options)
            for own_boxes, own_scores, fit in zip(boxes, scores, fits, strict=True)
        ]

    def losses(self, images: ProposedImages, truth: Truth) -> dict[str, Tensor]:
        """See `TrainableDetector.losses`: cross-entropy of windows sampled over the whole batch."""
        boxes, image_index, classes = sample_windows(
            images.regions,
            truth.padded(len(images.images)),
            positives=self.positives,
            backgrounds=self.backgrounds,
        )
        features = [own for _, own in self.describe(images.padded(), boxes, image_index)]
        logits = self.classes(torch.cat(features) if features else self.classes.weight[:0]).float()
        loss = F.cross_entropy(logits, classes, reduction="sum") / max(1, len(classes))
        return {"total": loss, "classes": loss.detach()}

    def load_backbone(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """Start from a classifier, its last layer apart.

        Args:
            state: under torchvision's names.
            name: what messages call it.

        Raises:
            ModelError: naming what does not fit; nothing is then copied.
        """
        self.crops.load(state, name=name)

    def finish(self, batches: Callable[[], Iterable[Batch]], *, seed: int) -> None:
        """See `TrainableDetector.finish` and `cvcore.detect.rcnn_fit.fit_heads`."""
        from cvcore.detect.rcnn_examples import FitOptions  # here: both import this module
        from cvcore.detect.rcnn_fit import fit_heads

        fit_heads(self, batches, FitOptions(seed=seed))

    @torch.no_grad()
    def install(self, heads: FittedHeads) -> None:
        """Score and refine by `heads` from now on."""
        self.svm_weights.copy_(heads.svm_weights)
        self.svm_bias.copy_(heads.svm_bias)
        self.box_weights.copy_(heads.box_weights)
        self.box_bias.copy_(heads.box_bias)
        self.fitted.fill_(True)

    def _judge(self, pooled: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, (n, K), and offsets, (n, K, 4), float32."""
        margins = F.linear(features, self.svm_weights, self.svm_bias).float()
        softmax = self.classes(features).float().softmax(dim=1)[:, 1:]
        offsets = torch.einsum("nf,kfo->nko", pooled, self.box_weights) + self.box_bias
        return torch.where(self.fitted, margins.sigmoid(), softmax), offsets.float()


@torch.no_grad()
def sample_windows(
    proposals: PaddedBoxes, truth: PaddedTruth, *, positives: int, backgrounds: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample a mini-batch over all images at once (R-CNN, section 2.3).

    A region that overlaps some ground truth by at least 0.5 is positive for its class, any other background;
    ground truth counts as proposed too.

    Returns:
        (R, 4) boxes, (R,) int64 images, and (R,) int64 classes from 1, 0 being the background.
    """
    regions = proposals.joined(truth.padded_boxes())
    best, matched = overlaps(regions.boxes, truth).max(dim=2)
    is_positive = regions.valid & (best >= POSITIVE_IOU)
    is_background = regions.valid & ~is_positive
    chosen = sample_rows(is_positive.flatten()[None], positives) | sample_rows(
        is_background.flatten()[None], backgrounds
    )
    image, place = torch.nonzero(chosen.view_as(is_positive), as_tuple=True)
    classes = torch.where(is_positive[image, place], truth.label_ids[image, matched[image, place]] + 1, 0)
    return regions.boxes[image, place], image, classes


def build_rcnn(
    labels: tuple[str, ...] | None = None,
    *,
    backbone: CropBackbone = "alexnet",
    crop_size: int = PAPER_CROP,
    canvas: Sequence[int] = (500, 500),
    dropout: float = 0.5,
    max_proposals: int = 2000,
    positives: int = 32,
    backgrounds: int = 96,
) -> Rcnn:
    """Build an untrained R-CNN; by default the paper's, on AlexNet for VOC's 20 classes.

    Args:
        labels: class names, without a background.
        backbone: see `CropFeatures`.
        crop_size: regions are warped to squares of this side, pixels; at 227 with 16 pixels of context, at
            other sizes with their share.
        canvas: height and width that images are scaled to fit, pixels.
        dropout: probability before each fully connected layer, in training.
        max_proposals: the best so many regions of an image are looked at.
        positives, backgrounds: windows of a mini-batch of fine-tuning.

    Raises:
        ValueError: for a configuration that no network can have.
    """
    names = labels or VOC_LABELS
    counts = {"max_proposals": max_proposals, "positives": positives, "backgrounds": backgrounds}
    check_counts(counts)
    smallest = 63 if backbone == "alexnet" else 32
    if crop_size < smallest:
        raise ValueError(f"crop_size must be at least {smallest} for {backbone}, got {crop_size}")
    height, width = canvas
    return Rcnn(
        names,
        spec=InputSpec(height, width, fit="shortest_edge", shortest_edge_px=max(height, width)),
        crops=CropFeatures(backbone, dropout=dropout),
        crop_size=crop_size,
        max_proposals=max_proposals,
        positives=positives,
        backgrounds=backgrounds,
        config={
            "backbone": backbone,
            "crop_size": crop_size,
            "canvas": [height, width],
            "dropout": dropout,
            **counts,
        },
    )
