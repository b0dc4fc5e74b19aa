"""Files made to break decoders, each with the outcomes that it may have.

`python -m tests.faults.hostile` decodes all of them in this one process and prints a line of JSON for each.
"""

from __future__ import annotations

import io
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cvcore.errors import ImageError
from cvcore.image.decode import decode_to_canvas
from cvcore.image.limits import FORMATS, DecodeLimits
from cvcore.types import InputSpec
from tests.cvcore.image.samples import encode, gray_tiff, png, smooth_rgb, tiff

MAX_PIXELS = 16_000_000
MAX_BYTES = 16 * 2**20
LIMITS = DecodeLimits(max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES)
CANVAS = InputSpec(64, 64)
TRUNCATED_EVERY = 10

OK = frozenset({"ok"})
BROKEN = frozenset({"truncated", "corrupt", "unsupported_mode"})
ANY = OK | BROKEN
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}
PICTURE = Image.fromarray(smooth_rgb(12, 16))
SMALL = {image_format: encode(PICTURE, image_format) for image_format in FORMATS}


# Names of good pictures on a local disk: bytes, since that is what they are.
NAMES: tuple[bytes, ...] = (
    b"line\nbreak.jpg",
    b"tab\tand\rreturn.jpg",
    b"quotes'\"`$(touch canary).jpg",
    b"percent%20%00%2e%2e%2f.jpg",
    b"a..jpg",
    b"dots../x..y.jpg",
    b"-rf.jpg",
    b"--out=x.jpg",
    b"*?[a].jpg",
    b" leading and trailing .jpg",
    b"trailing.dots...jpg",
    b"back\\slash.jpg",
    b"semi;colon&and|pipe.jpg",
    b"<img src=x onerror=alert(1)>.jpg",
    b"{{7*7}}${x}.jpg",
    b"\x1b]0;owned\x07\x1b[31m.jpg",
    b"\x01\x7f.jpg",
    b"s3:/bucket.jpg",
    b"#fragment?query=1.jpg",
    b"n" * 251 + b".jpg",
    b"d" * 255 + b"/" + b"e" * 255 + b"/f.jpg",
    "caf\u00e9.jpg".encode(),
    "cafe\u0301.jpg".encode(),
    "\u202egpj.exe.jpg".encode(),
    "\u2028\ufeff\u200b.jpg".encode(),
    "\U0001f600\U0010ffff.jpg".encode(),
    b"\xff\xfe.jpg",
    b"latin-\xe9.jpg",
    b"latin-%E9.jpg",
    b"\xed\xa0\x80-surrogate.jpg",
    b"folder-\xe9/inside.jpg",
    b"no extension",
)

# Keys of good pictures in a bucket; `//` and dot segments are letters like others there.
KEYS: tuple[str, ...] = (
    "a//b.jpg",
    "//c.jpg",
    "d/../e.jpg",
    "d/./f.jpg",
    "../g.jpg",
    "?.jpg",
    "#.jpg",
    "+.jpg",
    "a b.jpg",
    "a%20b.jpg",
    "%2e%2e%2f.jpg",
    "trailing.jpg...",
    "&=;:@,$!'()*.jpg",
    '"<>`{}|^[]\\~.jpg',
    "line\nbreak.jpg",
    "return\r.jpg",
    "\x01\x1b[31m.jpg",
    "k" * 1000 + ".jpg",
    "/".join(["deep"] * 190) + ".jpg",
    "caf\u00e9.jpg",
    "cafe\u0301.jpg",
    "\u202egpj.exe.jpg",
    "\U0001f600\uffff.jpg",
    "-rf.jpg",
    "s3:/x.jpg",
    "no extension",
)


@dataclass(frozen=True)
class Hostile:
    """One file.

    Attributes:
        name: with the extension that it is to be read under.
        outcomes: `ok`, or the codes of `ImageError` that it may give.
        pixels: how many may have to be held at once to say so.
    """

    name: str
    body: bytes
    outcomes: frozenset[str]
    pixels: int = 0


