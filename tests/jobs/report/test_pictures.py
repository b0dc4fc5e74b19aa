"""Pictures and masks as the page holds them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from cvcore.errors import ImageError
from cvcore.image.limits import DecodeLimits
from jobs.report.colors import BASE, MIXES, ink_color, label_color, parse_color
from jobs.report.pictures import (
    MAX_SIDE_PX,
    TIERS,
    data_uri,
    decode_small,
    draw_mask,
    encode_jpeg,
)

LIMITS = DecodeLimits()


def jpeg(width: int, height: int, *, orientation: int = 1) -> bytes:
    image = Image.effect_noise((width, height), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def rle(mask: npt.NDArray[np.uint8]) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask))
    return {"size": [int(v) for v in encoded["size"]], "counts": encoded["counts"].decode()}


def open_uri(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(2000, 1000, (512, 256)), (100, 60, (100, 60)), (3, 4000, (1, 512))]
)
def test_decode_small_keeps_the_aspect_and_never_enlarges(
    width: int, height: int, expected: tuple[int, int]
) -> None:
    assert decode_small(jpeg(width, height), width=width, height=height, limits=LIMITS).size == expected


def test_decode_small_turns_upright() -> None:
    assert decode_small(jpeg(300, 200, orientation=6), width=200, height=300, limits=LIMITS).size == (
        200,
        300,
    )


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ImageError, match="it was 64x48 pixels, it is 65x48 now") as caught:
        decode_small(jpeg(65, 48), width=64, height=48, limits=LIMITS)
    assert caught.value.code == "changed"


@pytest.mark.parametrize("max_bytes", [30_000, 12_000, 6_000])
def test_encode_jpeg_fits_its_allowance_or_takes_the_last_tier(max_bytes: int) -> None:
    image = Image.effect_noise((512, 512), 30).convert("RGB")
    body = encode_jpeg(image, max_bytes=max_bytes)
    size = Image.open(io.BytesIO(body)).size
    assert len(body) <= max_bytes or max(size) == TIERS[-1][0]
    assert len(body) < len(encode_jpeg(image, max_bytes=10**9))


def test_a_mask_is_drawn_where_it_lies_in_its_color() -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50] = 1
    mask[10, 20] = 0
    drawn = draw_mask(rle(mask), width=64, height=48, color="#d55e00")
    assert drawn is not None
    assert drawn.box == (20, 10, 50, 30)
    pixels = np.asarray(open_uri(drawn.uri).convert("RGBA"))
    assert (pixels[..., 3] == mask[10:30, 20:50] * 255).all()
    assert tuple(pixels[5, 5, :3]) == parse_color("#d55e00")


def test_a_mask_of_a_large_image_is_shrunk_like_its_picture() -> None:
    mask = np.ones((1000, 2048), np.uint8)
    drawn = draw_mask(rle(mask), width=2048, height=1000, color="#000000")
    assert drawn is not None
    assert drawn.box == (0, 0, 2048, 1000)
    assert max(open_uri(drawn.uri).size) == MAX_SIDE_PX


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("empty mask", rle(np.zeros((48, 64), np.uint8))),
        ("other size", rle(np.ones((47, 64), np.uint8))),
        ("runs past the end", {"size": [48, 64], "counts": rle(np.ones((49, 64), np.uint8))["counts"]}),
        ("ends early", {"size": [48, 64], "counts": rle(np.ones((47, 64), np.uint8))["counts"]}),
        ("no counts", {"size": [48, 64], "counts": None}),
        ("no size", {"size": None, "counts": "abc"}),
    ],
)
def test_what_is_no_mask_of_the_image_is_left_out(name: str, bad: dict[str, Any]) -> None:
    assert draw_mask(bad, width=64, height=48, color="#000000") is None, name


def test_labels_have_distinct_stable_colors_and_readable_ink() -> None:
    colors = [label_color(i) for i in range(len(BASE) * len(MIXES))]
    assert len(set(colors)) == len(colors)
    assert label_color(len(colors)) == colors[0]
    for color in colors:
        assert _contrast(color, ink_color(color)) >= 4.5, color


def _contrast(first: str, second: str) -> float:
    """WCAG 2.2 contrast ratio."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    channels = np.array(parse_color(color)) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_data_uri_round_trips() -> None:
    body = jpeg(8, 8)
    assert data_uri(body, "jpeg").startswith("data:image/jpeg;base64,")
    assert open_uri(data_uri(body, "jpeg")).size == (8, 8)
