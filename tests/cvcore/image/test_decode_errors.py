from __future__ import annotations

import pickle
import resource
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from cvcore.errors import ImageError
from cvcore.image.decode import DecodeLimits, decode_to_canvas, open_image
from cvcore.image.jpeg import count_scans
from cvcore.image.limits import FORMATS
from cvcore.image.sniff import declared_size, sniff_format
from cvcore.image.tiff import tiff_extent
from cvcore.types import InputSpec
from tests.cvcore.image.samples import encode, gray_tiff, png, smooth_rgb, tiff

PICTURE = Image.fromarray(smooth_rgb(40, 60))
FILES = {image_format: encode(PICTURE, image_format) for image_format in FORMATS}
MORE_FILES = {
    **FILES,
    "progressive JPEG": encode(PICTURE, "JPEG", progressive=True),
    "LZW TIFF": encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "JPEG TIFF": encode(PICTURE, "TIFF", compression="jpeg"),
    "lossless WEBP": encode(PICTURE, "WEBP", lossless=True),
    "alpha WEBP": encode(Image.merge("RGBA", (*PICTURE.split(), PICTURE.getchannel(0))), "WEBP"),
    "MPO": encode(PICTURE, "MPO", save_all=True, append_images=[PICTURE]),
}
SPEC = InputSpec(32, 32)


def code_of(data: bytes, *, name: str | None = None, limits: DecodeLimits | None = None) -> str:
    """The error's code, the same from both entry points."""
    limits = limits or DecodeLimits()
    with pytest.raises(ImageError) as whole:
        open_image(data, limits=limits, name=name)
    with pytest.raises(ImageError) as canvas:
        decode_to_canvas(data, SPEC, limits=limits, name=name)
    assert (canvas.value.code, str(canvas.value)) == (whole.value.code, str(whole.value))
    if name is not None:
        assert str(whole.value).startswith(name)
    return whole.value.code


def test_empty() -> None:
    assert code_of(b"", name="a.jpg") == "empty"


def test_too_many_bytes() -> None:
    data = FILES["PNG"]
    assert code_of(data, limits=DecodeLimits(max_bytes=len(data) - 1)) == "too_many_bytes"
    assert open_image(data, limits=DecodeLimits(max_bytes=len(data))).size == PICTURE.size


@pytest.mark.parametrize(
    "data", [b"<html></html>", b"\0" * 100, b"\x89PN", b"GIF8", b"%!PS", b"RIFF1234WAVEfmt "]
)
def test_not_an_image(data: bytes) -> None:
    assert code_of(data, name="page.html") == "not_an_image"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%PDF-1.7 ...", "PDF"),
        (b"\0\0\0\x20ftypheic" + b"\0" * 20, "HEIC"),
        (b"\0\0\0\x20ftypavif" + b"\0" * 20, "AVIF"),
        (b"8BPS\0\1", "Photoshop"),
    ],
)
def test_known_formats_without_a_reader_are_named(data: bytes, what: str) -> None:
    with pytest.raises(ImageError, match=what) as caught:
        open_image(data)
    assert caught.value.code == "format_not_allowed"


@pytest.mark.parametrize("image_format", FORMATS)
def test_formats_outside_the_allow_list(image_format: str) -> None:
    others = tuple(f for f in FORMATS if f != image_format)
    assert code_of(FILES[image_format], limits=DecodeLimits(formats=others)) == "format_not_allowed"
    assert open_image(FILES[image_format], limits=DecodeLimits(formats=(image_format,))).size == (60, 40)


@pytest.mark.parametrize(
    ("image_format", "name"),
    [
        ("PNG", "x.jpg"),
        ("JPEG", "s3://b/k/x.PNG"),
        ("GIF", "x.tiff"),
        ("WEBP", "/a.b/x.jpeg"),
        ("TIFF", "x.bmp"),
    ],
)
def test_extension_mismatch_names_both_and_the_way_out(image_format: str, name: str) -> None:
    assert code_of(FILES[image_format], name=name) == "extension_mismatch"
    with pytest.raises(ImageError, match=f"content is {image_format}.*extension_mismatch: allow"):
        open_image(FILES[image_format], name=name)
    allowed = open_image(FILES[image_format], name=name, limits=DecodeLimits(extension_mismatch="allow"))
    assert allowed.size == PICTURE.size


