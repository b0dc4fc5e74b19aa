from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import center_crop
from torchvision.transforms.functional import resize as resize_image

from cvcore.image.fit import Fit, clip_boxes, draw_fit, plan_fit
from cvcore.types import FitMode, InputSpec

MODES: list[FitMode] = ["letterbox", "stretch", "shortest_edge"]
by_mode = pytest.mark.parametrize("mode", MODES)


def random_cases(mode: FitMode, *, count: int = 150) -> list[tuple[int, int, InputSpec]]:
    random = np.random.default_rng(3)
    cases = []
    for _ in range(count):
        height, width = (int(v) for v in np.exp(random.uniform(0, np.log(9000), size=2)))
        canvas = random.integers(8, 1400, size=2)
        edge = int(random.integers(8, 900))
        cases.append(
            (height, width, InputSpec(int(canvas[0]), int(canvas[1]), fit=mode, shortest_edge_px=edge))
        )
    return cases


@by_mode
def test_maps_are_inverses(mode: FitMode) -> None:
    generator = torch.Generator().manual_seed(0)
    for height, width, spec in random_cases(mode):
        fit = plan_fit(height, width, spec)
        limits = torch.tensor([width, height, width, height], dtype=torch.float64)
        boxes = torch.rand(20, 4, generator=generator, dtype=torch.float64) * limits
        there = fit.to_canvas(boxes)
        torch.testing.assert_close(fit.to_source(there), boxes, atol=1e-4, rtol=0)
        single = fit.to_source(fit.to_canvas(boxes.float()))
        torch.testing.assert_close(
            single, boxes.float(), atol=1e-3 * max(1, 1 / fit.scale_x, 1 / fit.scale_y), rtol=0
        )


@by_mode
def test_the_whole_image_maps_to_the_content(mode: FitMode) -> None:
    for height, width, spec in random_cases(mode):
        fit = plan_fit(height, width, spec)
        (corner,) = fit.to_canvas(torch.tensor([[0.0, 0.0, width, height]], dtype=torch.float64)).tolist()
        right, bottom = fit.left + fit.content_width, fit.top + fit.content_height
        assert corner == pytest.approx([fit.left, fit.top, right, bottom])
        assert 0 <= fit.left < right <= spec.width
        assert 0 <= fit.top < bottom <= spec.height


@pytest.mark.parametrize("mode", ["letterbox", "shortest_edge"])
def test_aspect_is_kept_within_a_pixel(mode: FitMode) -> None:
    for height, width, spec in random_cases(mode):
        fit = plan_fit(height, width, spec)
        scale = max(fit.scale_x, fit.scale_y)
        if min(fit.content_height, fit.content_width) > 1:
            assert abs(fit.content_width - width * scale) <= 1 + width / height
            assert abs(fit.content_height - height * scale) <= 1 + height / width


def test_letterbox_touches_two_sides_and_centres() -> None:
    for height, width, spec in random_cases("letterbox"):
        fit = plan_fit(height, width, spec)
        assert fit.content_height == spec.height or fit.content_width == spec.width
        assert abs(spec.height - fit.content_height - 2 * fit.top) <= 1
        assert abs(spec.width - fit.content_width - 2 * fit.left) <= 1


def test_stretch_fills_the_canvas() -> None:
    assert plan_fit(10, 999, InputSpec(30, 20, fit="stretch")) == Fit(10, 999, 30, 20, 0, 0)


@pytest.mark.parametrize(
    ("height", "width", "content"),
    [
        (480, 640, (800, 1067)),
        (800, 800, (800, 800)),
        (500, 2000, (333, 1333)),
        (3000, 1000, (1333, 444)),
        (100, 100, (800, 800)),
    ],
    ids=["plain", "as it is", "longest edge limits", "tall", "enlarged"],
)
def test_shortest_edge_as_the_papers_scale(height: int, width: int, content: tuple[int, int]) -> None:
    fit = plan_fit(height, width, InputSpec(1333, 1333, fit="shortest_edge", shortest_edge_px=800))
    assert (fit.content_height, fit.content_width) == content
    assert (fit.top, fit.left) == (0, 0)


