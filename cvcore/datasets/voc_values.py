"""What VOC's XML holds beside boxes, as plain values, and back.

Elements that are not known are kept as texts, mappings of them, and lists where a tag repeats. What other
formats know goes into `<attributes>`, as CVAT writes them: `<attribute><name/><value/></attribute>`, with the
value as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from cvcore.errors import SpecError

DECIMALS = 9
MAX_DEPTH = 16
NESTED_IN_IMAGE = frozenset({"filename", "object", "attributes", "size"})
NESTED_IN_OBJECT = frozenset({"name", "truncated", "difficult", "bndbox", "attributes"})

_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
DEFAULTS = {"pose": "Unspecified", "folder": "JPEGImages", "segmented": "0", "depth": "3"}
"""What is written where nothing else is known."""

Value = str | dict[str, Any] | list[Any]


def read_values(element: Element, known: frozenset[str]) -> dict[str, Any]:
    """The children of an element that are neither `known` nor as `DEFAULTS` has them.

    Raises:
        ValueError: if elements are nested more deeply than annotations are.
    """
    found = _children([child for child in element if child.tag not in known], 0)
    depth = element.findtext("size/depth")
    if depth is not None:
        found["depth"] = depth.strip()
    return {tag: value for tag, value in found.items() if DEFAULTS.get(tag) != value}


def _children(children: list[Element], depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise ValueError(f"its elements are nested more than {MAX_DEPTH} deep")
    found: dict[str, Any] = {}
    for child in children:
        value: Value = _children(list(child), depth + 1) if len(child) else (child.text or "").strip()
        if child.tag not in found:
            found[child.tag] = value
        elif isinstance(found[child.tag], list):
            found[child.tag].append(value)
        else:
            found[child.tag] = [found[child.tag], value]
    return found


def write_values(parent: Element, values: Mapping[str, Any]) -> None:
    """The inverse of `read_values`; raises `SpecError` for keys that are no names of elements."""
    for tag, value in values.items():
        if not _TAG.fullmatch(tag):
            raise SpecError(f"{tag!r} cannot be the name of an XML element: take it out of `voc`")
        for each in value if isinstance(value, list) else [value]:
            child = SubElement(parent, tag)
            if isinstance(each, dict):
                write_values(child, each)
            else:
                child.text = str(each)


def read_attributes(element: Element) -> dict[str, Any]:
    """What `<attributes>` holds; a value that is no JSON is a text."""
    found: dict[str, Any] = {}
    for each in element.findall("attributes/attribute"):
        name, text = each.findtext("name"), each.findtext("value") or ""
        if name:
            try:
                found[name] = json.loads(text)
            except (ValueError, RecursionError):
                found[name] = text
    return found


def write_attributes(parent: Element, values: Mapping[str, Any]) -> None:
    """The inverse of `read_attributes`; none at all for no values."""
    if not values:
        return
    holder = SubElement(parent, "attributes")
    for name, value in values.items():
        attribute = SubElement(holder, "attribute")
        SubElement(attribute, "name").text = name
        SubElement(attribute, "value").text = json.dumps(value)
