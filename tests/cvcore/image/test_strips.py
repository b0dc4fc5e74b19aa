"""Images by strips against the same images whole, and what strips cost in memory."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cvcore.datasets.mask_files import mask_writer, read_mask, voc_palette
from cvcore.errors import ImageError
from cvcore.image import strips as strips_module
from cvcore.image.decode import open_image
from cvcore.image.limits import DecodeLimits
from cvcore.image.strips import open_strips
from tests.data import ROOT
from tests.faults.hostile import MAX_BYTES, MAX_PIXELS, corpus

LIMITS = DecodeLimits()
HEIGHT, WIDTH = 143, 97


def picture(mode: str = "RGB") -> Image.Image:
    """Smooth colours with noise; half of it transparent where `mode` knows that."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    planes = np.stack([rows, columns, rows + columns], axis=2) + rng.integers(0, 40, (HEIGHT, WIDTH, 3))
    image = Image.fromarray(planes.clip(0, 255).astype(np.uint8))
    image.putalpha(Image.fromarray((columns % 256).astype(np.uint8)))
    return image.convert(mode)


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    body = io.BytesIO()
    image.save(body, image_format, **options)
    return body.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 6
    return exif


def unturned() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 1
    return exif


def xmp(orientation: int) -> PngInfo:
    text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="{orientation}"/>'
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", text)
    return info


STREAMED = {
    "jpeg, full chroma": (picture(), "JPEG", {"subsampling": 0, "quality": 90}),
    "jpeg, quarter chroma": (picture(), "JPEG", {"subsampling": 2, "quality": 40}),
    "gray jpeg": (picture("L"), "JPEG", {}),
    "jpeg, upright by its tag": (picture(), "JPEG", {"exif": b"Exif\0\0" + Image.Exif().tobytes()}),
    "png": (picture(), "PNG", {}),
    "png with alpha": (picture("RGBA"), "PNG", {}),
    "gray png with alpha": (picture("LA"), "PNG", {}),
    "palette png": (picture("P"), "PNG", {}),
    "palette png with a transparent colour": (picture("P"), "PNG", {"transparency": 5}),
    "gray png with a transparent level": (picture("L"), "PNG", {"transparency": 90}),
    "black and white png": (picture("1"), "PNG", {}),
    "png with an EXIF block": (picture(), "PNG", {"exif": unturned()}),
    "tiff": (picture(), "TIFF", {}),
    "deflated tiff": (picture(), "TIFF", {"compression": "tiff_adobe_deflate"}),
    "gray lzw tiff": (picture("L"), "TIFF", {"compression": "tiff_lzw"}),
}
WHOLE = {
    "progressive jpeg": (picture(), "JPEG", {"progressive": True}),
    "turned jpeg": (picture(), "JPEG", {"exif": turned()}),
    "cmyk jpeg": (picture("RGB").convert("CMYK"), "JPEG", {}),
    "png with XMP": (picture(), "PNG", {"pnginfo": xmp(6)}),
    "turned png": (picture(), "PNG", {"exif": turned()}),
    "16 bit png": (
        Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 4),
        "PNG",
        {},
    ),
    "turned tiff": (picture(), "TIFF", {"tiffinfo": {274: 3}}),
    "tiff with alpha": (picture("RGBA"), "TIFF", {}),
    "gif": (picture("P"), "GIF", {}),
    "webp": (picture(), "WEBP", {"lossless": True}),
    "bmp": (picture(), "BMP", {}),
}


def joined(data: bytes, *, step: int = 50, overlap: int = 7) -> npt.NDArray[np.uint8]:
    """The image put together from overlapping bands of tiles."""
    found = open_strips(data, limits=LIMITS)
    whole = np.zeros((found.height, found.width, 3), np.uint8)
    for top in range(0, found.height, step - overlap):
        rows = slice(top, min(top + step, found.height))
        for columns in (slice(0, 40), slice(40, found.width)):
            whole[rows, columns] = found.read(rows, columns)
    return whole


@pytest.mark.parametrize("name", STREAMED)
def test_strips_are_the_whole_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image, image_format, options = STREAMED[name]
    data = encoded(image, image_format, **options)
    expected = np.asarray(open_image(data))
    monkeypatch.setattr(strips_module, "open_image", lambda *_, **__: pytest.fail("it was decoded whole"))
    np.testing.assert_array_equal(joined(data), expected)


