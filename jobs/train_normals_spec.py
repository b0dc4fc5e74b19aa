"""What a training run on normal images is asked for."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from jobs.spec import LimitsSection, SourceSection
from jobs.train_spec import EpochsTrainSpec, TrainSpec


class NormalsTrainSpec(TrainSpec):
    """A run on a folder or prefix of normal images.

    Attributes:
        include, exclude: globs over the location below `data`.
        max_images: more are sampled, uniformly.
        input_size: height and width of the canvas, pixels; None for the model's own.
        limits: what is decoded, and how many may fail.
        max_cached_bytes: decoded images are kept in each worker's memory up to this; what is beyond is read
            again in every epoch.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_images: Annotated[int, Field(ge=1)] = 1_000_000
    input_size: Annotated[int, Field(ge=8)] | None = None
    limits: LimitsSection = LimitsSection(max_failed_fraction=0.1)
    max_cached_bytes: Annotated[int, Field(ge=0)] = 2**30

    CONFIG: ClassVar[tuple[str, ...]] = ("input_size",)
    """Fields that are arguments of the model, where they are not None."""

    @property
    def source(self) -> SourceSection:
        return SourceSection(uri=self.data, media="images", include=self.include, exclude=self.exclude)

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of the model."""
        found = {name: getattr(self, name) for name in self.CONFIG}
        return {name: value for name, value in found.items() if value is not None}


class AutoencoderTrainSpec(EpochsTrainSpec, NormalsTrainSpec):
    """An autoencoder's run.

    Attributes:
        held_out: share of the images, chosen by their names' digests, that picks the best epoch.
        channels, latent_size, error: see `cvcore.autoencode`; None for the model's own.
        width, depth: of `conv_autoencoder` and `vae`.
        hidden: of `dense_autoencoder`.
        beta: of `vae`.
        mirror: show images mirrored both ways too; only where normal ones may be.
        noise: standard deviation of noise that is to be taken away (0 to 1 gray); for `veedor denoise`.
    """

    model: Literal["dense_autoencoder", "conv_autoencoder", "vae"]
    epochs: Annotated[int, Field(ge=1)] = 60
    lr: Annotated[float, Field(gt=0)] = 2e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    patience: Annotated[int, Field(ge=1)] | None = 15
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    channels: Literal[1, 3] | None = None
    latent_size: Annotated[int, Field(ge=1)] | None = None
    error: Literal["mse", "mae"] | None = None
    width: Annotated[int, Field(ge=1)] | None = None
    depth: Annotated[int, Field(ge=1)] | None = None
    hidden: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    beta: Annotated[float, Field(gt=0)] | None = None
    mirror: bool = False
    noise: Annotated[float, Field(ge=0)] = 0.0

    CONFIG: ClassVar[tuple[str, ...]] = (
        "input_size",
        "channels",
        "latent_size",
        "error",
        "width",
        "depth",
        "hidden",
        "beta",
    )

    @model_validator(mode="after")
    def _known_to_the_model(self) -> Self:
        others = {
            "dense_autoencoder": ("width", "depth", "beta"),
            "conv_autoencoder": ("hidden", "beta"),
            "vae": ("hidden", "error"),
        }
        for name in others[self.model]:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is no setting of {self.model}: leave it out")
        return self


class MemoryTrainSpec(NormalsTrainSpec):
    """A memory of normal patches: one pass, no epochs.

    Attributes:
        weights: of the backbone: a file, or torchvision://NAME, which is its default.
        sha256: pin of the weights; required for .pt and .pth files.
        backbone, memory_size, neighbors: see `cvcore.anomaly.memory_bank.PatchCore`.
    """

    model: Literal["patchcore"]
    weights: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    backbone: str = "squeezenet1_1"
    memory_size: Annotated[int, Field(ge=1)] = 2000
    neighbors: Annotated[int, Field(ge=1)] = 9

    CONFIG: ClassVar[tuple[str, ...]] = ("input_size", "backbone", "memory_size", "neighbors")

    @property
    def backbone_weights(self) -> str:
        """Where the backbone's weights are."""
        return self.weights or f"torchvision://{self.backbone}"
