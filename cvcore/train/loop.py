"""A detector's loss on a batch, and its metrics on held-out samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cvcore.detect.base import Detector, ProposalDetector, TrainableDetector
from cvcore.metrics.detection import DetectionMetrics, evaluate_detections
from cvcore.metrics.mask_quality import assess_masks
from cvcore.ops.masks import encode_rle
from cvcore.train.batches import Batch
from cvcore.train.progress import Terms
from cvcore.train.samples import Dataset, Sample
from cvcore.types import Detections, DetectOptions

EVALUATION = DetectOptions(min_score=0.01, nms_iou=0.5, max_detections=100)


class DetectorLoss(nn.Module):
    """A detector's losses as a module's forward pass, which is what a distributed wrapper can wrap."""

    def __init__(self, model: TrainableDetector) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See `TrainableDetector.losses`."""
        device = next(self.model.parameters()).device
        canvases, truth = batch.canvases.to(device), batch.truth.to(device)
        if isinstance(self.model, ProposalDetector):
            images = self.model.preprocess(canvases, proposals=batch.proposals)
        else:
            images = self.model.preprocess(canvases)
        return self.model.losses(images, truth)


def detector_loss(
    model: TrainableDetector, network: nn.Module, *, bf16: bool = False
) -> Callable[[Batch], Terms]:
    """What `Progress` computes for a detector.

    Args:
        model: the bare model.
        network: a `DetectorLoss` of it, or its distributed wrapper.
        bf16: run the forward pass in bfloat16 where the operator allows; weights stay float32.
    """

    def compute(batch: Batch) -> Terms:
        device = next(model.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            terms: Terms = network(batch)
        return terms

    return compute


@dataclass(frozen=True, slots=True)
class HeldOut:
    """COCO metrics of boxes, and of masks where the model learns them."""

    boxes: DetectionMetrics
    masks: DetectionMetrics | None = None

    @property
    def score(self) -> float:
        """What the best epoch is chosen by: the average precision at an IoU of 0.5, of masks if there are."""
        return (self.masks or self.boxes).ap50


def evaluate(model: Detector, dataset: Dataset, *, batch_size: int = 16) -> HeldOut:
    """COCO metrics of `model`, which must be in eval mode, on every sample of `dataset`."""
    device = next(model.parameters()).device
    found: list[dict[str, Any]] = []
    for first in range(0, len(dataset.samples), batch_size):
        samples = dataset.samples[first : first + batch_size]
        canvases = torch.stack([torch.from_numpy(sample.canvas) for sample in samples]).to(device)
        results = _predict(model, canvases, samples)
        for sample, detections in zip(samples, results, strict=True):
            found += coco_results(sample.image_id, detections, category_ids=dataset.category_ids)
    boxes = evaluate_detections(dataset.document, found)
    return HeldOut(boxes, assess_masks(dataset.document, found).metrics if model.makes_masks else None)


@torch.inference_mode()
def _predict(model: Detector, canvases: Tensor, samples: Sequence[Sample]) -> list[Detections]:
    fits = [sample.fit for sample in samples]
    proposals = [sample.proposals for sample in samples if sample.proposals is not None]
    if not isinstance(model, ProposalDetector) or len(proposals) < len(samples):
        return model.predict(canvases, fits, EVALUATION)
    return model.postprocess(model(model.preprocess(canvases, fits, proposals)), fits, EVALUATION)


def coco_results(image_id: int, found: Detections, *, category_ids: tuple[int, ...]) -> list[dict[str, Any]]:
    """COCO result entries of one image: (N, 4) xyxy boxes become xywh, masks RLE."""
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.label_ids.tolist(), strict=True)
    entries: list[dict[str, Any]] = [
        {
            "image_id": image_id,
            "category_id": category_ids[label_id],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for (x1, y1, x2, y2), score, label_id in rows
    ]
    if found.masks is not None:
        for entry, rle in zip(entries, encode_rle(found.masks.cpu().numpy()), strict=True):
            entry["segmentation"] = rle
    return entries