@by_mode
@pytest.mark.parametrize(("height", "width"), [(60, 100), (100, 60), (37, 211), (400, 300)])
def test_drawn_pixels_lie_where_the_map_says(mode: FitMode, height: int, width: int) -> None:
    spec = InputSpec(90, 120, fit=mode, shortest_edge_px=70, fill=0)
    fit = plan_fit(height, width, spec)
    source = np.zeros((height, width, 3), np.uint8)
    y0, y1, x0, x1 = height // 4, height // 2, width // 3, width * 3 // 4
    source[y0:y1, x0:x1] = 255
    canvas = draw_fit(Image.fromarray(source), fit, spec)[..., 0].astype(float) / 255
    (mapped,) = fit.to_canvas(torch.tensor([[x0, y0, x1, y1]], dtype=torch.float64)).tolist()
    total = canvas.sum()
    rows, columns = np.indices(canvas.shape) + 0.5
    assert (canvas * columns).sum() / total == pytest.approx((mapped[0] + mapped[2]) / 2, abs=0.1)
    assert (canvas * rows).sum() / total == pytest.approx((mapped[1] + mapped[3]) / 2, abs=0.1)
    assert total == pytest.approx((mapped[2] - mapped[0]) * (mapped[3] - mapped[1]), rel=0.02)


def test_outside_the_content_is_fill() -> None:
    spec = InputSpec(20, 40, fill=77)
    fit = plan_fit(10, 10, spec)
    canvas = draw_fit(Image.new("RGB", (10, 10), (1, 2, 3)), fit, spec)
    inside = np.zeros((20, 40), bool)
    inside[fit.top : fit.top + fit.content_height, fit.left : fit.left + fit.content_width] = True
    assert (canvas[~inside] == 77).all()
    assert (canvas[inside] == [1, 2, 3]).all()


def test_an_image_of_the_canvas_size_is_untouched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    for mode in MODES:
        spec = InputSpec(24, 32, fit=mode, shortest_edge_px=24)
        canvas = draw_fit(Image.fromarray(pixels), plan_fit(24, 32, spec), spec)
        assert (canvas == pixels).all()
        canvas[:] = 0  # A canvas of one's own, not a view of the image.


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-1, 5)])
def test_an_image_without_pixels_is_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"{height}x{width}"):
        plan_fit(height, width, InputSpec(8, 8))


def test_clip_boxes_keeps_inside_and_handles_none() -> None:
    boxes = torch.tensor([[-5.0, -5.0, 200.0, 50.0], [1.0, 2.0, 3.0, 4.0]])
    assert clip_boxes(boxes, height=40, width=100).tolist() == [[0, 0, 100, 40], [1, 2, 3, 4]]
    assert clip_boxes(torch.zeros(0, 4), height=4, width=4).shape == (0, 4)


@pytest.mark.parametrize(
    ("height", "width"),
    [(500, 333), (333, 500), (256, 256), (20, 30), (1, 1), (241, 255), (700, 701)],
    ids=["tall", "wide", "as it is", "small", "a pixel", "odd", "nearly square"],
)
@pytest.mark.parametrize(("crop", "resize"), [(224, 256), (224, 232), (65, 65)])
def test_the_middle_is_torchvisions(height: int, width: int, crop: int, resize: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    spec = InputSpec(crop, crop, fit="center_crop", shortest_edge_px=resize)
    image = Image.fromarray(pixels)
    fit = plan_fit(height, width, spec)
    expected = center_crop(resize_image(image, [resize]), [crop, crop])
    np.testing.assert_array_equal(draw_fit(image, fit, spec), np.asarray(expected))
    boxes = torch.tensor([[0.0, 0.0, width, height]], dtype=torch.float64)
    torch.testing.assert_close(fit.to_source(fit.to_canvas(boxes)), boxes)


@pytest.mark.parametrize("size", [(60_000, 2), (2, 60_000)], ids=["tall", "wide"])
def test_of_a_long_strip_the_middle_alone_is_drawn(size: tuple[int, int]) -> None:
    """Its whole content would be gigabytes."""
    width, height = size
    image = Image.new("RGB", size, (10, 20, 30))
    middle = Image.new("RGB", (min(width, 400), min(height, 400)), (200, 100, 50))
    image.paste(middle, ((width - middle.width) // 2, (height - middle.height) // 2))
    spec = InputSpec(64, 64, fit="center_crop", shortest_edge_px=64)
    canvas = draw_fit(image, plan_fit(height, width, spec), spec)
    assert canvas.shape == (64, 64, 3)
    assert (canvas == (200, 100, 50)).all()


def test_a_crop_that_leaves_the_canvas_empty_is_refused() -> None:
    with pytest.raises(ValueError, match="fills the canvas, so shortest_edge_px is at least 64, got 60"):
        InputSpec(64, 32, fit="center_crop", shortest_edge_px=60)
