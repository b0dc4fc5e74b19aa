"""Darknet-19 and Darknet-53 as models of the catalogue."""

from __future__ import annotations

from typing import Literal, get_args

from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer
from cvcore.darknet.classifiers import DarknetClassifier, darknet19_cfg, darknet53_cfg
from cvcore.types import InputSpec

Version = Literal["darknet19", "darknet53"]
NUM_IMAGENET = 1000


def build_darknet_classifier(
    labels: tuple[str, ...] | None = None,
    *,
    version: Version,
    input_size: int = 256,
    width: float = 1.0,
    localize: bool = False,
) -> Classifier | Localizer:
    """Build a Darknet classifier with random weights, in evaluation mode.

    Args:
        labels: class names; ImageNet's 1000, unnamed, by default.
        version: which of them.
        input_size: side of the square canvas, pixels.
        width: multiplies all channels; 1 is the published network.
        localize: whether it gives one box as well; it then reads the whole image, stretched.

    Raises:
        ValueError: for a configuration that no network can have.
    """
    if version not in get_args(Version):
        raise ValueError(f"version must be one of {', '.join(get_args(Version))}, got {version!r}")
    write = darknet19_cfg if version == "darknet19" else darknet53_cfg
    num_classes = NUM_IMAGENET if labels is None else len(labels)
    text = write(num_classes=num_classes, size=input_size, width=width)
    model = DarknetClassifier.from_cfg(text, labels=labels)
    model.config = {"input_size": input_size, "width": width}
    if not localize:
        return model
    model.input_spec = InputSpec(input_size, input_size, fit="stretch")
    return Localizer(model).eval()
