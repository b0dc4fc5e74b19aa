"""Starting from weights of other classes, with and without boxes."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from torchvision.models import squeezenet1_1

from cvcore.checkpoint import save_checkpoint
from cvcore.classify.base import Classifier
from cvcore.classify.darknet import build_darknet_classifier
from cvcore.classify.localizer import Localizer
from cvcore.classify.start import Started, start_classifier
from cvcore.classify.torchvision_classifiers import build_torchvision_classifier
from cvcore.darknet.classifiers import DarknetClassifier
from cvcore.darknet.weights import write_weights
from cvcore.errors import ModelError, WeightsError

LABELS = ("a", "b", "c")


def squeezenet(labels: tuple[str, ...] = LABELS, *, localize: bool = False) -> Classifier | Localizer:
    return build_torchvision_classifier(labels, graph="squeezenet1_1", input_size=64, localize=localize)


def darknet(labels: tuple[str, ...] = LABELS, *, width: float = 0.1) -> DarknetClassifier:
    model = build_darknet_classifier(labels, version="darknet53", input_size=64, width=width)
    assert isinstance(model, DarknetClassifier)
    return model


def checkpoint(model: Classifier | Localizer) -> bytes:
    return save_checkpoint(
        model.state_dict(), model="squeezenet1_1", config=model.config, labels=model.labels, training={}
    )


def test_torchvisions_head_of_other_classes_is_replaced() -> None:
    state = squeezenet1_1(weights=None).state_dict()
    model = squeezenet()
    head = model.state_dict()["network.classifier.1.weight"].clone()
    assert start_classifier(model, safetensors.torch.save(state), name="w") == Started(True, False, 1000)
    own = model.state_dict()
    assert torch.equal(own["network.features.0.weight"], state["features.0.weight"])
    assert torch.equal(own["network.classifier.1.weight"], head)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(LABELS, Started(False, False, 3)), (("x", "y", "z"), Started(True, False, 3))],
    ids=["the same classes", "others, as many"],
)
def test_a_checkpoints_head_is_kept_for_the_same_classes_alone(
    labels: tuple[str, ...], expected: Started
) -> None:
    source, model = squeezenet(), squeezenet(labels)
    assert start_classifier(model, checkpoint(source), name="w") == expected
    key = "network.classifier.1.weight"
    assert torch.equal(model.state_dict()[key], source.state_dict()[key]) != expected.head_is_new


def test_a_classifier_starts_a_localiser_and_the_other_way_round() -> None:
    classifier, localizer = squeezenet(), squeezenet(localize=True)
    assert start_classifier(localizer, checkpoint(classifier), name="w") == Started(False, True, 3)
    assert torch.equal(
        localizer.state_dict()["classifier.network.features.0.weight"],
        classifier.state_dict()["network.features.0.weight"],
    )
    other = squeezenet(localize=True)
    assert start_classifier(other, checkpoint(localizer), name="w") == Started(False, False, 3)
    assert torch.equal(
        other.state_dict()["box_head.box.weight"], localizer.state_dict()["box_head.box.weight"]
    )
    assert start_classifier(squeezenet(), checkpoint(localizer), name="w") == Started(False, False, 3)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(LABELS, Started(False, False, 3)), (("a", "b"), Started(True, False, 3))],
    ids=["as many classes", "fewer"],
)
def test_darknets_weights_start_a_darknet(labels: tuple[str, ...], expected: Started) -> None:
    source, model = darknet(), darknet(labels)
    assert start_classifier(model, write_weights(source.network), name="d.weights") == expected
    assert torch.equal(
        model.state_dict()["network.blocks.0.conv.weight"], source.network.blocks[0].conv.weight
    )


def test_a_partial_darknet_file_says_how_many_layers_it_holds() -> None:
    source, model = darknet(), darknet()
    body = write_weights(source.network, num_layers=74)
    assert start_classifier(model, body, name="darknet53.conv.74") == Started(True, False, None)


def test_what_does_not_fit_is_refused_also_without_memory() -> None:
    with torch.device("meta"):
        planned = squeezenet()
    state = squeezenet1_1(weights=None).state_dict()
    del state["features.0.weight"]
    with pytest.raises(ModelError, match=r"1 of the 50 tensors .* \(network\.features\.0\.weight\)"):
        start_classifier(planned, safetensors.torch.save(state), name="w")
    with pytest.raises(WeightsError, match="this network for no number of classes"):
        start_classifier(darknet(width=0.2), write_weights(darknet().network), name="d.weights")
