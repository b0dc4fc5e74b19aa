"""What every detector is: one canvas in, detections in source pixels out.

The job, the trainer and the evaluator all call the same steps, so pre- and post-processing exist once:

    raw = model(model.preprocess(canvases, fits))
    finite = model.finite(raw)  # a status for each image: NaN never becomes a score
    detections = model.postprocess(raw, fits, options)

Most models read the whole canvas and ignore `fits` in `preprocess`; the R-CNN family crops the drawn content
from the canvas, as its papers do. An override takes both arguments.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cvcore.detect.truth import Truth
from cvcore.errors import ModelError
from cvcore.image.fit import Fit, clip_boxes
from cvcore.image.normalize import unit_floats
from cvcore.types import Augmentation, Detections, DetectOptions, InputSpec

if TYPE_CHECKING:
    from cvcore.train.batches import Batch


class Detector(nn.Module, ABC):
    """Base of detectors.

    Attributes:
        input_spec: the canvas this instance reads.
        labels: class names; `Detections.label_ids` index them.
        makes_masks: whether `Detections.masks` is filled.
    """

    input_spec: InputSpec
    labels: tuple[str, ...]
    makes_masks: bool = False

    def preprocess(self, canvases: Tensor, fits: Sequence[Fit] | None = None) -> Any:
        """Turn (B, H, W, 3) uint8 RGB canvases into what `forward` takes, on their device.

        `fits` says where the image lies on each canvas, in batch order; None means that each fills its own.
        The default gives (B, 3, H, W) floats, 0 to 1, in the dtype of the model's parameters.
        """
        del fits
        dtype = next(self.parameters()).dtype
        return unit_floats(canvases, dtype)

    @abstractmethod
    def forward(self, images: Any) -> Any:
        """Run the network on `preprocess`'s output; returns its raw outputs, whatever they are."""

    def finite(self, raw: Any) -> list[bool]:
        """Say for each image, in batch order, whether all its raw outputs are finite.

        Understands batch-first tensors in any nesting of tuples, lists, mappings and dataclasses, and a list
        of one mapping an image. A model whose raw outputs are something else overrides this.

        Raises:
            TypeError: for raw outputs that hold anything else.
            ValueError: for tensors that disagree on the batch size, or none at all.
        """
        if isinstance(raw, list) and all(isinstance(image, Mapping) for image in raw):
            return [all(bool(t.isfinite().all()) for t in _tensors(image)) for image in raw]
        tensors = list(_tensors(raw))
        sizes = {t.shape[0] if t.dim() else None for t in tensors}
        if len(sizes) != 1 or None in sizes:
            raise ValueError(f"raw outputs must be batch-first tensors of one batch, got batch sizes {sizes}")
        flags = [t.isfinite().flatten(1).all(dim=1) if t.dim() > 1 else t.isfinite() for t in tensors]
        return [bool(flag) for flag in torch.stack(flags).all(dim=0).tolist()]

    @abstractmethod
    def decode(self, raw: Any, fits: Sequence[Fit], options: DetectOptions) -> list[Detections]:
        """Turn raw outputs into one `Detections` an image, in *canvas* pixels, NMS applied.

        Masks, where the model makes them, are (N, H, W) bool at the *source* image's size.
        """

    def postprocess(self, raw: Any, fits: Sequence[Fit], options: DetectOptions) -> list[Detections]:
        """Turn raw outputs into one `Detections` an image, in *source* pixels, clipped to the image.

        `fits` has one entry an image, in batch order. Boxes that clipping leaves empty are dropped.
        """
        results = []
        for found, fit in zip(self.decode(raw, fits, options), fits, strict=True):
            boxes = clip_boxes(fit.to_source(found.boxes), height=fit.source_height, width=fit.source_width)
            keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
            masks = None if found.masks is None else found.masks[keep]
            results.append(Detections(boxes[keep], found.scores[keep], found.label_ids[keep], masks))
        return results

    def count_boxes(self, images: Any) -> int | None:
        """Boxes of an image among which suppression chooses where nothing is thresholded; None if unknown.

        `images` is `preprocess`'s output, of which the first one counts.
        """
        del images
        return None

    @torch.inference_mode()
    def predict(self, canvases: Tensor, fits: Sequence[Fit], options: DetectOptions) -> list[Detections]:
        """`preprocess`, `forward` and `postprocess` in one call."""
        return self.postprocess(self(self.preprocess(canvases, fits)), fits, options)


class TrainableDetector(Detector):
    """A detector that learns.

    Attributes:
        config: JSON-able keyword arguments of its builder in the catalogue, labels apart.
        num_anchors: how many its builder's `anchors` are, which may be fitted to the data; 0 where there are
            none.
        finishes: whether something that is no epoch follows them: `finish`.
        canvas_step: it trains on square canvases of any multiple of this too, pixels; 0 where on its own
            alone.
        augmentation: steps of its training views unless a run says otherwise, as its paper has them.
        backbone_parts: where the names of the parameters begin that stand for a classifier's.
        learns_masks: whether its truth has masks, and a dataset has to have them.
    """

    config: dict[str, Any]
    num_anchors: int = 0
    canvas_step: int = 0
    finishes: bool = False
    augmentation: tuple[Augmentation, ...] = ("flip",)
    backbone_parts: tuple[str, ...] = ("trunk",)
    learns_masks: bool = False

    @abstractmethod
    def losses(self, images: Any, truth: Truth) -> dict[str, Tensor]:
        """The loss of a batch, as scalars by name: `total` is what is minimised, others are its terms.

        Called in training mode. A batch without any box has a finite loss too.

        Args:
            images: what `preprocess` gave for the batch's canvases.
            truth: boxes in canvas pixels.
        """

    def filled_by(self, state: Mapping[str, Tensor] | None) -> TrainableDetector:
        """The part of the model that a file of weights is for: all of it, unless a smaller model is inside.

        Args:
            state: what a checkpoint of the project's holds; None for a file from elsewhere.
        """
        del state
        return self

    def load_backbone(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """Copy a classifier's weights, under torchvision's names, into the trunk.

        Args:
            state: its state dict.
            name: what messages call it.

        Raises:
            ModelError: where they do not fit, or the model has no such trunk.
        """
        del state
        raise ModelError(
            f"{name} holds a classifier's weights, which a {type(self).__name__} cannot start from"
        )

    def finish(self, batches: Callable[[], Iterable[Batch]], *, seed: int) -> None:
        """Learn what follows the epochs, on their best weights; called where `finishes`.

        Args:
            batches: gives the training images, as they are and in the same order each time.
            seed: of what is random in it.
        """
        del batches, seed


class ProposalDetector(TrainableDetector):
    """A detector of regions that another method proposes (R-CNN, Fast R-CNN).

    `preprocess` makes the proposals itself, by `propose`, unless they are given.
    """

    @abstractmethod
    def propose(self, canvas: Tensor, fit: Fit) -> Tensor:
        """Regions of one (H, W, 3) uint8 canvas, best first: (P, 4) float32 xyxy, canvas pixels."""

    @abstractmethod
    def preprocess(
        self,
        canvases: Tensor,
        fits: Sequence[Fit] | None = None,
        proposals: Sequence[Tensor] | None = None,
    ) -> Any:
        """See `Detector.preprocess`; `proposals` are (P, 4) xyxy canvas pixels for each image."""


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _tensors(getattr(value, field.name))
    else:
        raise TypeError(f"raw outputs hold a {type(value).__name__}; override `finite` for this model")
