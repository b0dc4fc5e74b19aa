"""An entry of the catalogue, and entries of the kinds that differ in little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class ModelEntry:
    """One architecture, and the weights that are known for it.

    Attributes:
        task: what its outputs are.
        summary: one line for people who choose.
        builder: `module:function`, called as `function(labels, **config)`, where labels None means the
            default; as `function(**config)` for an entry without labels.
        input_height, input_width: the canvas by default, pixels.
        num_parameters: by default, buffers not counted; a model of 0 needs no weights.
        num_labels: by default; 0 for models that name nothing.
        label_set: what the default labels are.
        paper: where the architecture is published.
        config: keyword arguments of the builder that make it this entry.
        trains: whether `veedor train` takes it.
        adapter: `module:function` that renames a foreign state dict to this model's names, or None.
        weights: reference of the default weights, or None where there are none.
        weights_licence, weights_source: of the default weights.
    """

    task: Literal["detect", "classify", "autoencode", "score", "propose", "segment"]
    summary: str
    builder: str
    input_height: int
    input_width: int
    num_parameters: int
    num_labels: int
    label_set: str
    paper: str
    config: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    trains: bool = False
    adapter: str | None = None
    weights: str | None = None
    weights_licence: str = ""
    weights_source: str = ""


def torchvision_entry(
    graph: str, weights: str, summary: str, *, canvas: int, num_parameters: int, paper: str
) -> ModelEntry:
    """A detector of torchvision's with its weights."""
    return ModelEntry(
        task="detect",
        summary=summary,
        builder="cvcore.detect.torchvision_models:build_torchvision",
        config=MappingProxyType({"graph": graph}),
        adapter="cvcore.detect.torchvision_models:rename_published",
        input_height=canvas,
        input_width=canvas,
        num_parameters=num_parameters,
        num_labels=91,
        label_set="COCO, by its category ids (0 is the background; unused ids are N/A)",
        paper=paper,
        weights=f"torchvision://{weights}",
        weights_licence="BSD-3-Clause",
        weights_source="torchvision's model zoo, trained on COCO 2017",
    )


def autoencoder_entry(
    builder: str, summary: str, *, canvas: int, num_parameters: int, paper: str
) -> ModelEntry:
    """An autoencoder, which is trained before it is of use."""
    return ModelEntry(
        task="autoencode",
        trains=True,
        summary=f"{summary}; train it on normal images to scan for anomalies",
        builder=builder,
        input_height=canvas,
        input_width=canvas,
        num_parameters=num_parameters,
        num_labels=0,
        label_set="",
        paper=paper,
    )


def trainable_entry(
    builder: str, summary: str, canvas: int, num_parameters: int, paper: str, **config: Any
) -> ModelEntry:
    """A detector as published that has no weights yet."""
    return ModelEntry(
        task="detect",
        summary=summary,
        builder=builder,
        config=MappingProxyType(config),
        trains=True,
        input_height=canvas,
        input_width=canvas,
        num_parameters=num_parameters,
        num_labels=20,
        label_set="Pascal VOC's 20 classes",
        paper=paper,
    )


def yolo_entry(version: str, summary: str, canvas: int, num_parameters: int, paper: str) -> ModelEntry:
    """A YOLO as published that has no weights yet."""
    summary = f"{summary}; for training, Darknet's weights start it"
    return trainable_entry(
        "cvcore.detect.yolo:build_yolo", summary, canvas, num_parameters, paper, version=version
    )


def segmenter_entry(
    builder: str,
    summary: str,
    canvas: int,
    num_parameters: int,
    paper: str,
    *,
    num_labels: int = 21,
    **config: Any,
) -> ModelEntry:
    """A segmenter as published that has no weights yet."""
    return ModelEntry(
        task="segment",
        summary=summary,
        builder=builder,
        config=MappingProxyType(config),
        trains=True,
        input_height=canvas,
        input_width=canvas,
        num_parameters=num_parameters,
        num_labels=num_labels,
        label_set="the background and Pascal VOC's 20 classes" if num_labels == 21 else "background, object",
        paper=paper,
    )


def classifier_entry(graph: str, weights: str, summary: str, num_parameters: int, paper: str) -> ModelEntry:
    """A graph of torchvision's with its weights; with other classes to be trained."""
    return ModelEntry(
        task="classify",
        summary=summary,
        builder="cvcore.classify.torchvision_classifiers:build_torchvision_classifier",
        config=MappingProxyType({"graph": graph}),
        adapter="cvcore.classify.torchvision_classifiers:rename_published",
        trains=True,
        input_height=224,
        input_width=224,
        num_parameters=num_parameters,
        num_labels=1000,
        label_set="ImageNet's 1000 classes",
        paper=paper,
        weights=f"torchvision://{weights}",
        weights_licence="BSD-3-Clause",
        weights_source="torchvision's model zoo, trained on ImageNet-1K",
    )


def darknet_classifier_entry(version: str, name: str, num_parameters: int, paper: str) -> ModelEntry:
    """A classifier of Darknet's."""
    return ModelEntry(
        task="classify",
        summary=f"{name} classifier; weights are Darknet's .weights files",
        builder="cvcore.classify.darknet:build_darknet_classifier",
        config=MappingProxyType({"version": version}),
        trains=True,
        input_height=256,
        input_width=256,
        num_parameters=num_parameters,
        num_labels=1000,
        label_set="ImageNet's 1000 classes, unnamed unless labels are given",
        paper=paper,
    )


def fcn_entry(stride: int, backbone: str, num_parameters: int) -> ModelEntry:
    """An FCN of VOC's classes, by the stride of its last map, pixels, and its trunk."""
    name = {"vgg16": "VGG16", "alexnet": "AlexNet", "googlenet": "GoogLeNet"}[backbone]
    return segmenter_entry(
        "cvcore.segment.fcn:build_fcn",
        f"FCN-{stride}s on {name}; train it, best from a classifier's weights",
        512,
        num_parameters,
        "Long et al. 2015, Fully Convolutional Networks for Semantic Segmentation",
        stride=stride,
        backbone=backbone,
    )


YOLO_V1 = "Redmon et al. 2015, You Only Look Once: Unified, Real-Time Object Detection"
YOLO_V2 = "Redmon and Farhadi 2016, YOLO9000: Better, Faster, Stronger"
YOLO_V3 = "Redmon and Farhadi 2018, YOLOv3: An Incremental Improvement"
RESNET = "He et al. 2015, Deep Residual Learning for Image Recognition"
SSD = "Liu et al. 2016, SSD: Single Shot MultiBox Detector"
MOBILE_V3 = "Howard et al. 2019, Searching for MobileNetV3"
FASTER = "Ren et al. 2015, Faster R-CNN"
MASK = "He et al. 2017, Mask R-CNN"
VIT_DET = "Li et al. 2021, Benchmarking Detection Transfer Learning with Vision Transformers"
