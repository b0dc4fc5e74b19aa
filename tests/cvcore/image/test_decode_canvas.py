from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cvcore.image.decode import decode_to_canvas, open_image
from cvcore.image.fit import draw_fit
from cvcore.types import InputSpec
from tests.cvcore.image.samples import encode, smooth_rgb
from tests.data import shared_data

SPECS = [
    InputSpec(32, 48),
    InputSpec(32, 48, fit="stretch"),
    InputSpec(64, 64, fit="shortest_edge", shortest_edge_px=40),
]
by_fit = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.fit)


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@by_fit
@pytest.mark.parametrize("orientation", range(1, 9))
def test_canvas_of_a_png_is_open_image_drawn(spec: InputSpec, orientation: int) -> None:
    data = encode(Image.fromarray(smooth_rgb(90, 150)), "PNG", exif=with_orientation(orientation))
    found = decode_to_canvas(data, spec)
    image = open_image(data)
    assert (found.fit.source_width, found.fit.source_height) == image.size
    assert found.canvas.dtype == np.uint8
    assert found.canvas.shape == (spec.height, spec.width, 3)
    assert (found.canvas == draw_fit(image, found.fit, spec)).all()


@by_fit
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("height", "width"), [(640, 959), (477, 801), (91, 60)])
def test_reduced_jpeg_is_close_to_its_full_decoding(
    spec: InputSpec, orientation: int, height: int, width: int
) -> None:
    picture = Image.fromarray(smooth_rgb(height, width))
    data = encode(picture, "JPEG", quality=95, exif=with_orientation(orientation))
    found = decode_to_canvas(data, spec)
    full = draw_fit(open_image(data), found.fit, spec)
    error = np.abs(found.canvas.astype(int) - full)
    assert error.mean() < 0.5
    assert error.max() <= 6


def test_reduced_decoding_of_photographs() -> None:
    spec = InputSpec(160, 160)
    for path in sorted(shared_data("images", "darknet").glob("*.jpg")):
        data = path.read_bytes()
        found = decode_to_canvas(data, spec, name=path.name)
        error = np.abs(found.canvas.astype(int) - draw_fit(open_image(data), found.fit, spec))
        assert error.mean() < 0.6, path.name
        assert np.percentile(error, 99.9) <= 8, path.name


def test_reduced_decoding_does_not_shift_the_picture() -> None:
    # 801 = 100 * 8 + 1: the last reduced column stands for one source column only.
    edges = np.zeros((801, 801, 3), np.uint8)
    edges[:, 400:] = 255
    edges[400:, :, 1] = 128
    spec = InputSpec(50, 50)
    for orientation in (1, 3, 6):
        exif = with_orientation(orientation)
        data = encode(Image.fromarray(edges), "JPEG", quality=100, subsampling=0, exif=exif)
        found = decode_to_canvas(data, spec)
        full = draw_fit(open_image(data), found.fit, spec)
        for reduced_line, full_line in ((found.canvas[10], full[10]), (found.canvas[:, 10], full[:, 10])):
            # The sum along a line across an edge moves by 255 for each pixel of shift.
            shift = (reduced_line.astype(float) - full_line).sum(axis=0) / 255
            assert np.abs(shift).max() < 0.03, orientation


def test_gray_and_cmyk_jpegs_are_reduced_too() -> None:
    rgb = smooth_rgb(400, 500)
    for picture in (
        Image.fromarray(rgb[..., 0]),
        Image.fromarray(np.dstack([rgb, rgb[..., 0] // 3]), "CMYK"),
    ):
        data = encode(picture, "JPEG", quality=95)
        found = decode_to_canvas(data, SPECS[0])
        full = draw_fit(open_image(data), found.fit, SPECS[0])
        assert np.abs(found.canvas.astype(int) - full).mean() < 1


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 10_000), (10_000, 1), (3, 2)])
@by_fit
def test_extreme_shapes(image_format: str, height: int, width: int, spec: InputSpec) -> None:
    data = encode(Image.new("RGB", (width, height), (255, 255, 255)), image_format)
    found = decode_to_canvas(data, spec)
    fit = found.fit
    content = found.canvas[fit.top : fit.top + fit.content_height, fit.left : fit.left + fit.content_width]
    assert content.size > 0
    assert (content >= 250).all()
    if spec.fit != "stretch" and height != width:
        assert (found.canvas == spec.fill).any()
