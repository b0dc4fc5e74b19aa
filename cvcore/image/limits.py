"""What an image may be; checked against its header before a pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ImageFormat = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
FORMATS: tuple[ImageFormat, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Bounds on one image.

    Attributes:
        max_pixels: width times height, as the header states them.
        max_bytes: of the encoded file.
        formats: the allow-list, a subset of `FORMATS`.
        extension_mismatch: whether content of another format than the name's extension says is refused.
    """

    max_pixels: int = 100_000_000
    max_bytes: int = 256 * 2**20
    formats: tuple[ImageFormat, ...] = FORMATS
    extension_mismatch: Literal["fail", "allow"] = "fail"

    def __post_init__(self) -> None:
        if self.max_pixels < 1 or self.max_bytes < 1:
            raise ValueError(
                f"limits must be at least 1, got {self.max_pixels} px and {self.max_bytes} bytes"
            )
        unknown = sorted(set(self.formats) - set(FORMATS))
        if unknown or not self.formats:
            raise ValueError(f"formats must be some of {', '.join(FORMATS)}, got {self.formats}")
        if self.extension_mismatch not in ("fail", "allow"):
            raise ValueError(f"extension_mismatch must be 'fail' or 'allow', got {self.extension_mismatch!r}")
