"""What R-CNN's heads learn from: features of ground truth, mined negatives, and regions near objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.detect.rcnn import CODER, Rcnn
from cvcore.detect.truth import PaddedTruth
from cvcore.ops.keep import Keep
from cvcore.ops.padding import PaddedBoxes
from cvcore.ops.region_matching import overlaps
from cvcore.train.batches import Batch

_FEATURE_NORM = 20.0
_HARD_MARGIN = -1.0

Machines = tuple[Tensor, Tensor]
"""Weights, (K, D), and biases, (K,), on scaled features."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Thresholds, and how much is held in memory.

    At most K * ((`max_positives` + `max_negatives`) * D + `max_box_examples` * F) floats are held, for K
    classes, features of D and pooled features of F values.

    Attributes:
        rounds: passes over the images that mine negatives, after the one that gathers what there is.
        negative_iou: regions that overlap a class's ground truth by less are its negatives.
        box_iou: regions that overlap their nearest ground truth by at least this teach its class's boxes.
        penalty: the ridge regression's lambda.
        svm_cost, positive_weight: the machines' C, and the weight of positives; features are scaled to a mean
            norm of 20 for them, as the authors' code does.
        max_positives, max_negatives, max_box_examples: held for each class.
        seed: of what is kept where there is more, and of the solver.
    """

    rounds: int = 2
    negative_iou: float = 0.3
    box_iou: float = 0.6
    penalty: float = 1000.0
    svm_cost: float = 1e-3
    positive_weight: float = 2.0
    max_positives: int = 1000
    max_negatives: int = 2000
    max_box_examples: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What is held of each class.

    Attributes:
        positives: rows of features.
        negatives: rows of region numbers and features.
        examples: rows of pooled features and the offsets wanted.
    """

    positives: list[Keep]
    negatives: list[Keep]
    examples: list[Keep]

    @classmethod
    def of(cls, num_classes: int, options: FitOptions) -> Kept:
        limits = (options.max_positives, options.max_negatives, options.max_box_examples)
        return cls(*([Keep(limit) for _ in range(num_classes)] for limit in limits))


@dataclass(frozen=True, slots=True)
class Described:
    """The N regions of a batch, ground truth not among them, and its T ground truths.

    Attributes:
        numbers: (N,) int64, which no other region of the pass has.
        features: (N, D), scaled.
        pooled: (N, F), scaled.
        boxes: (N, 4) xyxy.
        class_iou: (N, K), the greatest IoU with ground truth of each class; -1 where there is none.
        nearest: (N, 4), the ground truth overlapped most, and
        nearest_label, nearest_iou: (N,), its class and IoU; the IoU is -1 where there is none.
        truth_features: (T, D), scaled, and
        truth_labels: (T,).
    """

    numbers: Tensor
    features: Tensor
    pooled: Tensor
    boxes: Tensor
    class_iou: Tensor
    nearest: Tensor
    nearest_label: Tensor
    nearest_iou: Tensor
    truth_features: Tensor
    truth_labels: Tensor


def feature_scales(model: Rcnn, batches: Iterable[Batch]) -> tuple[float, float]:
    """What brings pooled features and features of the first batch to a mean norm of 20."""
    first = next(described(model, batches, (1.0, 1.0)), None)
    if first is None:
        return 1.0, 1.0
    pooled, features = first.pooled, torch.cat([first.features, first.truth_features])
    return _FEATURE_NORM / _mean_norm(pooled), _FEATURE_NORM / _mean_norm(features)


def _mean_norm(features: Tensor) -> float:
    return max(1e-6, float(features.norm(dim=1).mean())) if len(features) else 1.0


@torch.no_grad()
def described(model: Rcnn, batches: Iterable[Batch], scales: tuple[float, float]) -> Iterator[Described]:
    """Describe batch by batch, on the CPU; `scales` are of pooled features and features."""
    device, start = model.svm_bias.device, 0
    for batch in batches:
        proposed = model.preprocess(batch.canvases.to(device), proposals=batch.proposals)
        truth = batch.truth.to(device)
        boxes, image = proposed.regions.flat()
        all_boxes, all_images = torch.cat([boxes, truth.boxes]), torch.cat([image, truth.image_index])
        chunks = [
            (pooled.float().cpu() * scales[0], features.float().cpu() * scales[1])
            for pooled, features in model.describe(proposed.padded(), all_boxes, all_images)
        ]
        if not chunks:
            continue
        pooled, features = (torch.cat(part) for part in zip(*chunks, strict=True))
        count = len(boxes)
        padded = truth.padded(len(batch.canvases))
        class_iou, nearest, label, iou = _nearest(proposed.regions, padded, len(model.labels))
        yield Described(
            numbers=torch.arange(start, start + count),
            features=features[:count],
            pooled=pooled[:count],
            boxes=boxes.cpu(),
            class_iou=class_iou.cpu(),
            nearest=nearest.cpu(),
            nearest_label=label.cpu(),
            nearest_iou=iou.cpu(),
            truth_features=features[count:],
            truth_labels=truth.label_ids.cpu(),
        )
        start += count


def _nearest(
    regions: PaddedBoxes, truth: PaddedTruth, num_classes: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`class_iou`, `nearest`, `nearest_label` and `nearest_iou` of `Described`."""
    overlap = overlaps(regions.boxes, truth)  # (B, P, G)
    own = F.one_hot(truth.label_ids, num_classes).bool() & truth.valid[..., None]  # (B, G, K)
    class_iou = overlap[..., None].masked_fill(~own[:, None], -1.0).amax(dim=2)
    best, matched = overlap.max(dim=2)
    image, place = torch.nonzero(regions.valid, as_tuple=True)
    chosen = matched[image, place]
    return (
        class_iou[regions.valid],
        truth.boxes[image, chosen],
        truth.label_ids[image, chosen],
        best[regions.valid],
    )


def gather(own: Described, kept: Kept, options: FitOptions, generator: torch.Generator) -> None:
    """Ground truth as positives, random negatives, and examples of boxes."""
    near = own.nearest_iou >= options.box_iou
    for label in range(len(kept.positives)):
        positive = own.truth_features[own.truth_labels == label]
        kept.positives[label].add(torch.rand(len(positive), generator=generator), positive)
        chosen = torch.nonzero(own.class_iou[:, label] < options.negative_iou)[:, 0]
        keys = torch.rand(len(chosen), generator=generator)
        kept.negatives[label].add(keys, own.numbers[chosen], own.features[chosen])
        taught = torch.nonzero(near & (own.nearest_label == label))[:, 0]
        offsets = CODER.encode(own.nearest[taught], own.boxes[taught])
        kept.examples[label].add(torch.rand(len(taught), generator=generator), own.pooled[taught], offsets)


def mine(own: Described, kept: Kept, machines: Machines, options: FitOptions) -> None:
    """Keep the negatives that come nearest to being taken for positives, in place of the easiest."""
    weights, bias = machines
    margins = own.features @ weights.T + bias
    hard = (own.class_iou < options.negative_iou) & (margins > _HARD_MARGIN)
    for label, negatives in enumerate(kept.negatives):
        chosen = torch.nonzero(hard[:, label])[:, 0]
        if negatives.rows:
            chosen = chosen[~torch.isin(own.numbers[chosen], negatives.rows[0])]
        negatives.add(margins[chosen, label], own.numbers[chosen], own.features[chosen])


def rank(kept: Kept, machines: Machines) -> None:
    """Order the negatives kept by how hard they are now."""
    weights, bias = machines
    for label, negatives in enumerate(kept.negatives):
        if negatives.rows:
            negatives.keys = negatives.rows[1] @ weights[label] + bias[label]
