"""Finding out how a folder is laid out, from the names of its files alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cvcore.datasets.description import FORMATS, Description, Format
from cvcore.datasets.files import is_image
from cvcore.datasets.splits import ALIASES, SPLITS
from cvcore.datasets.voc import ANNOTATIONS, SETS
from cvcore.errors import SpecError

DOCUMENT = "annotations.json"
ROBOFLOW_DOCUMENT = "_annotations.coco.json"
_YEAR = re.compile(r"\d*$")
_LAYOUTS = (
    "annotations.json or annotations/instances_*.json with images/ (coco), Annotations/ with JPEGImages/ "
    "(voc), images/ with labels/ (yolo), or a folder of images a class (folders)"
)

Entries = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are.

    Attributes:
        format: of the annotations.
        splits: by name, in the order train, val, test: COCO's document, VOC's list, YOLO's folders and
            lists, or the folder that holds the classes'; empty where there are none.
        whole: likewise of everything; empty where the splits are all there is.
        names: labels as a description has them, or empty.
    """

    format: Format
    splits: Mapping[str, Entries]
    whole: Entries
    names: tuple[str, ...] = ()


def find_layout(names: Sequence[str], description: Description) -> Layout:
    """The layout of a folder.

    Args:
        names: of its files, paths inside it, sorted.
        description: what is said of it, if anything.

    Raises:
        SpecError: if it is none of the layouts, or more than one and it is not said which.
    """
    wanted = description.format
    documents = any(e.endswith(".json") for entries in description.splits.values() for e in entries)
    if wanted is None and documents:
        wanted = "coco"
    found: dict[Format, Layout] = {}
    for each in FORMATS:
        if (place := _find(each, names, description.names)) is not None:
            found[each] = place
    if len(found) > 1 and "folders" in found:
        del found["folders"]
    if wanted is None and "yolo" in found and description.names:
        wanted = "yolo"
    if wanted is None and len(found) > 1:
        raise SpecError(
            f"the folder holds annotations of more than one format: {', '.join(found)}. Say which in a "
            "dataset.yaml beside them: `format: coco`"
        )
    if wanted is None and not found:
        raise SpecError(f"the folder is no dataset: it needs {_LAYOUTS}; it has {_what_is_there(names)}")
    chosen = next(iter(found)) if wanted is None else wanted
    layout = found.get(chosen) or _find(chosen, names, description.names)
    if not description.splits:
        if layout is None:
            raise SpecError(f"the folder does not hold {chosen} annotations: it has {_what_is_there(names)}")
        return layout
    splits = {split: _resolved(chosen, e, names, split) for split, e in description.splits.items()}
    if len(splits) > 1 and len(set(splits.values())) == 1:
        # Ultralytics asks for two splits; where both are the same, there are none.
        return Layout(chosen, {}, next(iter(splits.values())), description.names)
    whole = layout.whole if layout is not None else ()
    return Layout(chosen, splits, whole if chosen != "coco" else (), description.names)


def _what_is_there(names: Sequence[str]) -> str:
    tops = sorted({name.split("/")[0] + "/" * ("/" in name) for name in names})
    return ", ".join(tops[:8]) + (" ..." if len(tops) > 8 else "") if tops else "no files"


def _find(format_: Format, names: Sequence[str], labels: tuple[str, ...]) -> Layout | None:
    find = {"coco": coco_documents, "voc": _voc, "yolo": _yolo, "folders": _folders}[format_]
    found = find(names)
    if found is None:
        return None
    splits, whole = found
    return Layout(format_, {split: splits[split] for split in _ordered(splits)}, whole, labels)


def _ordered(splits: Mapping[str, Entries]) -> list[str]:
    return [*(s for s in SPLITS if s in splits), *sorted(s for s in splits if s not in SPLITS)]


def coco_documents(
    names: Sequence[str], *, whole: Sequence[str] = (DOCUMENT, ROBOFLOW_DOCUMENT), prefix: str = "instances_"
) -> tuple[dict[str, Entries], Entries] | None:
    """COCO's documents by split, and of everything; None where there are none.

    Args:
        names: of a dataset's files.
        whole: what a document is called that stands for all, or for the split whose folder it lies in.
        prefix: of those in `annotations/`, before the name of the split.
    """
    if whole[0] in names:
        return {}, (whole[0],)
    splits: dict[str, Entries] = {}
    for name in names:
        parts = name.split("/")
        if len(parts) == 2 and parts[0] in ALIASES and parts[1] in whole:
            splits[ALIASES[parts[0]]] = (name,)
    inside = [n for n in names if PurePosixPath(n).parent.name == "annotations" and n.count("/") == 1]
    for name in inside:
        stem = PurePosixPath(name).stem
        bare = _YEAR.sub("", stem.removeprefix(prefix))
        if name.endswith(".json") and (stem.startswith(prefix) or bare in ALIASES):
            splits[ALIASES.get(bare, stem.removeprefix(prefix))] = (name,)
    return (splits, ()) if splits else None


def _voc(names: Sequence[str]) -> tuple[dict[str, Entries], Entries] | None:
    if not any(name.startswith(f"{ANNOTATIONS}/") and name.lower().endswith(".xml") for name in names):
        return None
    there = set(names)
    lists = {split: f"{SETS}/{split}.txt" for split in SPLITS}
    splits: dict[str, Entries] = {split: (name,) for split, name in lists.items() if name in there}
    return splits, ("",)


def _yolo(names: Sequence[str]) -> tuple[dict[str, Entries], Entries] | None:
    """`images/train` with `labels/train`, or `train/images` with `train/labels`, or no splits."""
    texts = [name.split("/") for name in names if name.endswith(".txt")]
    if not any("labels" in parts[:-1] for parts in texts):
        return None
    images = [name.split("/") for name in names if is_image(name) and "images" in name.split("/")[:-1]]
    splits: dict[str, Entries] = {}
    for parts in images:
        if parts[0] == "images" and len(parts) > 2 and parts[1] in ALIASES:
            splits[ALIASES[parts[1]]] = (f"images/{parts[1]}",)
        elif parts[0] in ALIASES and parts[1] == "images":
            splits[ALIASES[parts[0]]] = (f"{parts[0]}/images",)
    return (splits, ("",)) if images else None


def _folders(names: Sequence[str]) -> tuple[dict[str, Entries], Entries] | None:
    images = [name.split("/") for name in names if is_image(name)]
    tops = {parts[0] for parts in images if len(parts) > 1}
    if tops and tops <= ALIASES.keys() and all(len(parts) > 2 for parts in images if len(parts) > 1):
        return {ALIASES[top]: (top,) for top in tops}, ()
    return ({}, ("",)) if tops else None


def _resolved(format_: Format, entries: Entries, names: Sequence[str], split: str) -> Entries:
    """A description's entries as the readers take them.

    Raises:
        SpecError: for an entry that is not there.
    """
    there = set(names)
    found = []
    for entry in entries:
        listed = f"{SETS}/{entry}.txt"
        if format_ == "voc" and entry not in there and listed in there:
            found.append(listed)
        elif entry in there or not entry or any(name.startswith(f"{entry}/") for name in names):
            found.append(entry)
        else:
            raise SpecError(
                f"the split {split} is said to be {entry!r}, and there is no such file or folder in the "
                f"dataset, which has {_what_is_there(names)}"
            )
    if format_ == "coco" and (len(found) != 1 or not found[0].endswith(".json")):
        raise SpecError(f"the split {split} is {list(entries)}; of coco, name one document, as val.json")
    return tuple(found)