@pytest.mark.parametrize("name", WHOLE)
def test_what_has_no_strips_is_decoded_whole_up_to_a_bound(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, image_format, options = WHOLE[name]
    data = encoded(image, image_format, **options)
    np.testing.assert_array_equal(joined(data), np.asarray(open_image(data)))
    monkeypatch.setattr(strips_module, "MAX_WHOLE_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(ImageError, match=r"decoded whole.*baseline JPEG") as caught:
        open_strips(data, limits=LIMITS)
    assert caught.value.code == "too_large"


def test_tiled_tiffs_are_read_by_strips(tmp_path: Path) -> None:
    import pyvips

    path = tmp_path / "tiled.tif"
    pyvips.Image.new_from_array(np.asarray(picture())).tiffsave(
        str(path), tile=True, tile_width=32, tile_height=32, compression="deflate"
    )
    data = path.read_bytes()
    np.testing.assert_array_equal(joined(data), np.asarray(open_image(data)))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_a_file_that_was_cut_short_is_no_gray_image(image_format: str) -> None:
    data = encoded(picture(), image_format)
    with pytest.raises(ImageError) as caught:
        joined(data[: len(data) * 2 // 3])
    assert caught.value.code in ("truncated", "corrupt")


def test_hostile_files_give_the_same_pixels_or_a_reason() -> None:
    limits = DecodeLimits(max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES)
    both = 0
    for case in corpus():
        try:
            found = open_strips(case.body, limits=limits, name=case.name)
            bands = range(0, found.height, 64)
            pixels = [
                found.read(slice(top, min(top + 64, found.height)), slice(0, found.width)) for top in bands
            ]
            expected = np.asarray(open_image(case.body, limits=limits, name=case.name))
        except ImageError:
            continue
        np.testing.assert_array_equal(np.concatenate(pixels), expected, err_msg=case.name)
        both += 1
    assert both > 100


def test_limits_hold_before_anything_is_decoded() -> None:
    data = encoded(picture(), "PNG")
    with pytest.raises(ImageError, match="over the limit max_pixels = 1000"):
        open_strips(data, limits=DecodeLimits(max_pixels=1000))
    with pytest.raises(ImageError, match="allowed are JPEG"):
        open_strips(data, limits=DecodeLimits(formats=("JPEG",)))
    with pytest.raises(ImageError, match="no known image format"):
        open_strips(b"no image", limits=LIMITS)


def test_rows_that_passed_cannot_be_read_again() -> None:
    found = open_strips(encoded(picture(), "PNG"), limits=LIMITS)
    everything = slice(0, WIDTH)
    found.read(slice(50, 60), everything)
    found.read(slice(55, 80), everything)
    with pytest.raises(ValueError, match="row 54 has passed"):
        found.read(slice(54, 60), everything)


def test_a_map_written_by_rows_is_the_map() -> None:
    ids = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    writer = mask_writer(height=HEIGHT, width=WIDTH)
    for start in range(0, HEIGHT, 13):
        writer.write(ids[start : start + 13])
    body = writer.finish()
    np.testing.assert_array_equal(read_mask(body, name="it"), ids)
    with Image.open(io.BytesIO(body)) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), voc_palette()[ids])


def test_a_map_of_other_rows_than_it_was_to_have_is_refused() -> None:
    writer = mask_writer(height=4, width=3)
    writer.write(np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match="3 of 4 rows were written"):
        writer.finish()
    for shape in ((2, 3), (1, 2)):
        with pytest.raises(ValueError, match="does not follow 3 rows of an image of 4x3"):
            writer.write(np.zeros(shape, np.uint8))


PEAK = """
import resource, sys
import numpy as np
from cvcore.datasets.mask_files import mask_writer
from cvcore.image.limits import DecodeLimits
from cvcore.image.strips import open_strips

found = open_strips(open(sys.argv[1], "rb").read(), limits=DecodeLimits(max_pixels=10**9))
size = {"height": found.height, "width": found.width}
writer = mask_writer(**size)
for top in range(0, found.height, 448):
    rows = slice(top, min(top + 512, found.height))
    band = np.zeros((min(448, found.height - top), found.width), np.uint8)
    for left in range(0, found.width, 512):
        tile = found.read(rows, slice(left, left + 512))
        band[:, left : left + 512] = tile[: len(band), :, 0] > 127
    writer.write(band)
writer.finish()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif[tile,compression=deflate]"])
def test_memory_does_not_grow_with_the_height(suffix: str, tmp_path: Path) -> None:
    import pyvips

    peaks = []
    for height in (1500, 9000):
        path = tmp_path / f"{height}{suffix}"
        (pyvips.Image.grey(6000, height, uchar=True).bandjoin([0, 128]).cast("uchar")).write_to_file(
            str(path)
        )
        told = subprocess.run(
            [sys.executable, "-c", PEAK, str(path).partition("[")[0]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(told.stdout))
    assert peaks[1] - peaks[0] < 24 * 2**20  # 135 MB of pixels more
