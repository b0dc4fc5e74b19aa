"""`dataset.yaml`, or Ultralytics' `data.yaml`: where splits are, and what classes are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cvcore.datasets.files import inner_name
from cvcore.datasets.splits import SPLITS
from cvcore.errors import SpecError, did_you_mean

Format = Literal["coco", "voc", "yolo", "folders"]
FORMATS: tuple[Format, ...] = get_args(Format)
DESCRIPTION_NAMES = ("dataset.yaml", "data.yaml")


@dataclass(frozen=True, slots=True)
class Description:
    """What such a file says.

    Attributes:
        path: of the dataset, as seen from the file; None for the file's own folder.
        splits: entries by split: folders, lists of images, COCO documents, or names of VOC's image sets.
        names: of the classes, by id; empty where they are not said.
        format: None where it is not said.
    """

    path: str | None = None
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    format: Format | None = None


def parse_description(content: Mapping[str, Any], name: str) -> Description:
    """Read what was YAML; keys that are not known are another program's, and nothing in them is followed.

    Raises:
        SpecError: for entries of the wrong kind, that lead out of the dataset's folder, or unknown formats.
    """
    path = content.get("path")
    if path is not None and not isinstance(path, str):
        raise SpecError(f"{name}: path is {path!r}; it is the folder of the dataset")
    named = content.get("format")
    if named is not None and named not in FORMATS:
        raise SpecError(
            f"{name}: there is no format {named!r}.{did_you_mean(str(named), FORMATS)} "
            f"Formats: {', '.join(FORMATS)}."
        )
    splits = {split: _entries(content[split], split, name) for split in SPLITS if content.get(split)}
    names = _names(content.get("names"), name)
    number = content.get("nc")
    if names and isinstance(number, int) and number != len(names):
        raise SpecError(f"{name}: nc is {number}, and names has {len(names)} of them")
    return Description(path, splits, names, named)


def _entries(value: Any, split: str, name: str) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) and entry for entry in entries):
        raise SpecError(
            f"{name}: {split} is {value!r}; it is a folder or file of the dataset, or a list of them"
        )
    inner = [inner_name(entry) for entry in entries]
    # Some exports count from the folder beside the one that they mean.
    inner = [
        each or inner_name(entry.removeprefix("../")) for each, entry in zip(inner, entries, strict=True)
    ]
    if None in inner:
        raise SpecError(
            f"{name}: {split} is {value!r}, outside of the dataset's folder: set path to the folder, and "
            "name what is below it"
        )
    return tuple("" if each == "." else each for each in inner if each is not None)


def _names(value: Any, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise SpecError(f"{name}: the ids of names must be 0 to {len(value) - 1}, got {list(value)[:20]}")
        value = [value[k] for k in range(len(value))]
    if not isinstance(value, list) or not all(isinstance(each, (str, int, float)) for each in value):
        raise SpecError(f"{name}: names is a list of names, or a map of ids to names")
    names = tuple(str(each) for each in value)
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise SpecError(f"{name}: names must differ from each other; {', '.join(twice)} is there twice")
    return names