@pytest.mark.parametrize(
    ("image_format", "name"),
    [
        *(("JPEG", f"x{extension}") for extension in (".jpg", ".JPEG", ".jpe", ".jfif", ".mpo")),
        ("TIFF", "x.tif"),
        ("TIFF", "x.TIFF"),
        ("PNG", "noextension"),
        ("PNG", "x.dat"),
        ("JPEG", "folder.png/x"),
    ],
)
def test_names_that_fit(image_format: str, name: str) -> None:
    assert open_image(FILES[image_format], name=name).size == PICTURE.size


def _png_header(width: int, height: int) -> bytes:
    small = bytearray(png(8, 2, bytes(3), 1, 1))
    body = b"IHDR" + struct.pack(">II", width, height) + bytes(small[24:29])
    small[12:33] = body + struct.pack(">I", zlib.crc32(body))
    return bytes(small)


def _jpeg_header(width: int, height: int) -> bytes:
    data = bytearray(FILES["JPEG"])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _gif_header(width: int, height: int) -> bytes:
    data = bytearray(FILES["GIF"])
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def _gif_frame(width: int, height: int) -> bytes:
    """A small screen whose first frame is huge and asks to be disposed of to the background."""
    control = b"\x21\xf9\x04\x08\0\0\0\0"
    return (
        b"GIF89a\x01\0\x01\0\0\0\0"
        + control
        + b","
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
        + b"\x02\0;"
    )


def _bmp_header(width: int, height: int) -> bytes:
    data = bytearray(FILES["BMP"])
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def _webp_header(width: int, height: int) -> bytes:
    data = bytearray(MORE_FILES["alpha WEBP"])
    assert data[12:16] == b"VP8X"
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def _tiff_header(width: int, height: int) -> bytes:
    return gray_tiff(b"\0" * 16, width, height, bits=8)


BOMBS = {
    "PNG": _png_header(2**31 - 1, 2**31 - 1),
    "PNG, just over": _png_header(10_000, 10_001),
    "JPEG": _jpeg_header(65_500, 65_500),
    "GIF": _gif_header(65_535, 65_535),
    "GIF frame": _gif_frame(65_535, 65_535),
    "BMP": _bmp_header(2**30, 2**30),
    "BMP, top down": _bmp_header(2**20, -(2**20)),
    "WEBP": _webp_header(16_384, 16_384),
    "TIFF": _tiff_header(2**32 - 1, 2**32 - 1),
}


@pytest.mark.parametrize("case", BOMBS)
def test_huge_headers_fail_before_anything_is_allocated(case: str) -> None:
    tracemalloc.start()
    before = _peak_rss_kib()
    try:
        assert code_of(BOMBS[case]) == "too_large"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20
    assert _peak_rss_kib() - before < 32 * 1024


def _peak_rss_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_tiff_tile_larger_than_the_image() -> None:
    one = {256: (4, (16,)), 257: (4, (16,)), 258: (3, (8,)), 259: (3, (5,)), 262: (3, (1,)), 277: (3, (1,))}
    for side, code in ((16, "corrupt"), (60_000, "too_large")):
        tags = {**one, 322: (4, (side,)), 323: (4, (side,))}
        assert code_of(tiff(tags, b"not LZW at all", tiled=True)) == code


def test_limits_are_ours_not_pillows() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Pillow warns from 89 million pixels on and fails from 179 million on.
        data = encode(Image.new("1", (20_000, 10_000)), "PNG")
        assert code_of(data) == "too_large"
        image = open_image(encode(Image.new("1", (10_000, 9_500)), "PNG"))
    assert image.size == (10_000, 9_500)


@pytest.mark.parametrize("width", [7, 8])
def test_the_pixel_limit_is_inclusive(width: int) -> None:
    data = encode(Image.new("RGB", (width, 10)), "PNG")
    limits = DecodeLimits(max_pixels=70)
    if width == 7:
        assert open_image(data, limits=limits).size == (7, 10)
    else:
        assert code_of(data, limits=limits) == "too_large"


@pytest.mark.parametrize("kind", MORE_FILES)
def test_truncation_anywhere_is_an_image_error(kind: str, recwarn: pytest.WarningsRecorder) -> None:
    data = MORE_FILES[kind]
    codes = set()
    for length in range(1, len(data), 10):
        try:
            image = open_image(data[:length])
        except ImageError as error:
            codes.add(error.code)
        else:
            # Only bytes after the last pixel may be missing.
            assert image.size == PICTURE.size
            assert length > len(data) * 0.4
    assert codes <= {"not_an_image", "truncated", "corrupt", "unsupported_mode"}
    assert "truncated" in codes
    assert not list(recwarn)


