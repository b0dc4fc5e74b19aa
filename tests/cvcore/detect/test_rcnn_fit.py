from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC
from torchvision.ops import box_iou

from cvcore.checkpoint import load_into, read_checkpoint, save_checkpoint
from cvcore.detect.rcnn import CODER, Rcnn, build_rcnn
from cvcore.detect.rcnn_examples import FitOptions, described, feature_scales
from cvcore.detect.rcnn_fit import fit_heads
from cvcore.errors import SpecError
from cvcore.image.fit import plan_fit
from cvcore.train.batches import Batch
from cvcore.types import DetectOptions
from tests.cvcore.detect.rcnn_samples import BOXES, canvas, jittered, no_truth, truth

OPTIONS = FitOptions(svm_cost=10.0, penalty=10.0)


def small(labels: tuple[str, ...] = ("red", "blue")) -> Rcnn:
    torch.manual_seed(0)
    return build_rcnn(
        labels, backbone="squeezenet1_1", crop_size=32, canvas=(96, 128), dropout=0.0, max_proposals=200
    )


def one_image() -> list[Batch]:
    return [Batch(canvas(), truth(), (jittered(),))]


def fitted(options: FitOptions = OPTIONS) -> Rcnn:
    model = small()
    fit_heads(model, one_image, options)
    return model.eval()


def test_finds_what_it_was_fitted_on() -> None:
    model = fitted()
    fit = plan_fit(96, 128, model.input_spec)
    proposals = jittered()[[5, 35]]  # one near each object, so that the regression alone makes boxes right
    with torch.inference_mode():
        raw = model(model.preprocess(canvas(), [fit], [proposals]))
        (found,) = model.postprocess(raw, [fit], DetectOptions(min_score=0.4, nms_iou=0.3))
    best = [int((found.label_ids == label).nonzero()[0]) for label in (0, 1)]
    after = box_iou(found.boxes[best], BOXES).diagonal()
    assert (after > box_iou(proposals, BOXES).diagonal()).all()


def test_machines_are_scikit_learns_on_the_same_features() -> None:
    """One image and no limit: every negative is held from the start, so mining adds nothing."""
    model = small()
    scales = feature_scales(model.eval(), one_image())
    (own,) = described(model, one_image(), scales)
    fit_heads(model, one_image, OPTIONS)
    iou = box_iou(jittered(), BOXES)
    for label in (0, 1):
        positive = own.truth_features[own.truth_labels == label]
        negative = own.features[iou[:, label] < 0.3]
        reference = LinearSVC(
            loss="hinge",
            C=10.0,
            class_weight={1: 2.0},
            intercept_scaling=10.0,
            max_iter=200_000,
            random_state=1,
        ).fit(torch.cat([positive, negative]).numpy(), np.repeat([1, -1], [len(positive), len(negative)]))
        margins = own.features / scales[1] @ model.svm_weights[label] + model.svm_bias[label]
        np.testing.assert_allclose(margins, reference.decision_function(own.features.numpy()), atol=0.02)


def test_regressions_are_scikit_learns_on_the_same_features() -> None:
    model = small()
    scales = feature_scales(model.eval(), one_image())
    (own,) = described(model, one_image(), scales)
    fit_heads(model, one_image, OPTIONS)
    iou, proposals = box_iou(jittered(), BOXES), jittered()
    for label in (0, 1):
        near = (iou[:, label] >= 0.6) & (iou.argmax(dim=1) == label)
        wanted = CODER.encode(BOXES[label].expand(int(near.sum()), 4), proposals[near])
        reference = Ridge(alpha=10.0).fit(own.pooled[near].numpy(), wanted.numpy())
        offsets = own.pooled / scales[0] @ model.box_weights[label] + model.box_bias[label]
        np.testing.assert_allclose(offsets, reference.predict(own.pooled.numpy()), atol=1e-4)


def test_mining_finds_the_negatives_that_a_sample_missed() -> None:
    """With room for few negatives, rounds replace easy ones: fewer are then taken for objects."""
    tight = FitOptions(svm_cost=10.0, penalty=10.0, max_negatives=25, rounds=0)
    negative = (box_iou(jittered(), BOXES) < 0.3)[None]

    def mistakes(options: FitOptions) -> float:
        model = fitted(options)
        with torch.inference_mode():
            scores = model(model.preprocess(canvas(), proposals=[jittered()])).scores
        return float(((scores.logit() + 1).clamp(min=0) * negative).sum())

    rounds = FitOptions(svm_cost=10.0, penalty=10.0, max_negatives=25, rounds=3)
    assert mistakes(rounds) < mistakes(tight)


def test_the_same_seed_gives_the_same_heads() -> None:
    limited = FitOptions(max_negatives=20, max_box_examples=5, rounds=1)
    first, second = fitted(limited).state_dict(), fitted(limited).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = fitted(FitOptions(max_negatives=20, max_box_examples=5, rounds=1, seed=1))
    assert not torch.equal(other.box_weights, first["box_weights"])


def test_a_class_without_examples_is_never_found() -> None:
    model = small(("red", "blue", "green"))
    fit_heads(model, one_image, OPTIONS)
    with torch.inference_mode():
        scores = model.eval()(model.preprocess(canvas(), proposals=[jittered()])).scores
    assert scores[..., 2].max() < 1e-6
    assert scores[..., :2].max() > 0.5


def test_images_without_regions_or_objects_are_passed_over() -> None:
    empty = Batch(canvas(), no_truth(), (jittered()[:0],))
    model = small()
    fit_heads(model, lambda: [*one_image(), empty], OPTIONS)
    assert torch.equal(model.svm_weights, fitted().svm_weights)


def test_nothing_to_learn_from_is_refused() -> None:
    batch = Batch(canvas(), no_truth(), (jittered(),))
    with pytest.raises(SpecError, match="no object"):
        fit_heads(small(), lambda: [batch])


def test_a_checkpoint_holds_the_heads() -> None:
    model = fitted()
    data = save_checkpoint(
        model.state_dict(), model="rcnn", config=model.config, labels=model.labels, training={}
    )
    again = small()
    load_into(again, read_checkpoint(data).state)
    with torch.inference_mode():
        first, second = (m.eval()(m.preprocess(canvas(), proposals=[jittered()])) for m in (model, again))
    assert bool(again.fitted)
    assert torch.equal(first.scores, second.scores)
    assert torch.equal(first.offsets, second.offsets)


def test_fitting_leaves_the_network_as_it_was() -> None:
    model = small().train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    fit_heads(model, one_image, OPTIONS)
    assert model.training
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
