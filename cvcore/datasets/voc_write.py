"""Writing Pascal VOC's XML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from cvcore.datasets.records import ImageRecord
from cvcore.datasets.voc import FLAGS
from cvcore.datasets.voc_values import DECIMALS, DEFAULTS, write_attributes, write_values


def annotation_xml(image: ImageRecord, labels: Sequence[str], *, file_name: str) -> bytes:
    """The XML of one image; `file_name` is the image's below `JPEGImages`."""
    root = Element("annotation")
    known = {**_defaults("folder", "segmented", "depth"), **_voc(image.details)}
    depth = known.pop("depth")
    SubElement(root, "folder").text = str(known.pop("folder"))
    SubElement(root, "filename").text = PurePosixPath(file_name).name
    size = SubElement(root, "size")
    for tag, value in (("width", image.width), ("height", image.height), ("depth", depth)):
        SubElement(size, tag).text = str(value)
    write_values(root, known)
    write_attributes(root, {key: value for key, value in image.details.items() if key != "voc"})
    for box, label_id, facts in zip(image.boxes.tolist(), image.label_ids, image.attributes, strict=True):
        _write_object(root, box, labels[int(label_id)], facts)
    indent(root)
    body: bytes = tostring(root, encoding="utf-8")
    return body + b"\n"


def _write_object(root: Element, box: Sequence[float], label: str, facts: Mapping[str, Any]) -> None:
    element = SubElement(root, "object")
    SubElement(element, "name").text = label
    write_values(element, {**_defaults("pose"), **_voc(facts)})
    more = {key: value for key, value in facts.items() if key not in ("voc", *FLAGS)}
    flags = {flag: bool(facts.get(flag)) for flag in FLAGS}
    if facts.get("crowd") and not flags["difficult"]:
        # VOC's evaluation passes over difficult objects as COCO's does over crowds.
        flags["difficult"], more["difficult"] = True, False
    for flag, is_set in flags.items():
        SubElement(element, flag).text = str(int(is_set))
    corners = SubElement(element, "bndbox")
    for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), (box[0] + 1, box[1] + 1, *box[2:]), strict=True):
        SubElement(corners, tag).text = _number(value)
    write_attributes(element, more)


def _voc(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    found = holder.get("voc", {})
    return found if isinstance(found, dict) else {}


def _defaults(*tags: str) -> dict[str, Any]:
    return {tag: DEFAULTS[tag] for tag in tags}


def _number(value: float) -> str:
    """Whole pixels as VOC has them; others to nine decimals."""
    return str(int(value)) if value == int(value) else repr(round(value, DECIMALS))
