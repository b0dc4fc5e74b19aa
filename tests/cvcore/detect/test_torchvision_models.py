from __future__ import annotations

import functools
import hashlib
import io
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights
from torchvision.models import detection as graphs

from cvcore.catalog import CATALOG
from cvcore.detect.base import Detector
from cvcore.detect.torchvision_models import build_torchvision, published_weights, rename_published
from cvcore.errors import ModelError, WeightsError
from cvcore.image.fit import Fit, draw_fit, plan_fit
from cvcore.models import ModelSource, build_model
from cvcore.types import Detections, DetectOptions

SMALL = {"min_size": 96, "max_size": 160}
CASES: dict[str, dict[str, int]] = {
    "ssdlite320_mobilenet_v3_large": {},
    "ssd300_vgg16": {},
    "fasterrcnn_mobilenet_v3_large_320_fpn": SMALL,
    "fasterrcnn_resnet50_fpn": SMALL,
    "maskrcnn_resnet50_fpn": SMALL,
}
GRAPHS = [name for name, entry in CATALOG.items() if entry.task == "detect" and "graph" in entry.config]
by_graph = pytest.mark.parametrize("graph", CASES)
OPTIONS = DetectOptions(min_score=0.02, nms_iou=0.4, max_detections=40)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Standard deviation that the outputs of these layers are given, so that scores and boxes differ by place.
SPREAD = {"cls_score": 2.0, "classification_head": 1.0, "rpn.head.cls_logits": 2.0, "mask_fcn_logits": 2.0}


@functools.cache
def random_state(graph: str) -> dict[str, Tensor]:
    """Random weights under torchvision's names, calibrated on one image to give a varied output."""
    torch.manual_seed(0)
    network = getattr(graphs, graph)(weights=None, weights_backbone=None, **CASES.get(graph, {})).eval()
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(_take_statistics)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            spread = next((value for key, value in SPREAD.items() if key in name), None)
            is_last = spread and (isinstance(module, nn.Linear) or module.bias is not None)
            if is_last:
                module.register_forward_hook(functools.partial(_take_spread, spread=spread))
    with torch.no_grad():
        network([floats(picture(100, 140))])
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


def _take_statistics(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    values = inputs[0].transpose(0, 1).flatten(1)
    module.running_mean.copy_(values.mean(dim=1))
    module.running_var.copy_(values.var(dim=1, correction=0) + 0.01)


def _take_spread(module: nn.Module, _inputs: Any, output: Tensor, *, spread: float) -> Tensor:
    channel = 1 if output.dim() == 4 else output.dim() - 1
    others = [d for d in range(output.dim()) if d != channel]
    mean = output.mean(dim=others, keepdim=True)
    if output.numel() == mean.numel():
        return output  # One place only: nothing differs.
    factor = spread / (output - mean).std()
    module.weight.mul_(factor)
    module.bias.copy_((module.bias - mean.flatten()) * factor)
    return (output - mean) * factor


def reference_of(
    graph: str, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, sizes: dict[str, int]
) -> nn.Module:
    """torchvision's own model as it builds it for its published weights, thresholds being `OPTIONS`."""
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_args, **_kwargs: dict(state))
    prefix, limit = ("", "detections_per_img") if "ssd" in graph else ("box_", "box_detections_per_img")
    options = {
        f"{prefix}score_thresh": OPTIONS.min_score,
        f"{prefix}nms_thresh": OPTIONS.nms_iou,
        limit: OPTIONS.max_detections,
    }
    return getattr(graphs, graph)(weights=get_model_weights(graph).DEFAULT, **sizes, **options).eval()


def detector_of(graph: str, state: dict[str, Tensor], config: dict[str, int]) -> Detector:
    model = build_model(ModelSource(name=graph, weights=safetensors.torch.save(state), config=config))
    assert isinstance(model, Detector)
    return model


def picture(height: int, width: int, *, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 7, 9, generator=generator) * 255
    fine = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return fine[0].permute(1, 2, 0).byte().numpy()


def canvases_of(model: Detector, images: list[np.ndarray[Any, Any]]) -> tuple[Tensor, list[Fit]]:
    fits = [plan_fit(*image.shape[:2], model.input_spec) for image in images]
    drawn = [
        draw_fit(Image.fromarray(image), fit, model.input_spec)
        for image, fit in zip(images, fits, strict=True)
    ]
    return torch.from_numpy(np.stack(drawn)), fits


def floats(image: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1) / 255


def as_the_canvas(model: Detector) -> tuple[int, int]:
    """A source size that needs no resizing."""
    spec = model.input_spec
    return (spec.height, spec.width) if spec.fit == "stretch" else (spec.shortest_edge_px, spec.width - 34)