@pytest.mark.parametrize("image_format", FORMATS)
def test_half_a_file_is_truncated(image_format: str) -> None:
    data = FILES[image_format]
    assert code_of(data[: len(data) // 2], name=f"cut{len(data)}") == "truncated"


@pytest.mark.parametrize("kind", ["TIFF", "LZW TIFF", "JPEG TIFF"])
def test_extent_of_a_tiff(kind: str) -> None:
    data = MORE_FILES[kind]
    # Pillow pads some files at the end.
    assert len(data) - 2 <= tiff_extent(data) <= len(data)
    assert all(tiff_extent(data[:length]) > length for length in range(8, len(data) - 2))


def test_extent_of_a_bigtiff() -> None:
    data = encode(PICTURE, "TIFF", big_tiff=True)
    assert sniff_format(data) == "TIFF"
    assert open_image(data).size == PICTURE.size
    assert len(data) - 2 <= tiff_extent(data) <= len(data)
    assert tiff_extent(data[: len(data) // 2]) > len(data) // 2


@pytest.mark.parametrize("kind", MORE_FILES)
def test_flipped_bytes_never_raise_anything_else(kind: str, recwarn: pytest.WarningsRecorder) -> None:
    random = np.random.default_rng(7)
    data = np.frombuffer(MORE_FILES[kind], np.uint8)
    failures = 0
    for _ in range(150):
        broken = data.copy()
        # Half of the flips hit the header, where the sizes and offsets are.
        end = len(data) if random.random() < 0.5 else min(len(data), 200)
        where = random.integers(0, end, size=random.integers(1, 6))
        broken[where] = random.integers(0, 256, size=len(where))
        try:
            decode_to_canvas(broken.tobytes(), SPEC, limits=DecodeLimits(max_pixels=10**6))
        except ImageError:
            failures += 1
    assert failures > 0
    assert not list(recwarn)


def test_a_wrong_checksum_is_corrupt_not_truncated() -> None:
    data = bytearray(FILES["PNG"])
    data[30] ^= 0xFF
    assert code_of(bytes(data)) == "corrupt"


def test_nothing_reaches_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    for data in MORE_FILES.values():
        for cut in (3, 2):
            with suppress(ImageError):
                open_image(data[: len(data) // cut])
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out == ""


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 1), ({"progressive": True}, 10), ({"progressive": True, "restart_marker_rows": 1}, 10)],
)
def test_scans_are_counted(options: dict[str, object], expected: int) -> None:
    data = encode(PICTURE, "JPEG", **options)
    assert count_scans(data, limit=64) == expected
    assert count_scans(data, limit=3) == min(expected, 4)
    assert count_scans(data[:-2] + (b"\xff\xda\0\x08" + bytes(6)) * 20, limit=64) == (
        20 + expected if options else 1
    )


def test_errors_survive_pickling() -> None:
    with pytest.raises(ImageError) as caught:
        open_image(FILES["PNG"][:100], name="a.png")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.code, str(again)) == (caught.value.code, str(caught.value))


def test_threads_decode_at_once() -> None:
    work = [*MORE_FILES.values()] * 8 + [data[: len(data) // 2] for data in FILES.values()]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(_try, work))
    assert results == [_try(data) for data in work]


def _try(data: bytes) -> bytes | str:
    try:
        return decode_to_canvas(data, SPEC).canvas.tobytes()
    except ImageError as error:
        return error.code


@pytest.mark.parametrize("kind", MORE_FILES)
def test_signatures_and_declared_sizes(kind: str) -> None:
    data = MORE_FILES[kind]
    image_format = sniff_format(data)
    assert image_format == {"MPO": "JPEG"}.get(kind, kind.rsplit(" ", maxsplit=1)[-1])
    expected = PICTURE.size if image_format in ("GIF", "WEBP") else None
    assert declared_size(data, image_format) == expected


@pytest.mark.parametrize(
    "wrong", [{"max_pixels": 0}, {"max_bytes": -1}, {"formats": ("JPEG", "HEIC")}, {"formats": ()}]
)
def test_wrong_limits(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        DecodeLimits(**wrong)
