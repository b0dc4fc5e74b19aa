from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import maskrcnn_loss
from torchvision.ops import box_iou

from cvcore.detect.mask_head import SIDE, MaskHead, mask_loss, mask_targets
from cvcore.detect.mask_rcnn import MaskRcnn, build_mask_rcnn
from cvcore.detect.pasting import paste_masks
from cvcore.detect.truth import Truth
from cvcore.image.fit import plan_fit
from cvcore.types import DetectOptions, InputSpec
from tests.cvcore.detect.rcnn_samples import BOXES, canvas

OPTIONS = DetectOptions(min_score=0.02, nms_iou=0.3)


def small(seed: int = 0) -> MaskRcnn:
    torch.manual_seed(seed)
    return build_mask_rcnn(
        ("red", "blue"),
        shortest_edge=96,
        canvas=(96, 128),
        anchor_sizes=(24, 48),
        rpn_width=32,
        head_width=64,
        proposals=40,
        training_proposals=100,
        regions_per_image=32,
        mask_width=16,
        mask_convs=2,
    )


def half_masks() -> Tensor:
    """(2, 96, 128) uint8: the left half of the first box, the upper half of the second."""
    masks = torch.zeros(2, 96, 128, dtype=torch.uint8)
    masks[0, 20:60, 10:30] = 1
    masks[1, 44:64, 60:120] = 1
    return masks


def truth() -> Truth:
    return Truth(BOXES, torch.tensor([0, 1]), torch.tensor([0, 0]), half_masks())


def no_truth() -> Truth:
    nothing = torch.zeros(0, dtype=torch.int64)
    return Truth(torch.zeros(0, 4), nothing, nothing, torch.zeros(0, 96, 128, dtype=torch.uint8))


def test_config_is_json_and_rebuilds_the_model() -> None:
    model = small().eval()
    again = build_mask_rcnn(model.labels, **json.loads(json.dumps(model.config))).eval()
    again.load_state_dict(model.state_dict())
    fits = [plan_fit(96, 128, model.input_spec)]
    first, second = (m.predict(canvas(), fits, OPTIONS)[0] for m in (model, again))
    assert first.masks is not None
    assert second.masks is not None
    assert torch.equal(first.masks, second.masks)
    assert again.config == model.config


def test_the_head_is_the_papers() -> None:
    head = MaskHead(256, 80, stride=16, width=256, num_convs=4)
    convs = [layer for layer in head.convs if isinstance(layer, torch.nn.Conv2d)]
    assert [(c.kernel_size, c.out_channels) for c in convs] == [((3, 3), 256)] * 4
    logits = head(torch.randn(1, 256, 8, 8), torch.tensor([[0.0, 0, 64, 64]]), torch.tensor([0]))
    assert logits.shape == (1, 80, 28, 28)


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_torchvisions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_objects, num_regions, num_labels = 4, 9, 3
    masks = torch.from_numpy((rng.random((num_objects, 60, 80)) < 0.5).astype(np.uint8))
    corners = rng.uniform(0, 40, (num_regions, 2))
    boxes = torch.from_numpy(
        np.concatenate([corners, corners + rng.uniform(3, 30, (num_regions, 2))], axis=1)
    )
    boxes = boxes.float()
    labels = torch.from_numpy(rng.integers(0, num_labels, num_objects))
    rows = torch.from_numpy(rng.integers(0, num_objects, num_regions))
    logits = torch.randn(num_regions, num_labels + 1, SIDE, SIDE, requires_grad=True)
    # torchvision's first class is the background, of which no region is positive.
    theirs = maskrcnn_loss(logits, [boxes], [masks], [labels + 1], [rows])
    ours = mask_loss(logits[:, 1:], labels[rows], mask_targets(masks, boxes, rows))
    torch.testing.assert_close(ours, theirs)
    for value in (ours, theirs):
        value.backward()
    assert logits.grad is not None
    untouched = torch.ones(num_regions, num_labels + 1, dtype=torch.bool)
    untouched[torch.arange(num_regions), labels[rows] + 1] = False
    assert not logits.grad[untouched].any()  # only the true class's mask learns


def test_every_parameter_learns() -> None:
    model = small()
    losses = model.losses(model.preprocess(canvas()), truth())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still
    assert losses.keys() == {"total", "objectness", "proposal_box", "classes", "box", "mask"}
    assert torch.allclose(losses["total"], sum(losses.values(), torch.zeros(())) - losses["total"])


def test_images_without_objects_teach_the_background() -> None:
    model = small()
    losses = model.losses(model.preprocess(canvas().repeat(2, 1, 1, 1)), no_truth())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(losses["total"])
    assert losses["mask"] == 0
    assert all(p.grad is not None for p in model.mask_head.parameters())


