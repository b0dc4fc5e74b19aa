"""Pascal VOC: an XML an image, lists of names in `ImageSets/Main`.

VOC counts pixels from 1 and includes the last one: `xmin = 1, xmax = 640` is all of a row of 640. Here boxes
are edges, so x1 = xmin - 1 and x2 = xmax; going there and back changes nothing.

XML comes from others, so documents with a DOCTYPE, which entities need, are refused.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from cvcore.datasets.drafts import Draft, Look, finish_records, join_drafts
from cvcore.datasets.files import Files, inner_name, is_image
from cvcore.datasets.problems import ProblemLog
from cvcore.datasets.records import BoxDataset
from cvcore.datasets.voc_values import (
    DECIMALS,
    NESTED_IN_IMAGE,
    NESTED_IN_OBJECT,
    read_attributes,
    read_values,
)

ANNOTATIONS, IMAGES, SETS = "Annotations", "JPEGImages", "ImageSets/Main"
FLAGS = ("truncated", "difficult")
_IMAGE_FOLDERS = (IMAGES, "images")


@dataclass(frozen=True, slots=True)
class VocObject:
    """One `object`: its class, xyxy edges in pixels, and the rest."""

    label: str
    box: tuple[float, float, float, float]
    attributes: dict[str, object]


@dataclass(frozen=True, slots=True)
class VocAnnotation:
    """One XML: `size` is (width, height), None where it is not stated."""

    file_name: str
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]
    details: dict[str, object]
    wrong: tuple[str, ...] = ()


def parse_annotation(body: bytes) -> VocAnnotation:
    """Read one XML; objects that are malformed are left out and said in `wrong`.

    Raises:
        ValueError: if it is no annotation, is not well formed, or has a DOCTYPE.
    """
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except ParseError as error:
        raise ValueError(f"it is no well-formed XML: {error}") from error
    except DefusedXmlException as error:
        raise ValueError(
            "it has a DOCTYPE, which annotations do not need and which may hide a bomb"
        ) from error
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag[:40]}>, not <annotation>")
    details = read_values(root, NESTED_IN_IMAGE)
    objects, wrong = [], []
    for number, element in enumerate(root.findall("object"), start=1):
        try:
            objects.append(_object(element))
        except ValueError as error:
            wrong.append(f"object {number}: {error}")
    return VocAnnotation(
        (root.findtext("filename") or "").strip(),
        _size(root),
        tuple(objects),
        {**read_attributes(root), **({"voc": details} if details else {})},
        tuple(wrong),
    )


def _size(root: Element) -> tuple[int, int] | None:
    try:
        width, height = (int(float(root.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _object(element: Element) -> VocObject:
    label = (element.findtext("name") or "").strip()
    if not label:
        raise ValueError("it has no <name>")
    x1, y1, x2, y2 = (_corner(element, name) for name in ("xmin", "ymin", "xmax", "ymax"))
    attributes = read_attributes(element)
    for flag in FLAGS:
        stated = (element.findtext(flag) or "0").strip() not in ("0", "", "false", "False")
        if attributes.pop(flag, stated):
            attributes[flag] = True
    rest = read_values(element, NESTED_IN_OBJECT)
    if rest:
        attributes["voc"] = rest
    return VocObject(label, (round(x1 - 1, DECIMALS), round(y1 - 1, DECIMALS), x2, y2), attributes)


def _corner(element: Element, name: str) -> float:
    text = element.findtext(f"bndbox/{name}")
    try:
        return float(text or "")
    except ValueError as error:
        raise ValueError(f"<{name}> is {text!r}, not a number") from error


class VocReader:
    """All annotations of a folder, each read once.

    Without `names`, labels are the names of all objects of all annotations, sorted: the same in each split.
    """

    def __init__(self, files: Files, names: Sequence[str]) -> None:
        self._files = files
        self._names = tuple(names)
        self._images = {
            str(PurePosixPath(name).with_suffix("")): name
            for folder in reversed(_IMAGE_FOLDERS)
            for name in files.below(folder)
            if is_image(name)
        }
        self._parsed: dict[str, VocAnnotation | str] | None = None

    @property
    def annotations(self) -> dict[str, VocAnnotation | str]:
        """By stem, sorted; a text where one is malformed, saying why."""
        if self._parsed is None:
            names = [name for name in self._files.below(ANNOTATIONS) if name.lower().endswith(".xml")]
            stems = [str(PurePosixPath(name).relative_to(ANNOTATIONS).with_suffix("")) for name in names]
            self._parsed = dict(zip(stems, self._files.map(self._parse, names), strict=True))
        return self._parsed

    def _parse(self, name: str) -> VocAnnotation | str:
        try:
            return parse_annotation(self._files.read(name))
        except ValueError as error:
            return f"{name}: {error}"

    @property
    def labels(self) -> tuple[str, ...]:
        if self._names:
            return self._names
        parsed = (each for each in self.annotations.values() if isinstance(each, VocAnnotation))
        return tuple(sorted({found.label for each in parsed for found in each.objects}))

    def read(self, lines: Sequence[str] | None, *, log: ProblemLog, look: Look) -> BoxDataset:
        """Read and check the images of a list's lines, or all that have an annotation."""
        labels = self.labels
        index = {label: k for k, label in enumerate(labels)}
        drafts = []
        known = self.annotations
        for stem in list(known) if lines is None else _listed_stems(lines, known):
            draft = self._draft(stem, index, log)
            if draft is not None:
                drafts.append(draft)
        records = finish_records(
            join_drafts(drafts, log), num_labels=len(labels), files=self._files, log=log, look=look
        )
        return BoxDataset(records, labels)

    def _draft(self, stem: str, index: dict[str, int], log: ProblemLog) -> Draft | None:
        if inner_name(stem) is None:
            log.add("name_outside", repr(stem))
            return None
        found = self.annotations.get(stem)
        if found is None:
            log.add("annotation_missing", f"{ANNOTATIONS}/{stem}.xml")
            return None
        if isinstance(found, str):
            log.add("malformed", found)
            return None
        for text in found.wrong:
            log.add("malformed", f"{ANNOTATIONS}/{stem}.xml: {text}")
        name = self._image_name(stem, found.file_name)
        if name is None:
            log.add("name_outside", f"{ANNOTATIONS}/{stem}.xml: {found.file_name!r}")
            return None
        draft = Draft(name, found.size, details=dict(found.details))
        for each in found.objects:
            if each.label in index:
                draft.add(each.box, index[each.label], dict(each.attributes))
            else:
                log.add("class_unknown", f"{ANNOTATIONS}/{stem}.xml: {each.label!r}")
        return draft

    def _image_name(self, stem: str, file_name: str) -> str | None:
        """The image named as the annotation is; else the one that it names; None if that leads out."""
        for folder in _IMAGE_FOLDERS:
            if f"{folder}/{stem}" in self._images:
                return self._images[f"{folder}/{stem}"]
        if not file_name:
            return f"{IMAGES}/{stem}.jpg"
        return None if inner_name(file_name) is None else inner_name(IMAGES, file_name)


def _listed_stems(lines: Iterable[str], known: Container[str]) -> list[str]:
    """Lines of a list, which are names; in a class's lists, a column says that it is there, 1, or not, -1."""
    found = []
    for line in lines:
        name, _, flag = line.rpartition(" ")
        if line in known or flag not in ("-1", "0", "1"):
            found.append(line)
        elif flag != "-1":
            found.append(name.rstrip())
    return found
