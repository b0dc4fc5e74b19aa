"""What a training run on a dataset is asked for, and what all training runs have in common."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from cvcore.errors import did_you_mean
from cvcore.types import MASK_STEPS, Augmentation
from jobs.spec import Fraction, Location, Section, StorageSection
from jobs.storage import Access

PROGRESS_ONLY = {"max_failures", "num_threads", "gpus_per_worker", "storage", "max_cached_bytes"}
"""Fields that change how a run is carried out, not what it computes."""


class TrainSpec(Section):
    """What all training runs have in common.

    Attributes:
        data: what is learned from.
        out: folder for the checkpoint, the history and the state that a killed run resumes from.
        model: the architecture.
        seed: of everything that is random.
        num_threads: torch threads of a worker; None leaves Ray's choice.
        gpus_per_worker: 0 trains on CPUs.
        max_failures: restarts of the workers, each from the last finished epoch.
        storage: which endpoint and profile S3 locations use.
    """

    data: Location
    out: Location
    model: str
    seed: Annotated[int, Field(ge=0)] = 0
    num_threads: Annotated[int, Field(ge=1)] | None = None
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    max_failures: Annotated[int, Field(ge=0)] = 2
    storage: StorageSection = StorageSection()

    @property
    def access(self) -> Access:
        """How to reach object storage."""
        return self.storage.access()

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides the weights: a state is resumed only by the run that made it."""
        return hashlib.sha256(self.model_dump_json(exclude=PROGRESS_ONLY).encode()).hexdigest()

    @property
    def recipe(self) -> dict[str, Any]:
        """What is kept with the weights: settings, no locations."""
        places = {"data", "val_data", "out", "init", "weights", "storage"}
        return self.model_dump(mode="json", exclude=places)


class EpochsTrainSpec(TrainSpec):
    """A run of epochs of steps.

    Attributes:
        epochs: of the whole run.
        batch_size: images in one step of one worker.
        lr: the peak learning rate.
        warmup_steps: steps of the learning rate's rise, at most a quarter of the run.
        patience: epochs without a better held-out score after which the run ends; None never.
        precision: `auto` is bfloat16 where the processor computes it natively.
        num_workers: data-parallel workers, each with a replica.
    """

    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 16
    lr: Annotated[float, Field(gt=0)] = 1.5e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 300
    patience: Annotated[int, Field(ge=1)] | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    num_workers: Annotated[int, Field(ge=1)] = 1


class DatasetTrainSpec(EpochsTrainSpec):
    """A run on a dataset with splits.

    Attributes:
        data: the dataset; see `jobs.datasets.open_dataset`.
        val_data: another one that picks the best epoch; None takes a split of `data`.
        train_split, val_split: of `data`; of datasets that are named apart and have splits, too.
        width, input_size: arguments of the model's builder; None for its own.
        options: further ones, by name.
        init: weights to start from.
        sha256: pin of `init`; required for .pt and .pth files.
        weight_decay: of kernels and matrices.
        grad_clip: greatest norm of the gradient.
        average_decay: of the averaged weights, which are measured and kept: 0 takes them as they are, None
            averages over a tenth of the run, at most 500 steps.
        max_cached_bytes: decoded images are kept in each worker's memory up to this; what is beyond is read
            again in every epoch.
    """

    val_data: Location | None = None
    train_split: str = "train"
    val_split: str = "val"
    width: Annotated[float, Field(gt=0)] | None = None
    input_size: Annotated[int, Field(ge=32)] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    init: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    grad_clip: Annotated[float, Field(gt=0)] = 10.0
    average_decay: Annotated[float, Field(ge=0, lt=1)] | None = None
    max_cached_bytes: Annotated[int, Field(ge=0)] = 2**31

    BUILDER: ClassVar[tuple[str, ...]] = ("width", "input_size")
    """Fields that are arguments of the model's builder, where they are not None."""

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of the model's builder."""
        named = {name: getattr(self, name) for name in self.BUILDER}
        return {name: value for name, value in named.items() if value is not None} | self.options


