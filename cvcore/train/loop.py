"""The steps of a training run: one optimiser step, one epoch, one evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cvcore.detect.base import Detector
from cvcore.detect.yolo_loss import Truth, YoloLoss
from cvcore.metrics.detection import DetectionMetrics, evaluate_detections
from cvcore.train.average import WeightAverage
from cvcore.train.batches import Batch
from cvcore.train.samples import Dataset
from cvcore.train.schedule import learning_rate
from cvcore.types import DetectOptions

LossFunction = Callable[[Any, Truth], YoloLoss]
EVALUATION = DetectOptions(min_score=0.01, nms_iou=0.5, max_detections=100)


@dataclass(frozen=True, slots=True)
class OptimizeOptions:
    """How weights are moved.

    Attributes:
        learning_rate: the schedule's peak.
        total_steps, warmup_steps: of the run.
        weight_decay: of convolution weights; norms and biases have none.
        grad_clip: greatest norm of the gradient.
        bf16: run the forward pass in bfloat16 where the operator allows; weights stay float32.
    """

    learning_rate: float
    total_steps: int
    warmup_steps: int
    weight_decay: float = 0.02
    grad_clip: float = 10.0
    bf16: bool = False


@dataclass(frozen=True, slots=True)
class EpochLoss:
    """Means over an epoch's steps."""

    total: float
    box: float
    objectness: float
    classes: float


class Progress:
    """A run in the middle: the weights, their average, the optimiser, and the steps made so far.

    Args:
        model: the bare model.
        network: what is called forward: the model itself, or its distributed wrapper.
        loss: of the model's raw outputs.
        options: how weights are moved.
        average_decay: see `WeightAverage`.
    """

    def __init__(
        self,
        model: Detector,
        network: nn.Module,
        loss: LossFunction,
        options: OptimizeOptions,
        *,
        average_decay: float = 0.998,
    ) -> None:
        self.model = model
        self.options = options
        self.step = 0
        self._network = network
        self._loss = loss
        self.average = WeightAverage(model, decay=average_decay)
        self._optimizer = torch.optim.AdamW(_parameter_groups(model, options.weight_decay), lr=1.0)

    def state(self) -> dict[str, Any]:
        """All that a run needs to continue exactly."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "num_updates": self.average.num_updates,
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.average.num_updates = int(state["num_updates"])
        self._optimizer.load_state_dict(state["optimizer"])

    def train_epoch(self, batches: Iterable[Batch]) -> EpochLoss:
        """Make one optimiser step for each batch."""
        self._network.train()
        terms = []
        for batch in batches:
            loss = self._train_step(batch)
            terms.append(torch.stack([loss.total, loss.box, loss.objectness, loss.classes]).detach())
        total, box, objectness, classes = torch.stack(terms).mean(dim=0).tolist()
        return EpochLoss(total, box, objectness, classes)

    def _train_step(self, batch: Batch) -> YoloLoss:
        rate = learning_rate(
            self.step,
            peak=self.options.learning_rate,
            total_steps=self.options.total_steps,
            warmup_steps=self.options.warmup_steps,
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        device = next(self.model.parameters()).device
        images = self.model.preprocess(batch.canvases.to(device))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.options.bf16):
            raw = self._network(images)
        loss = self._loss(raw, _truth_on(batch.truth, device))
        self._optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.grad_clip)
        self._optimizer.step()
        self.average.update(self.model)
        self.step += 1
        return loss


def evaluate(model: Detector, dataset: Dataset, *, batch_size: int = 16) -> DetectionMetrics:
    """COCO metrics of `model`, which must be in eval mode, on every sample of `dataset`."""
    device = next(model.parameters()).device
    found: list[dict[str, Any]] = []
    for first in range(0, len(dataset.samples), batch_size):
        samples = dataset.samples[first : first + batch_size]
        canvases = torch.stack([torch.from_numpy(sample.canvas) for sample in samples]).to(device)
        results = model.predict(canvases, [sample.fit for sample in samples], EVALUATION)
        for sample, detections in zip(samples, results, strict=True):
            found += coco_results(
                sample.image_id,
                detections.boxes,
                detections.scores,
                detections.label_ids,
                category_ids=dataset.category_ids,
            )
    return evaluate_detections(dataset.document, found)


def coco_results(
    image_id: int, boxes: Tensor, scores: Tensor, label_ids: Tensor, *, category_ids: tuple[int, ...]
) -> list[dict[str, Any]]:
    """COCO result entries of one image: (N, 4) xyxy boxes become xywh."""
    rows = zip(boxes.tolist(), scores.tolist(), label_ids.tolist(), strict=True)
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[label_id],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for (x1, y1, x2, y2), score, label_id in rows
    ]


def _truth_on(truth: Truth, device: torch.device) -> Truth:
    return Truth(truth.boxes.to(device), truth.label_ids.to(device), truth.image_index.to(device))


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels are decayed; vectors (norms, biases) are not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
