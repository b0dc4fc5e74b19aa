"""R-CNN's last two trainings on fixed features (Girshick et al. 2014, section 2.3 and appendix C).

For each class a linear support vector machine, whose negatives are mined over the images, and a ridge
regression of box offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from sklearn.svm import LinearSVC
from torch import Tensor

from cvcore.detect.rcnn import FittedHeads, Rcnn
from cvcore.detect.rcnn_examples import (
    FitOptions,
    Kept,
    Machines,
    described,
    feature_scales,
    gather,
    mine,
    rank,
)
from cvcore.errors import SpecError
from cvcore.ops.keep import Keep
from cvcore.ops.ridge import ridge
from cvcore.train.batches import Batch

_UNSEEN_MARGIN = -20.0
_ITERATIONS = 20_000

DEFAULTS = FitOptions()


@torch.no_grad()
def fit_heads(model: Rcnn, batches: Callable[[], Iterable[Batch]], options: FitOptions = DEFAULTS) -> None:
    """Fit the support vector machines and the box regressions, and install them.

    A class that the batches do not show is never found. The same batches and seed give the same heads.

    Args:
        model: its network stays as it is.
        batches: gives the training images, in the same order each time; called `rounds` + 2 times, once for
            its first batch alone. Proposals are searched for each time, unless the batches hold them.
        options: see there.

    Raises:
        SpecError: if the batches show no object at all.
    """
    was_training = model.training
    model.eval()
    scales = feature_scales(model, batches())
    kept = Kept.of(len(model.labels), options)
    generator = torch.Generator().manual_seed(options.seed)
    for own in described(model, batches(), scales):
        gather(own, kept, options, generator)
    if not any(map(len, kept.positives)):
        raise SpecError("R-CNN's heads cannot be fitted: the images show no object; pass some with boxes")
    machines = _fit_machines(kept, options)
    for _ in range(options.rounds):
        rank(kept, machines)
        for own in described(model, batches(), scales):
            mine(own, kept, machines, options)
        machines = _fit_machines(kept, options)
    box_weights, box_bias = _fit_boxes(kept, model.crops.pooled_size, options)
    pooled_scale, scale = scales
    weights, bias = machines
    model.install(FittedHeads(weights * scale, bias, box_weights * pooled_scale, box_bias))
    model.train(was_training)


def _fit_machines(kept: Kept, options: FitOptions) -> Machines:
    size = next(own.rows[0].shape[1] for own in kept.positives if own.rows)
    machines = [
        _fit_machine(positives, negatives, size, options)
        for positives, negatives in zip(kept.positives, kept.negatives, strict=True)
    ]
    weights, bias = zip(*machines, strict=True)
    return torch.stack(weights), torch.stack(bias)


def _fit_machine(positives: Keep, negatives: Keep, size: int, options: FitOptions) -> tuple[Tensor, Tensor]:
    if not len(positives):
        return torch.zeros(size), torch.tensor(_UNSEEN_MARGIN)
    if not len(negatives):
        return torch.zeros(size), torch.tensor(0.0)
    features = torch.cat([positives.rows[0], negatives.rows[1]])
    wanted = np.repeat([1, -1], [len(positives), len(negatives)])
    machine = LinearSVC(
        loss="hinge",
        C=options.svm_cost,
        class_weight={1: options.positive_weight},
        intercept_scaling=10.0,
        max_iter=_ITERATIONS,
        random_state=options.seed,
    ).fit(features.numpy(), wanted)
    return torch.from_numpy(machine.coef_[0]).float(), torch.tensor(float(machine.intercept_[0]))


def _fit_boxes(kept: Kept, size: int, options: FitOptions) -> tuple[Tensor, Tensor]:
    """Weights, (K, F, 4), and biases, (K, 4), of one regression a class, on scaled pooled features."""
    fitted = [
        ridge(*own.rows, penalty=options.penalty) if own.rows else (torch.zeros(size, 4), torch.zeros(4))
        for own in kept.examples
    ]
    weights, bias = zip(*fitted, strict=True)
    return torch.stack(weights), torch.stack(bias)
