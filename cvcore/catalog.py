"""The literal catalogue of models: adding one is its module and an entry here.

Importing this module imports no torch: builders are named, and resolved when a model is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib import resources
from types import MappingProxyType
from typing import Any

from cvcore.catalog_entries import (
    FASTER,
    MASK,
    MOBILE_V3,
    RESNET,
    SSD,
    VIT_DET,
    YOLO_V1,
    YOLO_V2,
    YOLO_V3,
    ModelEntry,
    autoencoder_entry,
    classifier_entry,
    darknet_classifier_entry,
    fcn_entry,
    segmenter_entry,
    torchvision_entry,
    trainable_entry,
    yolo_entry,
)
from cvcore.errors import ModelError, did_you_mean

CATALOG: dict[str, ModelEntry] = {
    "tiny": ModelEntry(
        task="detect",
        summary="Small three-scale detector, quick on CPUs; its weights come with the package",
        builder="cvcore.detect.yolo:build_tiny",
        trains=True,
        input_height=320,
        input_width=320,
        num_parameters=1_242_643,
        num_labels=6,
        label_set="parts of the sample scenes",
        paper="after Redmon and Farhadi 2018, YOLOv3: An Incremental Improvement",
        weights="package://cvcore/detect/weights/tiny.safetensors",
        weights_licence="Apache-2.0",
        weights_source="trained on the project's own sample scenes",
    ),
    "tiny_masks": ModelEntry(
        task="detect",
        summary="tiny with a mask of each box: the same boxes; its weights come with the package",
        builder="cvcore.detect.tiny_masks:build_tiny_masks",
        trains=True,
        input_height=320,
        input_width=320,
        num_parameters=1_279_865,
        num_labels=6,
        label_set="parts of the sample scenes",
        paper=MASK,
        weights="package://cvcore/detect/weights/tiny_masks.safetensors",
        weights_licence="Apache-2.0",
        weights_source="trained on the project's own sample scenes",
    ),
    "ssd300": trainable_entry(
        "cvcore.detect.ssd:build_ssd",
        "SSD300 as published, on VGG16: 8,732 default boxes; train it, best from a classifier's weights",
        300,
        26_285_486,
        SSD,
        input_size=300,
    ),
    "ssd512": trainable_entry(
        "cvcore.detect.ssd:build_ssd",
        "SSD512 as published, on VGG16: 24,564 default boxes; train it, best from a classifier's weights",
        512,
        27_188_676,
        SSD,
        input_size=512,
    ),
    "ssd300_vgg16": torchvision_entry(
        "ssd300_vgg16",
        "SSD300_VGG16_Weights.COCO_V1",
        "SSD300 on VGG16; 25.1 box AP on COCO val2017",
        canvas=300,
        num_parameters=35_641_826,
        paper=SSD,
    ),
    "ssdlite320_mobilenet_v3_large": torchvision_entry(
        "ssdlite320_mobilenet_v3_large",
        "SSDLite320_MobileNet_V3_Large_Weights.COCO_V1",
        "SSDlite on MobileNetV3, for CPUs; 21.3 box AP on COCO val2017",
        canvas=320,
        num_parameters=3_440_060,
        paper=MOBILE_V3,
    ),
    "fasterrcnn_resnet50_fpn": torchvision_entry(
        "fasterrcnn_resnet50_fpn",
        "FasterRCNN_ResNet50_FPN_Weights.COCO_V1",
        "Faster R-CNN on ResNet-50-FPN; 37.0 box AP on COCO val2017",
        canvas=1333,
        num_parameters=41_755_286,
        paper=FASTER,
    ),
    "fasterrcnn_resnet50_fpn_v2": torchvision_entry(
        "fasterrcnn_resnet50_fpn_v2",
        "FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
        "Faster R-CNN with the improved recipe and heads; 46.7 box AP on COCO val2017",
        canvas=1333,
        num_parameters=43_712_278,
        paper=VIT_DET,
    ),
    "fasterrcnn_mobilenet_v3_large_320_fpn": torchvision_entry(
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1",
        "Faster R-CNN on MobileNetV3 at 320 px, for CPUs; 22.8 box AP on COCO val2017",
        canvas=640,
        num_parameters=19_386_354,
        paper=MOBILE_V3,
    ),
    "maskrcnn_resnet50_fpn": torchvision_entry(
        "maskrcnn_resnet50_fpn",
        "MaskRCNN_ResNet50_FPN_Weights.COCO_V1",
        "Mask R-CNN on ResNet-50-FPN; 37.9 box AP, 34.6 mask AP on COCO val2017",
        canvas=1333,
        num_parameters=44_401_393,
        paper=MASK,
    ),
    "maskrcnn_resnet50_fpn_v2": torchvision_entry(
        "maskrcnn_resnet50_fpn_v2",
        "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
        "Mask R-CNN with the improved recipe and heads; 47.4 box AP, 41.8 mask AP on COCO val2017",
        canvas=1333,
        num_parameters=46_359_409,
        paper=VIT_DET,
    ),
    "yolov1": yolo_entry("v1", "YOLO v1: 24 convolutions, 7 x 7 cells", 448, 271_716_734, YOLO_V1),
    "yolov1_fast": yolo_entry("v1-fast", "Fast YOLO: v1 with 9 convolutions", 448, 236_720_462, YOLO_V1),
    "yolov1_tiny": yolo_entry(
        "v1-tiny", "v1 with 8 convolutions and one connected layer", 448, 27_095_374, YOLO_V1
    ),
    "yolov1_vgg16": yolo_entry("v1-vgg16", "YOLO v1 on VGG-16's convolutions", 448, 259_300_606, YOLO_V1),
    "yolov1_squeezenet": yolo_entry(
        "v1-squeezenet1_1", "YOLO v1 on SqueezeNet's convolutions, for CPUs", 448, 98_081_790, YOLO_V1
    ),
    "yolov2": yolo_entry("v2", "YOLOv2 on Darknet-19, five anchors", 416, 50_655_389, YOLO_V2),
    "yolov2_tiny": yolo_entry("v2-tiny", "YOLOv2 with nine convolutions", 416, 15_861_773, YOLO_V2),
    "yolov3": yolo_entry("v3", "YOLOv3 on Darknet-53, three scales", 416, 61_626_049, YOLO_V3),
    "yolov3_tiny": yolo_entry("v3-tiny", "YOLOv3-tiny, two scales", 416, 8_713_766, YOLO_V3),
    "rcnn": trainable_entry(
        "cvcore.detect.rcnn:build_rcnn",
        "R-CNN as published, on AlexNet and selective search; train it, best from a classifier's weights",
        500,
        57_089_877,
        "Girshick et al. 2014, Rich Feature Hierarchies for Accurate Object Detection",
    ),
    "fast_rcnn": trainable_entry(
        "cvcore.detect.fast_rcnn:build_fast_rcnn",
        "Fast R-CNN as published, on VGG16 and selective search; train it, best from a classifier's weights",
        1000,
        134_674_341,
        "Girshick 2015, Fast R-CNN",
    ),
    "faster_rcnn": trainable_entry(
        "cvcore.detect.faster_rcnn:build_faster_rcnn",
        "Faster R-CNN as published, on VGG16; train it, best from a classifier's weights",
        1000,
        137_061_851,
        FASTER,
    ),
    "mask_rcnn": trainable_entry(
        "cvcore.detect.mask_rcnn:build_mask_rcnn",
        "Mask R-CNN on SqueezeNet, for CPUs; train it on masks, best from a classifier's weights",
        320,
        2_447_681,
        MASK,
    ),
    "alexnet": classifier_entry(
        "alexnet",
        "AlexNet_Weights.IMAGENET1K_V1",
        "AlexNet; 56.5 % top-1 on ImageNet",
        61_100_840,
        "Krizhevsky 2014, One Weird Trick for Parallelizing Convolutional Neural Networks",
    ),
    "vgg16": classifier_entry(
        "vgg16",
        "VGG16_Weights.IMAGENET1K_V1",
        "VGG16; 71.6 % top-1 on ImageNet",
        138_357_544,
        "Simonyan and Zisserman 2014, Very Deep Convolutional Networks for Large-Scale Image Recognition",
    ),
    "resnet18": classifier_entry(
        "resnet18",
        "ResNet18_Weights.IMAGENET1K_V1",
        "ResNet-18; 69.8 % top-1 on ImageNet",
        11_689_512,
        RESNET,
    ),
    "resnet34": classifier_entry(
        "resnet34",
        "ResNet34_Weights.IMAGENET1K_V1",
        "ResNet-34; 73.3 % top-1 on ImageNet",
        21_797_672,
        RESNET,
    ),
    "resnet50": classifier_entry(
        "resnet50",
        "ResNet50_Weights.IMAGENET1K_V2",
        "ResNet-50; 80.9 % top-1 on ImageNet",
        25_557_032,
        RESNET,
    ),
    "squeezenet1_1": classifier_entry(
        "squeezenet1_1",
        "SqueezeNet1_1_Weights.IMAGENET1K_V1",
        "SqueezeNet 1.1, for CPUs; 58.2 % top-1 on ImageNet",
        1_235_496,
        "Iandola et al. 2016, SqueezeNet",
    ),
    "darknet19": darknet_classifier_entry("darknet19", "Darknet-19", 20_842_376, YOLO_V2),
    "darknet53": darknet_classifier_entry("darknet53", "Darknet-53", 41_609_928, YOLO_V3),
    "dense_autoencoder": autoencoder_entry(
        "cvcore.autoencode.dense:DenseAutoencoder",
        "Dense autoencoder of small pictures",
        canvas=64,
        num_parameters=25_857_820,
        paper="Hinton and Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks",
    ),
    "conv_autoencoder": autoencoder_entry(
        "cvcore.autoencode.conv:ConvAutoencoder",
        "Convolutional autoencoder",
        canvas=128,
        num_parameters=2_783_907,
        paper="Masci et al. 2011, Stacked Convolutional Auto-Encoders",
    ),
    "vae": autoencoder_entry(
        "cvcore.autoencode.variational:VariationalAutoencoder",
        "Variational autoencoder: scores by likelihood, generates images",
        canvas=128,
        num_parameters=2_259_620,
        paper="Kingma and Welling 2014, Auto-Encoding Variational Bayes",
    ),
    "patchcore": ModelEntry(
        task="score",
        trains=True,
        summary="Distances of patches to a memory of normal ones; needs no epochs, but a trained backbone",
        builder="cvcore.anomaly.memory_bank:PatchCore",
        input_height=224,
        input_width=224,
        num_parameters=722_496,
        num_labels=0,
        label_set="",
        paper="Roth et al. 2022, Towards Total Recall in Industrial Anomaly Detection",
    ),
    "fcn32s": fcn_entry(32, "vgg16", 136_152_917),
    "fcn16s": fcn_entry(16, "vgg16", 134_815_994),
    "fcn8s": fcn_entry(8, "vgg16", 134_489_759),
    "fcn32s_alexnet": fcn_entry(32, "alexnet", 58_896_213),
    "fcn32s_googlenet": fcn_entry(32, "googlenet", 7_427_765),
    "fcn_resnet50": ModelEntry(
        task="segment",
        summary="FCN on a dilated ResNet-50; 60.5 mIoU on the COCO val2017 images of VOC's classes",
        builder="cvcore.segment.torchvision_fcn:build_torchvision_fcn",
        config=MappingProxyType({"graph": "fcn_resnet50"}),
        adapter="cvcore.segment.torchvision_fcn:rename_published",
        input_height=520,
        input_width=520,
        num_parameters=32_957_013,
        num_labels=21,
        label_set="the background and Pascal VOC's 20 classes",
        paper="Long et al. 2015, Fully Convolutional Networks for Semantic Segmentation",
        weights="torchvision://FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1",
        weights_licence="BSD-3-Clause",
        weights_source="torchvision's model zoo, trained on COCO 2017's images of VOC's classes",
    ),
    "unet": segmenter_entry(
        "cvcore.segment.unet:build_unet",
        "U-Net as published, unpadded: 23 convolutions; train it",
        512,
        31_031_810,
        "Ronneberger et al. 2015, U-Net: Convolutional Networks for Biomedical Image Segmentation",
        num_labels=2,
    ),
    "deconvnet": segmenter_entry(
        "cvcore.segment.deconvnet:build_deconvnet",
        "DeconvNet on VGG16: remembered max locations are unpooled, regions merged; train it",
        224,
        251_805_653,
        "Noh et al. 2015, Learning Deconvolution Network for Semantic Segmentation",
    ),
    "selective_search": ModelEntry(
        task="propose",
        summary="Boxes that are likely to hold objects of any class; nothing is learnt",
        builder="cvcore.propose.proposer:SelectiveSearch",
        input_height=500,
        input_width=500,
        num_parameters=0,
        num_labels=0,
        label_set="",
        paper="Uijlings et al. 2013, Selective Search for Object Recognition",
    ),
}


def is_cfg(name: str) -> bool:
    """Whether a model's name is a Darknet `.cfg` file rather than an entry of the catalogue."""
    return name.lower().endswith(".cfg")


