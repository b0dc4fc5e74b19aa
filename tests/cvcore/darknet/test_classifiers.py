"""Darknet-19 and Darknet-53 against their published tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from cvcore.darknet.cfg import Cfg, parse_cfg
from cvcore.darknet.classifiers import DarknetClassifier, darknet19_cfg, darknet53_cfg
from cvcore.darknet.layers import Convolutional, Layer, Shortcut
from cvcore.darknet.network import count_parameters
from cvcore.darknet.weights import write_weights
from cvcore.errors import ModelError
from tests.cvcore.darknet.builds import cfg_text, empty_network, randomize, sections
from tests.data import shared_data


def _layers(cfg: Cfg) -> list[Layer]:
    return [replace(layer, line=0) for layer in cfg.layers]


@pytest.mark.parametrize(
    ("generate", "file"), [(darknet19_cfg, "darknet19.cfg"), (darknet53_cfg, "darknet53.cfg")]
)
def test_equals_the_published_cfg_layer_by_layer(generate: Callable[[], str], file: str) -> None:
    published = parse_cfg(shared_data("weights", "cfg", file).read_text())
    assert _layers(parse_cfg(generate())) == _layers(published)


@pytest.mark.parametrize(
    ("generate", "published", "tolerance"),
    [(darknet19_cfg, 7.29e9, 0.001), (darknet53_cfg, 18.7e9, 0.01)],
    ids=["Darknet-19", "Darknet-53"],
)
def test_operations_at_256_are_the_published_ones(
    generate: Callable[[], str], published: float, tolerance: float
) -> None:
    assert parse_cfg(generate()).num_operations == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize(
    ("generate", "convolutions", "shortcuts"), [(darknet19_cfg, 19, 0), (darknet53_cfg, 53, 23)]
)
def test_parameters_follow_from_the_table(
    generate: Callable[[], str], convolutions: int, shortcuts: int
) -> None:
    network = empty_network(generate())
    layers = network.cfg.layers
    convs = [layer for layer in layers if isinstance(layer, Convolutional)]
    # Darknet-53 counts its classifying layer among the 53, Darknet-19 too.
    assert len(convs) == convolutions
    assert sum(isinstance(layer, Shortcut) for layer in layers) == shortcuts
    kernels = sum(c.output.channels * c.input.channels * c.size**2 for c in convs)
    norms = sum(2 * c.output.channels for c in convs if c.batch_normalize)
    assert count_parameters(network) == kernels + norms + 1000


def test_gives_logits_and_loads_weights() -> None:
    text = darknet19_cfg(num_classes=10, size=64)
    classifier = DarknetClassifier.from_cfg(text, labels=[f"c{i}" for i in range(10)])
    randomize(classifier)
    canvases = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    images = classifier.preprocess(canvases)
    assert images.shape == (2, 3, 64, 64)
    assert images.max() <= 1
    with torch.inference_mode():
        probabilities = torch.softmax(classifier(images), dim=1)
        (whole,) = classifier.network(images)
        classifier.load_darknet_weights(write_weights(classifier.network))
        fused = torch.softmax(classifier(images), dim=1)
    torch.testing.assert_close(probabilities, whole.flatten(1), atol=1e-5, rtol=0)
    assert probabilities.shape == (2, 10)
    torch.testing.assert_close(fused, probabilities, atol=1e-4, rtol=0)


def test_scores_of_a_cfg_without_softmax_are_its_logits() -> None:
    classifier = DarknetClassifier.from_cfg(cfg_text(sections("connected output=4 activation=linear")))
    images = torch.rand(3, 3, 8, 8)
    with torch.inference_mode():
        (whole,) = classifier.network(images)
        torch.testing.assert_close(classifier(images), whole.flatten(1))
    assert classifier.labels == ("class 0", "class 1", "class 2", "class 3")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (sections("convolutional filters=7", "yolo anchors=4,4 num=1 classes=2"), "DarknetDetector"),
        (sections("convolutional filters=7"), "7x8x8"),
    ],
    ids=["detector", "not pooled"],
)
def test_cfg_that_is_no_classifier_is_refused(body: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        DarknetClassifier.from_cfg(cfg_text(body))