@cache
def corpus() -> tuple[Hostile, ...]:
    """All files; names are unique."""
    makers: tuple[Callable[[], Iterator[Hostile]], ...] = (
        _huge_headers,
        _png_bombs,
        _tiff_bombs,
        _slow_files,
        _truncations,
        _wrong_lengths,
        _polyglots,
        _odd_sizes,
        _odd_pixels,
        _garbage_metadata,
        _nested,
    )
    found = [case for make in makers for case in make()]
    assert len({case.name for case in found}) == len(found)
    return tuple(found)


def codes(*names: str) -> frozenset[str]:
    return frozenset(names)


# --- building blocks


def chunk(kind: bytes, body: bytes, *, length: int | None = None, crc: int | None = None) -> bytes:
    """A PNG chunk; length and checksum are right unless given."""
    right = zlib.crc32(kind + body)
    return (
        struct.pack(">I", len(body) if length is None else length)
        + kind
        + body
        + struct.pack(">I", right if crc is None else crc)
    )


def png_with(*extra: tuple[bytes, bytes], side: int = 8) -> bytes:
    """A good RGB PNG with further chunks before its pixels."""
    return png(8, 2, bytes(side * side * 3), side, side, *extra)


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(64)))
        + chunk(b"IEND", b"")
    )


def jpeg_header(width: int, height: int) -> bytes:
    data = bytearray(SMALL["JPEG"])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_with(marker: int, *bodies: bytes) -> bytes:
    """A good JPEG with further segments at its front."""
    segments = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for body in bodies)
    return SMALL["JPEG"][:2] + segments + SMALL["JPEG"][2:]


def jpeg_scans(side: int, repeats: int, *, progressive: bool = True) -> bytes:
    """A small file whose last scan stands there over and over: each one is a pass over the whole picture."""
    data = encode(Image.new("L", (side, side), 128), "JPEG", progressive=progressive)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * repeats + data[end:]


def gif_frames(count: int) -> bytes:
    """An animation of `count` frames of one pixel."""
    frame = b"\x21\xf9\x04\0\x01\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff" + frame * count + b";"


def gif_header(width: int, height: int) -> bytes:
    data = bytearray(SMALL["GIF"])
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def gif_frame(width: int, height: int, *, left: int = 0) -> bytes:
    """A screen of one pixel with a frame of another size."""
    control = b"\x21\xf9\x04\x08\0\0\0\0"
    return (
        b"GIF89a\x01\0\x01\0\0\0\0"
        + control
        + b","
        + struct.pack("<HHHHB", left, 0, width, height, 0)
        + b"\x02\0;"
    )


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_frames(count: int, *, side: int = 1) -> bytes:
    """An animation of `count` lossless frames."""
    still = encode(Image.new("RGB", (side, side)), "WEBP", lossless=True)
    picture = still[12:]
    size = (side - 1).to_bytes(3, "little")
    frame = bytes(6) + size + size + (10).to_bytes(3, "little") + b"\0" + picture
    header = b"\x02\0\0\0" + size + size
    return riff((b"VP8X", header), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * count)


