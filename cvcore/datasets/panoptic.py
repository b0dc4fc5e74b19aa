"""COCO panoptic: a PNG an image, whose colours are ids of segments, and a document that gives their classes.

A pixel of colour R, G, B is of the segment R + 256 G + 256² B; 0 is of none. https://cocodataset.org/#format-data
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cvcore.datasets.mask_files import IGNORED, MAX_PIXELS, Mask, open_mask, voc_palette
from cvcore.errors import ImageError

ID_BYTES = 4
_BASES = (1, 256, 256**2)

SegmentIds = npt.NDArray[np.int32]


def read_segment_ids(data: bytes, *, name: str) -> SegmentIds:
    """The segment of each pixel of a PNG, (H, W).

    Raises:
        ImageError: `corrupt` for what cannot be decoded, `unsupported` for a PNG that is not of RGB,
            `too_large` for more pixels than fit into what a mask may take.
    """
    try:
        with open_mask(data) as image:
            if image.width * image.height > MAX_PIXELS // ID_BYTES:
                raise ImageError("too_large", f"{name}: {image.width}x{image.height} pixels")
            if image.mode not in ("RGB", "RGBA"):
                raise ImageError(
                    "unsupported", f"{name} is of mode {image.mode}: segments are colours of an RGB PNG"
                )
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError("corrupt", f"{name} cannot be decoded: {error}") from error
    found: SegmentIds = np.zeros(pixels.shape[:2], np.int32)
    for channel, base in enumerate(_BASES):
        found += base * pixels[..., channel].astype(np.int32)
    return found


def class_map(ids: SegmentIds, segments: Mapping[int, int]) -> tuple[Mask, list[int]]:
    """Class ids of segments, (H, W), and the segments that have no class; those are `IGNORED`, as is 0."""
    known, places = np.unique(ids, return_inverse=True)
    classes = np.array([segments.get(key, IGNORED) for key in known.tolist()], np.uint8)
    return classes[places].reshape(ids.shape), [k for k in known.tolist() if k and k not in segments]


def segments_of(classes: Mask, *, num_classes: int) -> list[dict[str, Any]]:
    """COCO's `segments_info` of a map, (H, W) class ids: a segment a class that is there; others are void.

    The id of class k is Pascal VOC's colour k + 1, which can be looked at.
    """
    found = []
    for label_id in np.unique(classes[classes < num_classes]).tolist():
        rows, columns = np.nonzero(classes == label_id)
        left, top = int(columns.min()), int(rows.min())
        found.append(
            {
                "id": int(np.dot(voc_palette()[label_id + 1].astype(int), _BASES)),
                "category_id": label_id + 1,
                "area": len(rows),
                "bbox": [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top],
                "iscrowd": 0,
            }
        )
    return found


def encode_segments(classes: Mask, *, num_classes: int) -> bytes:
    """The PNG of a map, (H, W) class ids, whose segments are `segments_of`."""
    colours = np.zeros((256, 3), np.uint8)
    colours[:num_classes] = voc_palette()[1 : num_classes + 1]
    body = io.BytesIO()
    Image.fromarray(colours[classes]).save(body, "PNG")
    return body.getvalue()


def panoptic_categories(labels: Sequence[str]) -> list[dict[str, Any]]:
    """Of `segments_of`: no class is a thing."""
    return [
        {"id": k + 1, "name": label, "isthing": 0, "color": voc_palette()[k + 1].tolist()}
        for k, label in enumerate(labels)
    ]


def panoptic_document_of(
    images: Iterable[tuple[str, int, int, Sequence[Mapping[str, Any]]]], labels: Sequence[str]
) -> bytes:
    """A document: name, height and width of images with their segments; a PNG is called as its image."""
    stated, annotations = [], []
    for image_id, (name, height, width, segments) in enumerate(images, start=1):
        stated.append({"id": image_id, "file_name": name, "height": height, "width": width})
        png = str(PurePosixPath(name).with_suffix(".png"))
        annotations.append({"image_id": image_id, "file_name": png, "segments_info": list(segments)})
    content = {"images": stated, "annotations": annotations, "categories": panoptic_categories(labels)}
    return json.dumps(content).encode()