DARKNET = "darknet"
_DARKNET_ENTRY = ModelEntry(
    task="detect",
    summary="A detector of a .cfg, trained here; its checkpoint holds the .cfg",
    builder="cvcore.detect.yolo:build_darknet",
    input_height=0,
    input_width=0,
    num_parameters=0,
    num_labels=1,
    label_set="its dataset's",
    paper="",
)
"""What checkpoints of trained `.cfg`s name; nothing that a user names, so it is not listed."""


def find_model(name: str) -> ModelEntry:
    """Return the entry called `name`.

    Raises:
        ModelError: if there is none; the message lists those that are.
    """
    if name == DARKNET:
        return _DARKNET_ENTRY
    if name not in CATALOG:
        raise ModelError(
            f"there is no model {name!r}.{did_you_mean(name, CATALOG)} Models: {', '.join(CATALOG)}. "
            "A Darknet model is named by its .cfg file, a trained one by its .safetensors file"
        )
    return CATALOG[name]


SHIPPED = "package://"


def read_shipped(reference: str) -> bytes:
    """Weights that come with the package, by an entry's reference to them."""
    package, _, path = reference.removeprefix(SHIPPED).partition("/")
    return resources.files(package).joinpath(path).read_bytes()


def resolve(reference: str) -> Callable[..., Any]:
    """Import what a `module:function` of an entry names."""
    module, _, function = reference.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