class ViewsTrainSpec(DatasetTrainSpec):
    """A run on random views of whole canvases, with all that is known of their places.

    Attributes:
        backbone, loss: arguments of the model's builder; None for its own.
        freeze: what does not learn: `backbone`, a number of first convolutions, or where parameters' names
            begin; see `cvcore.train.freeze`.
        augment: steps of the training views, see `cvcore.train.augment.AugmentOptions`; none shows images as
            they are, None takes those of the model's family.
        min_zoom, max_zoom: range of the scale of `jitter`.
    """

    backbone: str | None = None
    loss: str | None = None
    freeze: str | None = None
    augment: tuple[Augmentation, ...] | None = None
    min_zoom: Annotated[float, Field(gt=0)] = 0.75
    max_zoom: Annotated[float, Field(gt=0)] = 1.35

    BUILDER: ClassVar[tuple[str, ...]] = ("width", "input_size", "backbone", "loss")

    @field_validator("augment", mode="before")
    @classmethod
    def _known_steps(cls, steps: Any) -> Any:
        for step in steps if isinstance(steps, list | tuple) else ():
            if step not in get_args(Augmentation):
                raise ValueError(
                    f"there is no step {step!r}.{did_you_mean(str(step), get_args(Augmentation))} Steps: "
                    f"{', '.join(get_args(Augmentation))}; or none of them"
                )
        return steps

    @model_validator(mode="after")
    def _some_range(self) -> Self:
        if self.min_zoom > self.max_zoom:
            raise ValueError(f"min_zoom {self.min_zoom:g} is above max_zoom {self.max_zoom:g}: swap them")
        return self


class DetectorTrainSpec(ViewsTrainSpec):
    """A detector's run, on a dataset with boxes.

    Attributes:
        model: of the catalogue, or a Darknet `.cfg`, whose classes become the dataset's.
        anchors: `default`, or `fit` to cluster the training boxes.
        init: a checkpoint of the same architecture, with these or other classes; Darknet `.weights`, whole or
            partial; a torchvision classifier's, for models that have its trunk.
        multi_scale: another canvas, from 0.75 to 1.5 times the model's, every ten steps; of models that read
            any.
    """

    model: str = "tiny"
    anchors: Literal["default", "fit"] = "default"
    multi_scale: bool = False


class SegmenterTrainSpec(ViewsTrainSpec):
    """A segmenter's run, on a dataset with masks.

    Attributes:
        data: see `jobs.masks.open_masks`.
        depth: argument of the model's builder; None for its own.
        init: a checkpoint of the same architecture, with these or other classes, or a torchvision
            classifier's weights, for models that have its trunk.
        augment: of the steps, those that know what to do with masks.
    """

    model: str = "unet"
    batch_size: Annotated[int, Field(ge=1)] = 4
    lr: Annotated[float, Field(gt=0)] = 1e-3
    input_size: Annotated[int, Field(ge=8)] | None = None
    depth: Annotated[int, Field(ge=1)] | None = None

    BUILDER: ClassVar[tuple[str, ...]] = ("width", "input_size", "depth", "backbone", "loss")

    @field_validator("augment")
    @classmethod
    def _carries_masks(cls, steps: tuple[Augmentation, ...] | None) -> tuple[Augmentation, ...] | None:
        others = [step for step in steps or () if step not in MASK_STEPS]
        if others:
            raise ValueError(
                f"{', '.join(others)}: masks are not carried along by it; jitter shows images smaller, and "
                f"parts of them. Steps for segmenters: {', '.join(MASK_STEPS)}; or none of them"
            )
        return steps


class ClassifierTrainSpec(DatasetTrainSpec):
    """A classifier's run, on a folder of images for each class; or a localiser's, on images with one box.

    Attributes:
        init: a checkpoint of the same architecture, with these or other classes, or torchvision's or
            Darknet's weights; a head of other classes is replaced.
        label_smoothing: share of the probability that the target gives to all classes alike.
        class_weights: `balanced` weighs each class by the inverse of its images.
        min_area: smallest share of the picture in a random crop.
        mirror: whether views may be mirrored, left to right.
        color: strength of the random colour changes.
        box_weight: of the boxes' term in a localiser's loss.
        boxes: of images with several boxes, a localiser leaves them out (`single`) or takes the `largest`.
    """

    lr: Annotated[float, Field(gt=0)] = 5e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    min_area: Annotated[float, Field(gt=0, le=1)] = 0.25
    mirror: bool = True
    color: Fraction = 0.2
    box_weight: Annotated[float, Field(gt=0)] = 5.0
    boxes: Literal["single", "largest"] = "single"