@by_graph
def test_same_as_torchvision_where_nothing_is_resized(graph: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = CASES[graph]
    state = random_state(graph)
    model = detector_of(graph, state, sizes)
    image = picture(*as_the_canvas(model))
    canvases, fits = canvases_of(model, [image])
    assert (fits[0].scale_x, fits[0].scale_y) == (1.0, 1.0)
    found = model.predict(canvases, fits, OPTIONS)[0]
    with torch.inference_mode():
        expected = reference_of(graph, state, monkeypatch, sizes)([floats(image)])[0]
    assert_same_detections(found, expected)
    assert (found.masks is not None) == model.makes_masks


def assert_same_detections(found: Detections, expected: dict[str, Tensor]) -> None:
    assert len(found) == len(expected["scores"]) > 5
    assert len(found.label_ids.unique()) > 1
    torch.testing.assert_close(found.scores, expected["scores"], atol=1e-5, rtol=1e-4)
    assert torch.equal(found.label_ids, expected["labels"])
    torch.testing.assert_close(found.boxes, expected["boxes"], atol=2e-2, rtol=1e-4)
    assert (found.masks is None) == ("masks" not in expected)
    if found.masks is not None:
        assert found.masks.dtype == torch.bool
        assert 0 < found.masks.float().mean() < 1
        assert (found.masks == (expected["masks"][:, 0] > 0.5)).float().mean() > 0.999


@by_graph
def test_same_as_torchvision_on_the_resized_image(graph: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = CASES[graph]
    state = random_state(graph)
    model = detector_of(graph, state, sizes)
    # Enlarged by 3/2: there Pillow's and torch's bilinear filters agree but for rounding to 8 bits.
    height, width = as_the_canvas(model)
    image = picture(height * 2 // 3, width * 2 // 3)
    canvases, fits = canvases_of(model, [image])
    fit = fits[0]
    found = model.predict(canvases, fits, OPTIONS)[0]
    reference: Any = reference_of(graph, state, monkeypatch, sizes)
    transform = reference.transform
    content = canvases[0, : fit.content_height, : fit.content_width].permute(2, 0, 1) / 255
    with torch.inference_mode():
        seen = transform([floats(image)])[0].tensors[0, :, : fit.content_height, : fit.content_width]
        # Given the same resized pixels, all the rest must be equal, back to the source's pixels.
        monkeypatch.setattr(
            transform, "resize", lambda _image, target: (transform.normalize(content), target)
        )
        expected = reference([floats(image)])[0]
    levels = 255 * torch.tensor(transform.image_std)[:, None, None]
    assert ((model.preprocess(canvases, fits)[0] - seen) * levels).abs().max() < 2.5
    assert_same_detections(found, expected)
    assert found.boxes[:, 2].max() <= image.shape[1]
    assert found.boxes[:, 3].max() <= image.shape[0]
    if found.masks is not None:
        assert found.masks.shape == (len(found), *image.shape[:2])


@pytest.mark.parametrize(
    "graph",
    ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"],
)
def test_a_batch_is_its_images_one_by_one(graph: str) -> None:
    model = detector_of(graph, random_state(graph), CASES[graph])
    shapes = [(60, 100), (100, 60), (60, 100), (5, 200), (1, 1)]
    images = [picture(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    canvases, fits = canvases_of(model, images)
    together = model.predict(canvases, fits, OPTIONS)
    for i, found in enumerate(together):
        (alone,) = model.predict(canvases[i : i + 1], fits[i : i + 1], OPTIONS)
        torch.testing.assert_close(found.scores, alone.scores, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.boxes, alone.boxes, atol=1e-2, rtol=1e-4)
        assert (found.masks is None) == (alone.masks is None)


def test_the_first_image_seen_does_not_fix_the_pooling_scales() -> None:
    graph = "maskrcnn_resnet50_fpn"
    state = random_state(graph)
    fresh, used = detector_of(graph, state, SMALL), detector_of(graph, state, SMALL)
    used.predict(*canvases_of(used, [picture(1, 400)]), OPTIONS)
    image = [picture(96, 128)]
    first, second = (m.predict(*canvases_of(m, image), OPTIONS)[0] for m in (fresh, used))
    assert torch.equal(first.boxes, second.boxes)
    assert first.masks is not None
    assert second.masks is not None
    assert torch.equal(first.masks, second.masks)


@pytest.mark.parametrize("graph", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_options_alone_decide(graph: str) -> None:
    model = detector_of(graph, random_state(graph), CASES[graph])
    canvases, fits = canvases_of(model, [picture(80, 100)])
    few, many = (
        model.predict(canvases, fits, DetectOptions(min_score=score, nms_iou=nms, max_detections=limit))[0]
        for score, nms, limit in ((0.2, 0.3, 1000), (0.0, 1.0, 1000))
    )
    assert len(many) == 1000  # Below torchvision's thresholds and above its limits.
    assert 0 < len(few) < len(many)
    assert (few.scores >= 0.2).all()
    assert (many.label_ids > 0).all()  # Never the background.


@pytest.mark.parametrize("graph", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_an_image_with_nan_is_told_apart(graph: str) -> None:
    model = detector_of(graph, random_state(graph), CASES[graph])
    canvases, fits = canvases_of(model, [picture(80, 100, seed=s) for s in range(3)])
    with torch.inference_mode():
        images = model.preprocess(canvases, fits)
        assert model.finite(model(images)) == [True, True, True]
        images[1][0, 3, 3] = float("nan")
        raw = model(images)
    assert model.finite(raw) == [True, False, True]
    assert len(model.postprocess(raw, fits, OPTIONS)) == 3


@pytest.mark.parametrize("graph", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_geometry_stays_exact_in_bfloat16(graph: str) -> None:
    model = detector_of(graph, random_state(graph), CASES[graph])
    canvases, fits = canvases_of(model, [picture(80, 100)])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        raw = model(model.preprocess(canvases, fits))
    boxes = raw[0] if isinstance(raw, tuple) else raw[0]["proposals"]
    assert boxes.dtype == torch.float32
    fractions = boxes.frac().abs()
    # bfloat16 knows 8 bits: beyond 128 px only whole pixels.
    assert (fractions[boxes > 128] > 0.01).float().mean() > 0.8 if (boxes > 128).any() else boxes.numel() > 0
    assert len(model.postprocess(raw, fits, OPTIONS)) == 1


@pytest.mark.parametrize(
    ("graph", "file_format"),
    [*((graph, "pth") for graph in GRAPHS), ("ssdlite320_mobilenet_v3_large", "safetensors")],
)
def test_state_dicts_of_torchvision_load_by_their_own_names(graph: str, file_format: str) -> None:
    state = getattr(graphs, graph)(weights=None, weights_backbone=None).state_dict()
    if file_format == "pth":
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data = buffer.getvalue()
    else:
        data = safetensors.torch.save(state)
    pin = hashlib.sha256(data).hexdigest()
    model = build_model(ModelSource(graph, weights=data, weights_name="w.pth", weights_sha256=pin))
    assert not model.training
    loaded = model.state_dict()
    assert all(
        torch.equal(loaded[f"network.{name}"], tensor)
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    )


def test_names_of_older_torchvision_load() -> None:
    state = graphs.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    old = {}
    for name, tensor in state.items():
        if "num_batches_tracked" in name:
            continue
        if "blocks" in name:
            name = name.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        for i in range(4):
            name = name.replace(f"mask_head.{i}.0.", f"mask_head.mask_fcn{i + 1}.")
        old[name] = tensor
    assert old.keys() != state.keys()
    expected = {f"network.{name}" for name in state if "num_batches_tracked" not in name}
    assert rename_published(old).keys() == expected
    # torchvision itself takes these names.
    graphs.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).load_state_dict(old)


def test_a_file_that_torchvision_published_is_pinned_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = "ssdlite320_mobilenet_v3_large"
    buffer = io.BytesIO()
    torch.save(random_state(graph), buffer)
    source = ModelSource(graph, weights=buffer.getvalue(), weights_name="w.pth")
    with pytest.raises(WeightsError, match="sha256: "):
        build_model(source)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    weights = get_model_weights(graph).DEFAULT
    monkeypatch.setattr(type(weights), "url", f"https://example.org/x-{digest[:8]}.pth", raising=False)
    assert isinstance(build_model(source), Detector)


def test_weights_of_another_graph_do_not_fit() -> None:
    state = random_state("ssdlite320_mobilenet_v3_large")
    with pytest.raises(WeightsError, match=r"ssd.safetensors do not fit.*missing.*unexpected"):
        build_model(
            ModelSource("ssd300_vgg16", weights=safetensors.torch.save(state), weights_name="ssd.safetensors")
        )


@pytest.mark.parametrize("graph", GRAPHS)
def test_labels_are_the_published_ones_by_coco_id(graph: str) -> None:
    published = published_weights(CATALOG[graph].weights or "")
    assert published == published_weights(f"torchvision://{graph}") == published_weights(graph)
    assert published.url.startswith("https://download.pytorch.org/models/")
    assert published.sha256_prefix in published.url
    assert (published.labels[1], published.labels[18], published.labels[90]) == (
        "person",
        "dog",
        "toothbrush",
    )
    with torch.device("meta"):
        assert build_torchvision(graph=graph).labels == published.labels


def test_ones_own_labels() -> None:
    with torch.device("meta"):
        model = build_torchvision(("bolt", "nut"), graph="ssdlite320_mobilenet_v3_large")
        same = build_torchvision(("__background__", "bolt", "nut"), graph="ssdlite320_mobilenet_v3_large")
    assert model.labels == same.labels == ("__background__", "bolt", "nut")


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("torchvision://ssd300_vgg", "ssd300_vgg16"),
        ("torchvision://SSD300_VGG16_Weights.COCO_V2", "SSD300_VGG16_Weights.COCO_V1"),
        ("torchvision://Nothing.V1", "FasterRCNN_ResNet50_FPN_Weights.COCO_V1"),
        ("torchvision://", "FasterRCNN_ResNet50_FPN_Weights.COCO_V1"),
    ],
)
def test_unknown_published_weights(reference: str, hint: str) -> None:
    with pytest.raises(ModelError, match=hint):
        published_weights(reference)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"graph": "retinanet"}, "graph must be one of"),
        ({"graph": "ssd300_vgg16", "min_size": 100}, "fixed canvas"),
    ],
)
def test_wrong_configurations(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_torchvision(**config)