def test_a_truth_without_masks_is_refused() -> None:
    model = small()
    bare = Truth(BOXES, torch.tensor([0, 1]), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="learns from masks"):
        model.losses(model.preprocess(canvas()), bare)


def test_objects_of_a_batch_are_matched_whatever_their_order() -> None:
    boxes = torch.arange(5.0)[:, None].repeat(1, 4)
    image_index = torch.tensor([1, 0, 1, 1, 0])
    given = Truth(boxes, torch.arange(5), image_index)
    padded = given.padded(3)
    images, places = torch.nonzero(padded.valid, as_tuple=True)
    rows = given.rows(images, places)
    assert torch.equal(given.boxes[rows], padded.boxes[images, places])
    assert given.rows(images[:0], places[:0]).shape == (0,)


def test_a_picture_is_learned_by_heart_with_its_masks() -> None:
    model = small()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(70):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 10, 0.05 + 2 * (1 - step / 70))
        optimizer.zero_grad()
        model.losses(model.preprocess(canvas()), truth())["total"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    model.eval()
    fit = plan_fit(192, 256, model.input_spec)
    (found,) = model.predict(canvas(), [fit], DetectOptions(min_score=0.5, nms_iou=0.3))
    best = [int(torch.nonzero(found.label_ids == k)[0]) for k in range(2)]
    assert box_iou(found.boxes[best], 2 * BOXES).diagonal().min() > 0.7
    assert found.masks is not None
    assert found.masks.shape[1:] == (192, 256)
    wanted = half_masks().bool().repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    overlap = (found.masks[best] & wanted).sum(dim=(1, 2)) / (found.masks[best] | wanted).sum(dim=(1, 2))
    assert overlap.min() > 0.7


def mixed() -> tuple[Tensor, list[tuple[int, int]]]:
    """Three canvases of images of two shapes."""
    generator = torch.Generator().manual_seed(1)
    canvases = torch.randint(0, 256, (3, 96, 128, 3), dtype=torch.uint8, generator=generator)
    return canvases, [(96, 128), (128, 96), (192, 256)]


def test_a_batch_gives_what_single_images_give() -> None:
    model = small().eval()
    canvases, sizes = mixed()
    fits = [plan_fit(height, width, model.input_spec) for height, width in sizes]
    options = DetectOptions(min_score=0.05, nms_iou=0.3)
    together = model.predict(canvases, fits, options)
    for k, (height, width) in enumerate(sizes):
        (alone,) = model.predict(canvases[k : k + 1], fits[k : k + 1], options)
        assert len(alone)
        torch.testing.assert_close(together[k].boxes, alone.boxes, atol=1e-2, rtol=0)
        assert together[k].masks is not None
        assert alone.masks is not None
        assert alone.masks.shape == (len(alone), height, width)
        assert (together[k].masks != alone.masks).float().mean() < 1e-3


def test_an_image_that_is_not_finite_is_told_and_harms_no_other() -> None:
    model = small().eval()
    canvases, sizes = mixed()
    fits = [plan_fit(height, width, model.input_spec) for height, width in sizes]
    with torch.inference_mode():
        images = model.preprocess(canvases, fits)
        images[1] = images[1].clone()
        images[1][0, 3, 3] = float("nan")
        raw = model(images)
    assert model.finite(raw) == [True, False, True]


def test_masks_are_pasted_where_their_boxes_are_and_nothing_without_boxes() -> None:
    fit = plan_fit(100, 200, InputSpec(50, 50))  # scaled by a quarter, 12 px down
    boxes = torch.tensor([[10.0, 20.0, 20.0, 30.0]])
    (mask,) = paste_masks(torch.ones(1, 28, 28), boxes, fit)
    rows, columns = (torch.nonzero(mask.any(dim=k))[:, 0] for k in (1, 0))
    top = 4 * (20 - fit.top)
    assert (columns.min(), columns.max()) == (pytest.approx(40, abs=1), pytest.approx(79, abs=1))
    assert (rows.min(), rows.max()) == (pytest.approx(top, abs=1), pytest.approx(top + 39, abs=1))
    assert paste_masks(torch.ones(0, 28, 28), boxes[:0], fit).shape == (0, 100, 200)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"mask_width": 0}, "mask_width must be at least 1", id="no width"),
        pytest.param({"mask_convs": 0}, "mask_convs must be at least 1", id="no convolution"),
        pytest.param({"input_size": 0}, "input_size must be at least 1", id="no canvas"),
    ],
)
def test_configurations_that_no_network_can_have(change: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_mask_rcnn(("a",), **change)
