from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cvcore.errors import ImageError
from cvcore.image.decode import open_image
from tests.cvcore.image.samples import encode, gray_tiff, png, smooth_rgb, tiff

Pixels = np.ndarray[Any, np.dtype[Any]]
RGB = smooth_rgb(23, 37)
GRAY = RGB[..., 0]


def decoded(data: bytes) -> Pixels:
    image = open_image(data)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def with_opencv(data: bytes) -> Pixels:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def gray3(values: Pixels) -> Pixels:
    return np.repeat(values[..., None], 3, axis=2).astype(int)


@pytest.mark.parametrize(
    ("image_format", "mode"),
    [
        *((image_format, mode) for image_format in ("PNG", "BMP", "TIFF") for mode in ("RGB", "L", "1", "P")),
        *((image_format, mode) for image_format in ("JPEG", "WEBP") for mode in ("RGB", "L")),
    ],
)
def test_opencv_reads_the_same_pixels(image_format: str, mode: str) -> None:
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(image_format, {})
    data = encode(Image.fromarray(RGB).convert(mode), image_format, **options)
    # Both use libjpeg-turbo, whose inverse DCTs differ by a level or two between versions.
    assert np.abs(decoded(data) - with_opencv(data)).max() <= (2 if image_format == "JPEG" else 0)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_on_white(image_format: str) -> None:
    alpha = np.linspace(0, 255, GRAY.size).reshape(GRAY.shape).astype(np.uint8)
    data = encode(
        Image.fromarray(np.dstack([RGB, alpha])),
        image_format,
        **({"lossless": True, "exact": True} if image_format == "WEBP" else {}),
    )
    weight = alpha[..., None] / 255
    assert np.abs(decoded(data) - (RGB * weight + 255 * (1 - weight))).max() <= 1


def test_gray_with_alpha_is_composited_on_white() -> None:
    alpha = np.full_like(GRAY, 64)
    data = encode(Image.fromarray(np.dstack([GRAY, alpha]), "LA"), "PNG")
    assert np.abs(decoded(data) - gray3(GRAY * (64 / 255) + 255 * (191 / 255))).max() <= 1


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_transparent_palette_entry_is_white(image_format: str) -> None:
    image = Image.new("P", (4, 2))
    image.putpalette([10, 20, 30, 200, 100, 50] + [0] * 762)
    image.putdata([0, 1, 0, 1, 1, 1, 0, 0])
    pixels = decoded(encode(image, image_format, transparency=1))
    index = np.array([[0, 1, 0, 1], [1, 1, 0, 0]])
    assert (pixels[index == 1] == 255).all()
    assert (pixels[index == 0] == [10, 20, 30]).all()


def test_palette_with_graded_transparency() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([0, 0, 0, 100, 100, 100, 200, 0, 0] + [0] * 759)
    image.putdata([0, 1, 2])
    pixels = decoded(encode(image, "PNG", transparency=bytes([0, 128, 255])))
    np.testing.assert_allclose(
        pixels[0], [[255] * 3, [round(100 * 128 / 255 + 127)] * 3, [200, 0, 0]], atol=1
    )


def test_transparent_colour_of_rgb_is_white() -> None:
    rows = bytes([9, 9, 9, 1, 2, 3])
    data = png(8, 2, rows, 2, 1, (b"tRNS", bytes([0, 1, 0, 2, 0, 3])))
    assert decoded(data).tolist() == [[[9, 9, 9], [255, 255, 255]]]


def ink_to_rgb(cmyk: Pixels) -> Pixels:
    ink = cmyk.astype(float) / 255
    return 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])