def webp_header(width: int, height: int) -> bytes:
    data = bytearray(webp_frames(1))
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def bmp(
    width: int, height: int, body: bytes, *, bits: int = 8, compression: int = 0, offset: int | None = None
) -> bytes:
    """A BMP with a gray palette where it needs one."""
    colors = 2**bits if bits <= 8 else 0
    palette = b"".join(bytes([i * 255 // (colors - 1)] * 3 + [0]) for i in range(colors))
    start = 54 + len(palette)
    file = b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start if offset is None else offset)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0, colors, 0)
    return file + info + palette + body


def ifd(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A little-endian directory of (tag, type, count, value or offset)."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def exif(*entries: tuple[int, int, int, int], following: int = 0, tail: bytes = b"") -> bytes:
    return b"II*\0\x08\0\0\0" + ifd(*entries, following=following) + tail


def tags(side: int = 16, **changes: Any) -> dict[int, tuple[int, tuple[int, ...]]]:
    """Tags of a gray 8-bit TIFF."""
    usual = {
        256: (4, (side,)),
        257: (4, (side,)),
        258: (3, (8,)),
        259: (3, (1,)),
        262: (3, (1,)),
        277: (3, (1,)),
        278: (4, (side,)),
    }
    return usual | {int(key[1:]): value for key, value in changes.items()}


# --- the cases


def _huge_headers() -> Iterator[Hostile]:
    headers = {
        "png": (png_header(2**31 - 1, 2**31 - 1), png_header(4001, 4000), png_header(2**31 - 1, 1)),
        "jpg": (jpeg_header(65_500, 65_500), jpeg_header(65_535, 65_535), jpeg_header(4001, 4000)),
        "gif": (gif_header(65_535, 65_535), gif_frame(65_535, 65_535), gif_header(65_535, 300)),
        "bmp": (bmp(2**30, 2**30, b""), bmp(2**20, -(2**20), b""), bmp(2**31 - 1, 1, b"")),
        "webp": (webp_header(16_384, 16_384), webp_header(2**24, 2**24), webp_header(16_384, 1000)),
        "tif": (
            gray_tiff(bytes(16), 2**32 - 1, 2**32 - 1, bits=8),
            gray_tiff(bytes(16), 2**31, 1, bits=8),
            tiff(tags(t322=(4, (60_000,)), t323=(4, (60_000,)), t259=(3, (5,))), b"not LZW", tiled=True),
        ),
    }
    for extension, bodies in headers.items():
        for number, body in enumerate(bodies):
            yield Hostile(f"huge-{number}.{extension}", body, codes("too_large"))


def _png_bombs() -> Iterator[Hostile]:
    zeros = zlib.compress(bytes(64 * 2**20))
    for kind, prefix in ((b"iCCP", b"icc\0\0"), (b"zTXt", b"Comment\0\0"), (b"iTXt", b"Comment\0\1\0\0\0")):
        yield Hostile(f"bomb-{kind.decode()}.png", png_with((kind, prefix + zeros)), ANY)
    million = b"Comment\0\0" + zlib.compress(bytes(2**20 - 64), 9)
    yield Hostile("bomb-many-texts.png", png_with(*[(b"zTXt", million)] * 200), ANY)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    end = chunk(b"IEND", b"")
    yield Hostile("bomb-idat.png", start + chunk(b"IDAT", zeros) + end, ANY)
    yield Hostile("bomb-chunks.png", png_with(*[(b"teXt", b"x")] * 20_000), ANY)
    yield Hostile("bomb-empty-idats.png", start + chunk(b"IDAT", b"") * 20_000 + end, BROKEN)
    near = encode(Image.new("RGBA", (4000, 4000)), "PNG", compress_level=1)
    yield Hostile("near-the-limit.png", near, OK, pixels=MAX_PIXELS)
    deep = encode(Image.new("I;16", (4000, 4000)), "PNG", compress_level=1)
    yield Hostile("near-the-limit-16-bits.png", deep, OK, pixels=MAX_PIXELS)
    clear = encode(Image.new("RGBA", (4000, 4000)), "WEBP", lossless=True, method=0)
    yield Hostile("near-the-limit.webp", clear, OK, pixels=MAX_PIXELS)


def _tiff_bombs() -> Iterator[Hostile]:
    zeros = zlib.compress(bytes(64 * 2**20))
    yield Hostile("bomb-deflate.tif", tiff(tags(t259=(3, (8,))), zeros), ANY)
    yield Hostile("bomb-packbits.tif", tiff(tags(t259=(3, (32773,))), b"\x81\0" * 100_000), ANY)
    yield Hostile("bomb-lzw.tif", tiff(tags(t259=(3, (5,))), bytes(10_000)), ANY)
    good = gray_tiff(bytes(256), 16, 16, bits=8)
    (at,) = struct.unpack_from("<I", good, 4)
    every = struct.pack("<H", 65_535)
    yield Hostile("ifd-65535-entries.tif", good[:at] + every + good[at + 2 :], ANY)
    overlapping = b"".join(struct.pack("<HHII", 1000 + i, 1, 500_000, 8) for i in range(40_000))
    body = b"II*\0\x08\0\0\0" + struct.pack("<H", 40_000) + overlapping + bytes(4)
    yield Hostile("ifd-overlapping-values.tif", body + bytes(64 * 1024), BROKEN)
    for name, count in (("4-billion", 2**32 - 1), ("negative", 2**31)):
        entry = struct.pack("<HHII", 273, 4, count, 8)
        yield Hostile(f"ifd-{name}-strips.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry, BROKEN)
    big = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63)
    yield Hostile("ifd-bigtiff-entries.tif", big + bytes(100), BROKEN)
    value = struct.pack("<HHQQ", 273, 16, 2**61, 16)
    one = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1)
    yield Hostile("ifd-bigtiff-values.tif", one + value + bytes(100), BROKEN)
    yield Hostile("ifd-cycle.tif", _tiff_cycle(), ANY)
    yield Hostile("ifd-in-the-header.tif", b"II*\0\0\0\0\0" + bytes(40), BROKEN)
    for tag in (330, 34_665, 34_853, 40_965):
        yield Hostile(f"ifd-{tag}-cycle.tif", tiff(tags(**{f"t{tag}": (4, (264,))}), bytes(256)), ANY)
    strange: dict[str, dict[str, Any]] = {
        "rows-per-strip-0": {"t278": (4, (0,))},
        "64-bits": {"t258": (3, (64,))},
        "65535-samples": {"t277": (3, (65_535,))},
        "planar-9": {"t284": (3, (9,))},
        "photometric-999": {"t262": (3, (999,))},
        "compression-12345": {"t259": (3, (12_345,))},
        "predictor-7": {"t259": (3, (8,)), "t317": (3, (7,))},
        "orientation-0": {"t274": (3, (0,))},
        "orientation-9": {"t274": (3, (9,))},
        "orientation-65535": {"t274": (3, (65_535,))},
        "fill-order-3": {"t266": (3, (3,))},
    }
    for name, changes in strange.items():
        yield Hostile(f"tiff-{name}.tif", tiff(tags(**changes), bytes(256)), ANY)


def _tiff_cycle() -> bytes:
    good = bytearray(gray_tiff(bytes(256), 16, 16, bits=8))
    (at,) = struct.unpack_from("<I", good, 4)
    (entries,) = struct.unpack_from("<H", good, at)
    struct.pack_into("<I", good, at + 2 + 12 * entries, at)
    return bytes(good)


def _slow_files() -> Iterator[Hostile]:
    yield Hostile("scans-1000.jpg", jpeg_scans(3900, 1000), codes("too_complex"))
    yield Hostile("scans-10000-small.jpg", jpeg_scans(64, 10_000), codes("too_complex"))
    yield Hostile("scans-40.jpg", jpeg_scans(1000, 40), OK, pixels=1_000_000)
    yield Hostile("scans-in-comments.jpg", jpeg_with(0xFE, *[b"\xff\xda\0\x08" * 100] * 50), OK)
    hidden = jpeg_scans(3900, 1)
    last, end = hidden.rindex(b"\xff\xda"), hidden.rindex(b"\xff\xd9")
    veil = b"\xff\xfe\0\x04\xff\xd9"
    masked = hidden[:last] + (veil + hidden[last:end]) * 500 + hidden[end:]
    yield Hostile("scans-behind-false-ends.jpg", masked, codes("too_complex"))
    yield Hostile("scans-sequential.jpg", jpeg_scans(800, 500, progressive=False), ANY, pixels=640_000)
    yield Hostile("scans-separate.jpg", _separate_scans(800, 200), codes("too_complex"))
    inside = tiff(tags(side=512, t259=(3, (7,))), jpeg_scans(512, 1000))
    yield Hostile("scans-inside.tif", inside, ANY, pixels=512 * 512)
    lines = bmp(4000, 4000, b"\x01\0\0\0" * 4000, compression=1)
    yield Hostile("rle-short-lines.bmp", lines, codes("too_complex"))
    fewer = bmp(2000, 2000, b"\x01\0\0\0" * 2000, compression=1)
    yield Hostile("rle-fewer-short-lines.bmp", fewer, OK, pixels=4_000_000)
    deltas = bmp(2000, 2000, b"\0\x02\0\0" * 200_000, compression=1)
    yield Hostile("rle-idle-deltas.bmp", deltas, ANY, pixels=4_000_000)
    yield Hostile("rle4.bmp", bmp(16, 16, b"\x10\x12\0\0" * 16, bits=4, compression=2), OK)
    yield Hostile("frames-5000.gif", gif_frames(5000), OK)
    yield Hostile("frames-2000.webp", webp_frames(2000), OK)
    yield Hostile("frames-0.gif", b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff;", BROKEN)
    yield Hostile("frame-outside.gif", gif_frame(4, 4, left=60_000), ANY | codes("too_large"), pixels=300_000)
    comment = b"GIF89a\x01\0\x01\0\0\0\0" + b"\x21\xfe" + b"\xff" + bytes(255)
    yield Hostile("comment-without-end.gif", comment * 1000, BROKEN)
    yield Hostile("frames-apng.png", _apng(500), OK)


def _separate_scans(side: int, repeats: int) -> bytes:
    """A sequential JPEG whose one scan says that it is of one component of three, over and over."""
    data = encode(Image.new("RGB", (side, side), (9, 9, 9)), "JPEG")
    scan = data.rindex(b"\xff\xda")
    one = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + bytes(40)
    return data[:scan] + one * repeats + data[scan:]


def _apng(frames: int) -> bytes:
    buffer = io.BytesIO()
    pictures = [Image.new("L", (8, 8), i % 256) for i in range(frames)]
    pictures[0].save(buffer, "PNG", save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


def _truncations() -> Iterator[Hostile]:
    for image_format, whole in SMALL.items():
        for length in range(0, len(whole), TRUNCATED_EVERY):
            outcomes = codes("empty") if length == 0 else ANY | codes("not_an_image")
            extension = EXTENSIONS[image_format]
            yield Hostile(f"cut-{length:04d}.{extension}", whole[:length], outcomes)


def _wrong_lengths() -> Iterator[Hostile]:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(25 * 8))
    signature, end = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
    for length in (0, 12, 14, 2**31 - 1, 2**32 - 1):
        body = signature + chunk(b"IHDR", header, length=length) + chunk(b"IDAT", pixels) + end
        yield Hostile(f"length-ihdr-{length}.png", body, BROKEN | codes("too_large"))
    for length in (0, len(pixels) - 1, len(pixels) + 1, 2**31 - 1, 2**32 - 1):
        body = signature + chunk(b"IHDR", header) + chunk(b"IDAT", pixels, length=length) + end
        yield Hostile(f"length-idat-{length}.png", body, ANY)
    for number, wrong in enumerate(("IHDR", "IDAT", "IEND")):
        crcs = [0 if i == number else None for i in range(3)]
        body = signature + chunk(b"IHDR", header, crc=crcs[0]) + chunk(b"IDAT", pixels, crc=crcs[1])
        yield Hostile(f"crc-{wrong}.png", body + chunk(b"IEND", b"", crc=crcs[2]), ANY)
    jpeg = SMALL["JPEG"]
    for marker in (0xE0, 0xDB, 0xC0, 0xC4, 0xDA):
        at = jpeg.index(bytes([0xFF, marker]))
        for length in (0, 1, 2, 65_535):
            body = jpeg[: at + 2] + struct.pack(">H", length) + jpeg[at + 4 :]
            yield Hostile(f"length-{marker:02x}-{length}.jpg", body, ANY)
    for name, at in (("riff", 4), ("chunk", 16)):
        for length in (0, 1, 2**31, 2**32 - 1):
            body = SMALL["WEBP"][:at] + struct.pack("<I", length) + SMALL["WEBP"][at + 4 :]
            yield Hostile(f"length-{name}-{length}.webp", body, ANY)
    for offset in (0, 20, 2**31, 2**32 - 1):
        yield Hostile(f"offset-{offset}.bmp", bmp(8, 8, bytes(64), offset=offset), ANY)
    for size in (0, 12, 16, 39, 124, 2**31, 2**32 - 1):
        body = SMALL["BMP"][:14] + struct.pack("<I", size) + SMALL["BMP"][18:]
        yield Hostile(f"header-{size}.bmp", body, ANY | codes("too_large"))
    for bits in (0, 2, 3, 64, 65_535):
        body = SMALL["BMP"][:28] + struct.pack("<H", bits) + SMALL["BMP"][30:]
        yield Hostile(f"bits-{bits}.bmp", body, BROKEN)


def _polyglots() -> Iterator[Hostile]:
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("evil.py", "raise SystemExit")
    yield Hostile("polyglot-zip.jpg", SMALL["JPEG"] + archive.getvalue(), OK)
    yield Hostile("polyglot-zip.png", archive.getvalue(), codes("not_an_image"))
    script = b"*/=1;document.title='owned'//<script>document.title='owned'</script>"
    yield Hostile("polyglot-js.gif", SMALL["GIF"] + script, OK)
    yield Hostile("polyglot-js-size.gif", b"GIF89a/*" + SMALL["GIF"][8:] + script, ANY, pixels=250_000)
    yield Hostile("polyglot-pdf.png", SMALL["PNG"] + b"%PDF-1.7\n1 0 obj<<>>endobj", OK)
    yield Hostile("polyglot-pdf.jpg", b"%PDF-1.7\n" + SMALL["JPEG"], codes("format_not_allowed"))
    yield Hostile("polyglot-php.jpg", jpeg_with(0xFE, b"<?php system('id'); ?>"), OK)
    yield Hostile("polyglot-bmp.bmp", b"BM=1;/*" + SMALL["BMP"][7:], ANY)
    yield Hostile("polyglot-jpeg.gif", SMALL["JPEG"] + SMALL["GIF"], codes("extension_mismatch"))
    yield Hostile("html.jpg", b"<html><script>alert(1)</script>", codes("not_an_image"))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield Hostile("svg.png", svg, codes("not_an_image"))
    yield Hostile("postscript.jpg", b"%!PS-Adobe\n(/etc/passwd) (r) file", codes("not_an_image"))
    yield Hostile("pickle.png", b"\x80\x04cos\nsystem\n(S'true'\ntR.", codes("not_an_image"))
    for promised, held in (("png", "JPEG"), ("jpg", "PNG"), ("tif", "GIF"), ("gif", "WEBP")):
        yield Hostile(f"renamed-{held}.{promised}", SMALL[held], codes("extension_mismatch"))


def _odd_sizes() -> Iterator[Hostile]:
    for image_format, extension in EXTENSIONS.items():
        longest = 16_383 if image_format == "WEBP" else 65_500 if image_format == "JPEG" else 65_535
        for width, height in ((longest, 1), (1, longest), (1, 1)):
            body = encode(Image.new("RGB", (width, height), (200, 30, 30)), image_format)
            yield Hostile(f"size-{width}x{height}.{extension}", body, OK)
    for width, height in ((0, 0), (0, 16), (16, 0)):
        yield Hostile(f"size-{width}x{height}.png", png_header(width, height), BROKEN)
        yield Hostile(f"size-{width}x{height}.jpg", jpeg_header(width, height), BROKEN)
        yield Hostile(f"size-{width}x{height}.gif", gif_header(width, height), ANY)
        yield Hostile(f"size-{width}x{height}.bmp", bmp(width, height, bytes(64)), BROKEN)
        yield Hostile(f"size-{width}x{height}.tif", gray_tiff(bytes(64), width, height, bits=8), BROKEN)
    long = jpeg_header(65_535, 1)
    yield Hostile("size-65535x1-header.jpg", long, ANY)
    yield Hostile("size-1x65535-header.jpg", jpeg_header(1, 65_535), ANY)


def _odd_pixels() -> Iterator[Hostile]:
    yield Hostile("bits-16-gray.png", png(16, 0, bytes(range(128)), 8, 8), OK)
    yield Hostile("bits-16-rgb.png", png(16, 2, bytes(8 * 8 * 6), 8, 8), OK)
    yield Hostile("bits-16-alpha.png", png(16, 6, bytes(8 * 8 * 8), 8, 8), OK)
    short = (b"PLTE", bytes([255, 0, 0, 0, 255, 0]))
    yield Hostile("palette-short.png", png(8, 3, bytes([255] * 64), 8, 8, short), ANY)
    yield Hostile("palette-missing.png", png(8, 3, bytes(64), 8, 8), ANY)
    yield Hostile("palette-odd.png", png(8, 3, bytes(64), 8, 8, (b"PLTE", bytes(7))), ANY)
    yield Hostile("palette-huge.png", png(8, 3, bytes(64), 8, 8, (b"PLTE", bytes(3 * 5000))), ANY)
    yield Hostile("transparency-long.png", png(8, 3, bytes(64), 8, 8, short, (b"tRNS", bytes(900))), ANY)
    yield Hostile("transparency-empty.png", png_with((b"tRNS", b"")), ANY)
    yield Hostile("color-type-5.png", png(8, 5, bytes(64), 8, 8), BROKEN)
    yield Hostile("bits-7.png", png(7, 0, bytes(64), 8, 8), BROKEN)
    short_bmp = bytearray(bmp(8, 8, bytes([255] * 64)))
    short_bmp[46:50] = struct.pack("<I", 2)
    yield Hostile("palette-short.bmp", bytes(short_bmp), ANY)
    yield Hostile("palette-4-billion.bmp", bytes(short_bmp[:46]) + b"\xff" * 4 + bytes(short_bmp[50:]), ANY)
    inks = PICTURE.convert("CMYK")
    yield Hostile("cmyk.jpg", encode(inks, "JPEG"), OK)
    yield Hostile("cmyk-adobe.jpg", _adobe(encode(inks, "JPEG")), OK)
    yield Hostile("cmyk.tif", encode(inks, "TIFF"), OK)
    for mode in ("F", "I"):
        body = encode(Image.new(mode, (8, 8)), "TIFF")
        yield Hostile(f"mode-{mode}.tif", body, codes("unsupported_mode"))
    yield Hostile("mode-LAB.tif", encode(Image.new("LAB", (8, 8)), "TIFF"), codes("unsupported_mode"))
    yield Hostile("nan.tif", gray_tiff(b"\xff" * 256, 8, 8, bits=32, kind=3), codes("unsupported_mode"))
    for body, name in ((b"\x0c" * 3000, "0c"), (np.random.default_rng(5).bytes(3000), "noise")):
        start = SMALL["GIF"][: SMALL["GIF"].index(b",") + 11]
        yield Hostile(f"lzw-{name}.gif", start + b"\xff" + body[:255] + b"\0;", ANY)
        yield Hostile(f"deflate-{name}.png", png_with()[:33] + chunk(b"IDAT", body), BROKEN)


def _adobe(jpeg: bytes) -> bytes:
    marker = b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 2)
    return jpeg[:2] + struct.pack(">BBH", 0xFF, 0xEE, len(marker) + 2) + marker + jpeg[2:]


def _garbage_metadata() -> Iterator[Hostile]:
    noise = np.random.default_rng(3).bytes
    yield Hostile("icc-noise.jpg", jpeg_with(0xE2, b"ICC_PROFILE\0\x01\x02" + noise(60_000)), OK)
    yield Hostile("icc-255-parts.jpg", jpeg_with(0xE2, *[b"ICC_PROFILE\0\xff\xff" + noise(9)] * 300), OK)
    yield Hostile("icc-noise.png", png_with((b"iCCP", b"icc\0\0" + zlib.compress(noise(5000)))), OK)
    yield Hostile("icc-not-zlib.png", png_with((b"iCCP", b"icc\0\0" + noise(500))), ANY)
    yield Hostile("icc-noise.tif", encode(PICTURE, "TIFF", icc_profile=noise(3000)), OK)
    for orientation in (0, 9, 255, 65_535):
        block = exif((274, 3, 1, orientation))
        yield Hostile(f"exif-orientation-{orientation}.jpg", jpeg_with(0xE1, b"Exif\0\0" + block), OK)
        yield Hostile(f"exif-orientation-{orientation}.png", png_with((b"eXIf", block)), OK)
    huge = 2**32 - 1
    blocks = {
        "empty": b"",
        "noise": noise(2000),
        "own-successor": exif((274, 3, 1, 6), following=8),
        "pointer-cycle": exif((274, 3, 1, 6), (34_665, 4, 1, 8), (34_853, 4, 1, 8)),
        "offset-outside": b"II*\0\xff\xff\xff\xff",
        "count-4-billion": exif((274, 3, huge, 8)),
        "wrong-type": exif((274, 2, 40, 8)),
        "rational-orientation": exif((274, 5, 1, 8)),
        "zero-denominator": exif((282, 5, 1, 26), tail=bytes(8)),
        "wrong-order": b"XX*\0\x08\0\0\0" + ifd((274, 3, 1, 6)),
        "overlapping": exif(*((1000 + i, 1, 60_000, 8) for i in range(5000)), tail=b"x" * 100),
    }
    for name, block in blocks.items():
        yield Hostile(f"exif-{name}.jpg", jpeg_with(0xE1, b"Exif\0\0" + block), OK)
        yield Hostile(f"exif-{name}.png", png_with((b"eXIf", block)), OK)
        yield Hostile(f"exif-{name}.webp", _webp_exif(block), OK)
    many = exif(*((1000 + i, 1, 3_000_000, 8) for i in range(60_000)), tail=bytes(3_000_000))
    yield Hostile("exif-megabytes.png", png_with((b"eXIf", many)), OK)
    parts = [b"Exif\0\0" + many[i : i + 65_000] for i in range(0, len(many), 65_000)]
    yield Hostile("exif-megabytes.jpg", jpeg_with(0xE1, *parts), OK)
    xmp = b'<x:xmpmeta tiff:Orientation="%s">' % (b"9" * 10_000)
    yield Hostile("xmp-orientation.jpg", jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp), OK)
    entities = b"<!DOCTYPE l [" + b"".join(
        b'<!ENTITY l%d "&l%d;&l%d;">' % (i, i - 1, i - 1) for i in range(40)
    )
    yield Hostile("xmp-entities.png", png_with((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + entities)), OK)
    raw = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 9999999\n" + b"zz" * 500)
    yield Hostile("exif-raw-profile.png", png_with((b"zTXt", raw)), OK)
    yield Hostile("photoshop-resources.jpg", jpeg_with(0xED, b"Photoshop 3.0\x008BIM" + noise(500)), OK)
    yield Hostile("density-0.jpg", jpeg_with(0xE0, b"JFIF\0\x01\x01\x01\0\0\0\0\0\0"), OK)
    yield Hostile("comment.gif", SMALL["GIF"][:-1] + b"\x21\xfe\x05<img>\0;", OK)


