"""Reading COCO instances, as `jobs.export.coco` and other tools write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvcore.datasets.coco import parse_document
from cvcore.errors import SpecError
from cvcore.ops.masks import segmentation_rle
from jobs.imports.given import Box, Given, GivenBox, Place, number_of, whole


def read_coco(place: Place) -> list[Given]:
    """Images of a document with their annotations.

    Raises:
        SpecError: if it is no COCO instances document, or an annotation is of no image or category of it.
    """
    uri, body = place.document("annotations.json", ".json")
    document = parse_document(body, uri)
    try:
        names = {int(each["id"]): str(each["name"]) for each in document["categories"]}
        images = {int(each["id"]): _image(each) for each in document["images"]}
        for annotation in document["annotations"]:
            given = images[int(annotation["image_id"])]
            given.boxes.append(_box(annotation, names[int(annotation["category_id"])], given))
    except KeyError as error:
        raise SpecError(f"{uri}: an annotation names {error}, which the document does not have") from error
    except (TypeError, ValueError) as error:
        raise SpecError(f"{uri} is not a COCO instances document: {error}") from error
    return list(images.values())


def _image(image: Mapping[str, Any]) -> Given:
    width, height = whole(image.get("width")), whole(image.get("height"))
    size = (width, height) if width and height else None
    return Given(str(image["file_name"]), size=size, uri=image.get("uri"), uri_frame=image.get("frame_index"))


def _box(annotation: Mapping[str, Any], label: str, given: Given) -> GivenBox:
    x, y, width, height = map(float, annotation["bbox"])
    box: Box = (x, y, x + width, y + height)
    return GivenBox(
        label,
        box,
        number_of(annotation.get("score")),
        whole(annotation.get("number")),
        whole(annotation.get("track_id")),
        _mask(annotation.get("segmentation"), given.size),
    )


def _mask(segmentation: Any, size: tuple[int, int] | None) -> dict[str, Any] | None:
    """A segmentation in any of COCO's three forms as compressed RLE; None for none."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        height, width = map(int, segmentation["size"])
    elif size is None:
        raise ValueError("a polygon needs the width and height of its image")
    else:
        width, height = size
    return segmentation_rle(segmentation, height=height, width=width)