def without_adobe_marker(data: bytes) -> bytes:
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def test_inverted_cmyk_jpeg_of_adobe() -> None:
    inks = np.dstack([RGB, GRAY // 3])
    data = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in data
    assert np.abs(decoded(data) - ink_to_rgb(inks)).mean() < 2


def test_ycck_jpeg_of_adobe() -> None:
    # With Adobe's transform flag 2 the inks C, M, Y are stored as YCbCr of (C, M, Y), and K inverted.
    inks = np.dstack([RGB, GRAY // 3])
    ycc = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    stored = np.dstack([255 - ycc, inks[..., 3]])  # The writer inverts all four.
    data = bytearray(encode(Image.fromarray(stored, "CMYK"), "JPEG", quality=100, subsampling=0))
    at = data.index(b"Adobe")
    assert data[at + 11] == 0
    data[at + 11] = 2
    assert np.abs(decoded(bytes(data)) - ink_to_rgb(inks)).mean() < 4


def test_cmyk_jpeg_without_adobe_marker_is_not_inverted() -> None:
    inks = np.dstack([RGB, GRAY // 3])
    stored = Image.fromarray(255 - inks, "CMYK")  # The writer inverts; this undoes it.
    data = without_adobe_marker(encode(stored, "JPEG", quality=100, subsampling=0))
    assert np.abs(decoded(data) - ink_to_rgb(inks)).mean() < 2


def test_cmyk_tiff() -> None:
    inks = np.dstack([RGB, GRAY // 3])
    assert np.abs(decoded(encode(Image.fromarray(inks, "CMYK"), "TIFF")) - ink_to_rgb(inks)).max() <= 2


SIXTEEN = (np.arange(12 * 11, dtype=np.uint16).reshape(12, 11) * 496 + 7).astype(np.uint16)


def test_sixteen_bit_gray_png_is_scaled_not_clipped() -> None:
    data = png(16, 0, SIXTEEN.astype(">u2").tobytes(), 11, 12)
    assert (decoded(data) == gray3(np.round(SIXTEEN / 257))).all()
    assert np.abs(decoded(data) - with_opencv(data)).max() <= 1


def test_sixteen_bit_gray_png_with_a_transparent_value() -> None:
    data = png(16, 0, SIXTEEN.astype(">u2").tobytes(), 11, 12, (b"tRNS", b"\x00\x07"))
    expected = np.where(SIXTEEN == 7, 255, np.round(SIXTEEN / 257))
    assert (decoded(data) == gray3(expected)).all()


@pytest.mark.parametrize("color", [2, 6, 4], ids=["rgb", "rgba", "gray-alpha"])
def test_sixteen_bit_colour_png(color: int) -> None:
    channels = {2: 3, 6: 4, 4: 2}[color]
    samples = np.random.default_rng(1).integers(0, 65536, (9, 8, channels), dtype=np.uint16)
    pixels = decoded(png(16, color, samples.astype(">u2").tobytes(), 8, 9))
    scaled = samples / 257
    if color in (4, 6):
        weight = scaled[..., -1:] / 255
        scaled = scaled[..., :-1] * weight + 255 * (1 - weight)
    assert np.abs(pixels - np.broadcast_to(scaled, pixels.shape)).max() <= 2


@pytest.mark.parametrize("photometric", [0, 1], ids=["white-is-zero", "black-is-zero"])
def test_sixteen_bit_gray_tiff(photometric: int) -> None:
    data = gray_tiff(SIXTEEN.tobytes(), 11, 12, bits=16, photometric=photometric)
    values = SIXTEEN if photometric else 65535 - SIXTEEN
    assert (decoded(data) == gray3(np.round(values / 257))).all()


def test_sixteen_bit_big_endian_gray_tiff() -> None:
    ok, data = cv2.imencode(".tiff", SIXTEEN)
    assert ok
    assert (decoded(data.tobytes()) == gray3(np.round(SIXTEEN / 257))).all()
    big = encode(Image.frombytes("I;16B", (11, 12), SIXTEEN.astype(">u2").tobytes()), "TIFF")
    assert big[:2] == b"MM"
    assert (decoded(big) == gray3(np.round(SIXTEEN / 257))).all()


def test_sixteen_bit_rgb_tiff() -> None:
    samples = np.random.default_rng(2).integers(0, 65536, (9, 8, 3), dtype=np.uint16)
    ok, data = cv2.imencode(".tiff", samples[..., ::-1])
    assert ok
    assert np.abs(decoded(data.tobytes()) - samples / 257).max() <= 1


def test_twelve_bit_gray_tiff_reaches_white() -> None:
    packed = bytes([0xFF, 0xF0, 0x00, 0x80, 0x0F, 0xFF])  # 4095, 0, 2048, 4095
    assert decoded(gray_tiff(packed, 4, 1, bits=12))[0, :, 0].tolist() == [255, 0, 128, 255]


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("float", gray_tiff(np.ones(6, np.float32).tobytes(), 3, 2, bits=32, kind=3)),
        ("int32", gray_tiff(np.ones(6, np.int32).tobytes(), 3, 2, bits=32, kind=2)),
        ("uint32", gray_tiff(np.ones(6, np.uint32).tobytes(), 3, 2, bits=32, kind=1)),
        ("int16", gray_tiff(np.ones(6, np.int16).tobytes(), 3, 2, bits=16, kind=2)),
        ("float64", gray_tiff(np.ones(6).tobytes(), 3, 2, bits=64, kind=3)),
        ("lab", encode(Image.new("LAB", (3, 2)), "TIFF")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pixels_without_a_known_white_are_refused(case: str, data: bytes) -> None:
    with pytest.raises(ImageError, match="scan") as caught:
        open_image(data, name=f"scan-{case}.tif")
    assert caught.value.code == "unsupported_mode"


def test_planar_rgb_tiff() -> None:
    tags = {
        256: (4, (8,)),
        257: (4, (6,)),
        258: (3, (8, 8, 8)),
        259: (3, (1,)),
        262: (3, (2,)),
        277: (3, (3,)),
        278: (4, (6,)),
    }
    small = smooth_rgb(6, 8)
    assert (decoded(tiff(tags, small.tobytes())) == small).all()


def test_animated_gif_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (5, 4), color) for color in ((250, 0, 0), (0, 250, 0))]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decoded(data) == [250, 0, 0]).all()


def test_animated_webp_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (5, 4), color) for color in ((250, 0, 0), (0, 250, 0))]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert (decoded(data) == [250, 0, 0]).all()


def test_phone_mpo_gives_its_first_picture() -> None:
    first, second = (Image.fromarray(smooth_rgb(24, 32, seed=seed)) for seed in (0, 1))
    data = encode(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(decoded(data) - np.asarray(first).astype(int)).mean() < 3


ORIENTED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}.get(image_format, {})
    data = encode(Image.fromarray(RGB), image_format, exif=exif, **options)
    expected = ORIENTED[orientation](RGB).astype(int)
    assert np.abs(decoded(data) - expected).max() <= (6 if image_format == "JPEG" else 0)
    # What comes out says nothing of turning, so that nobody turns it twice.
    assert open_image(data).getexif().get(0x0112) is None


def test_exif_behind_the_pixels_of_a_png_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.fromarray(RGB), "PNG", exif=exif)
    start = data.index(b"eXIf") - 4
    length = int.from_bytes(data[start : start + 4], "big") + 12
    chunk, rest = data[start : start + length], data[:start] + data[start + length :]
    end = rest.index(b"IEND") - 4
    assert (decoded(rest[:end] + chunk + rest[end:]) == np.rot90(RGB, -1)).all()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_meaningless_orientation_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decoded(encode(Image.fromarray(RGB), "PNG", exif=exif)) == RGB).all()


def test_damaged_exif_does_not_fail_the_pixels(recwarn: pytest.WarningsRecorder) -> None:
    plain = encode(Image.fromarray(RGB), "JPEG", quality=98)
    for body in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage!garbage!"):
        segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
        assert (decoded(plain[:2] + segment + plain[2:]) == decoded(plain)).all()
    assert not list(recwarn)


def test_the_result_holds_no_file() -> None:
    data = encode(Image.fromarray(RGB), "JPEG")
    image = open_image(data)
    assert type(image) is Image.Image
    assert (np.asarray(image) == np.asarray(Image.open(io.BytesIO(data)))).all()
