"""What runs on augmented views have in common: their first weights, and their views."""

from __future__ import annotations

from cvcore.detect.base import TrainableDetector
from cvcore.segment.base import Segmenter
from cvcore.start import start_from
from cvcore.train.augment import AugmentOptions
from cvcore.train.freeze import freeze
from cvcore.train.run import RunOptions
from cvcore.types import Augmentation
from jobs.model_files import default_weights, pin_of, read_part
from jobs.train_spec import ViewsTrainSpec


def begin(model: TrainableDetector | Segmenter, spec: ViewsTrainSpec) -> None:
    """Give `model` the weights that it starts from, and freeze what is not to learn; both where asked for.

    Raises:
        ModelError, WeightsError: for weights that do not fit.
        SpecError: for parts that the model does not have.
        StorageError: for weights that cannot be read.
    """
    if spec.init is not None:
        reference = default_weights(spec.init)
        body = read_part(reference, spec.access)
        start_from(model, body, name=reference, sha256=pin_of(reference, body, spec.sha256))
    if spec.freeze is not None:
        freeze(model, spec.freeze)


def view_steps(spec: ViewsTrainSpec, model: TrainableDetector | Segmenter) -> tuple[Augmentation, ...]:
    """Of the training views: those asked for, or those of the model's family."""
    return model.augmentation if spec.augment is None else spec.augment


def run_options(
    spec: ViewsTrainSpec, model: TrainableDetector | Segmenter, *, sizes: tuple[int, ...] = ()
) -> RunOptions:
    """What a spec says of a run of `model`; `sizes` as in `RunOptions`."""
    steps = view_steps(spec, model)
    augment = AugmentOptions(
        steps, min_zoom=spec.min_zoom, max_zoom=spec.max_zoom, fill=model.input_spec.fill
    )
    return RunOptions(
        spec.epochs,
        spec.batch_size,
        spec.seed,
        augment if steps else None,
        patience=spec.patience,
        sizes=sizes,
    )