def _webp_exif(block: bytes) -> bytes:
    return encode(PICTURE, "WEBP", exif=block) if block else encode(PICTURE, "WEBP")


def _nested() -> Iterator[Hostile]:
    yield Hostile("several.mpo", encode(PICTURE, "MPO", save_all=True, append_images=[PICTURE] * 20), OK)
    index = jpeg_with(0xE2, b"MPF\0II*\0\x08\0\0\0" + ifd((0xB001, 4, 1, 2**31), (0xB002, 7, 2**31, 8)))
    yield Hostile("index-garbage.mpo", index, OK)
    yield Hostile("jpeg-inside.tif", encode(PICTURE, "TIFF", compression="jpeg"), OK)
    yield Hostile("png-inside.bmp", bmp(16, 12, SMALL["PNG"], bits=24, compression=5), BROKEN)
    yield Hostile("jpeg-inside.bmp", bmp(16, 12, SMALL["JPEG"], bits=24, compression=4), BROKEN)
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 12, 0, 0, 1, 32, len(SMALL["PNG"]), 22) + SMALL["PNG"]
    yield Hostile("icon.png", icon, codes("format_not_allowed"))
    yield Hostile("thumbnail.jpg", jpeg_with(0xE1, b"Exif\0\0" + exif() + SMALL["JPEG"] * 20), OK)
    box = b"\0\0\0\x20ftypavif" + bytes(20)
    yield Hostile("avif.jpg", box, codes("format_not_allowed"))


# --- decoding all of them in one process


def main() -> None:
    """Decode the corpus; a line of JSON for each file: its outcome, seconds and rise of memory, bytes."""
    decode_to_canvas(SMALL["PNG"], CANVAS)
    for case in corpus():
        before = _reset_peak()
        started = time.perf_counter()
        outcome = decode(case)
        spent_s, risen = time.perf_counter() - started, _status("VmHWM") - before
        line = {"name": case.name, "outcome": outcome, "seconds": round(spent_s, 3), "risen_bytes": risen}
        print(json.dumps(line), flush=True)


def decode(case: Hostile) -> str:
    try:
        decode_to_canvas(case.body, CANVAS, limits=LIMITS, name=case.name)
    except ImageError as error:
        return error.code
    return "ok"


def _reset_peak() -> int:
    """Set the process's peak of resident memory back; returns what is resident, bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


if __name__ == "__main__":
    main()
