"""Reading CVAT's XML, of images and of videos."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from cvcore.errors import SpecError
from jobs.imports.given import Given, GivenBox, Place, extent, number_of, one_rle, whole


def read_cvat(place: Place) -> list[Given]:
    """Images with their shapes, and frames with the boxes of their tracks.

    Raises:
        SpecError: if there is no such XML, or it has shapes that are neither boxes, polygons nor masks.
    """
    documents = place.files(".xml")
    if not documents:
        raise SpecError(f"there is no CVAT XML (.xml) at or below {place.uri}")
    found = []
    for uri in documents:
        root = _parse(uri, place.store.read(uri))
        try:
            found += [_image(each) for each in root.iter("image")]
            if root.find("track") is not None:
                found += _frames(root, place.below(uri).removeprefix("videos/").removesuffix(".xml"))
        except (KeyError, TypeError, ValueError) as error:
            raise SpecError(f"{uri}: {error!r}") from error
    return found


def _parse(uri: str, body: bytes) -> Element:
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException) as error:
        raise SpecError(f"{uri} is no XML that is read here: {error!r}") from error
    if root.tag != "annotations":
        raise SpecError(f"{uri} is not CVAT's: its root is <{root.tag[:40]}>, not <annotations>")
    return root


def _image(image: Element) -> Given:
    given = Given(image.attrib["name"], size=(int(image.attrib["width"]), int(image.attrib["height"])))
    masks = {_group(each): each for each in image.findall("mask") if _group(each)}
    for shape in image.findall("box"):
        mask = masks.pop(_group(shape), None)
        given.boxes.append(_box(shape, shape.attrib["label"], None if mask is None else _mask(mask, given)))
    for shape in image.findall("polygon"):
        points = [_point(pair) for pair in shape.attrib["points"].split(";")]
        given.boxes.append(GivenBox(shape.attrib["label"], extent(points), outline=points))
    lone = [each for each in image.findall("mask") if not _group(each) or _group(each) in masks]
    for shape in lone:
        values = {key: float(shape.attrib[key]) for key in ("left", "top", "width", "height")}
        corner = (values["left"] + values["width"], values["top"] + values["height"])
        box = (values["left"], values["top"], *corner)
        given.boxes.append(GivenBox(shape.attrib["label"], box, mask=_mask(shape, given)))
    return given


def _group(shape: Element) -> int:
    return whole(shape.attrib.get("group_id")) or 0


def _point(pair: str) -> tuple[float, float]:
    x, y = map(float, pair.split(","))
    return x, y


def _box(shape: Element, label: str, mask: dict[str, Any] | None = None) -> GivenBox:
    if number_of(shape.attrib.get("rotation")):
        raise ValueError(f"a box is rotated by {shape.attrib['rotation']} degrees, and boxes here are not")
    noted = {each.attrib["name"]: each.text for each in shape.findall("attribute")}
    x0, y0, x1, y1 = (float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    score, number = number_of(noted.get("score")), whole(noted.get("number"))
    return GivenBox(label, (x0, y0, x1, y1), score, number, whole(noted.get("track_id")), mask)


def _mask(shape: Element, given: Given) -> dict[str, Any]:
    """Runs of 0 and 1 in turn, by rows of the mask's own extent."""
    assert given.size is not None
    left, top, width, height = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
    runs = [int(text) for text in shape.attrib["rle"].split(",")]
    inside = 0 <= left <= left + width <= given.size[0] and 0 <= top <= top + height <= given.size[1]
    if not inside or min(runs) < 0 or sum(runs) != width * height:
        raise ValueError(f"the runs of a mask do not fill its {width} x {height} pixels in the image")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask = np.zeros((given.size[1], given.size[0]), bool)
    mask[top : top + height, left : left + width] = flat.reshape(height, width)
    return one_rle(mask)


def _frames(root: Element, name: str) -> list[Given]:
    """Of a video: frames that a track is seen in; between two keyframes boxes are those that CVAT shows."""
    frames: dict[int, Given] = {}
    for track in root.findall("track"):
        for shape in track.findall("box"):
            if shape.attrib.get("outside") == "1":
                continue
            frame = int(shape.attrib["frame"])
            given = frames.setdefault(frame, Given(name, frame))
            given.boxes.append(_box(shape, track.attrib["label"]))
    return [frames[frame] for frame in sorted(frames)]
