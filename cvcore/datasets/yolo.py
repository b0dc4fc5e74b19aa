"""YOLO: a text beside each image, a line a box: class, centre and size as shares of the image's sides.

A line of a class and three or more points is a polygon, of which the box is the extent; the polygon is kept
as COCO's segmentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from cvcore.datasets.drafts import Draft, Look, finish_records, join_drafts
from cvcore.datasets.files import Files, Size, inner_name, is_image, read_sizes
from cvcore.datasets.problems import ProblemLog
from cvcore.datasets.records import BoxDataset, ImageRecord

DECIMALS = 10
"""Of shares: 1e-10 of 100,000 pixels is 1e-5 px."""

_MAX_SHARE = 2.0
_LISTS = (".txt",)


def label_name(image_name: str) -> str:
    """The text of an image: its last folder `images` becomes `labels`; without one, beside the image."""
    parts = list(PurePosixPath(image_name).with_suffix(".txt").parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return "/".join(parts)


def parse_line(line: str, size: Size) -> tuple[int, tuple[float, float, float, float], list[float]]:
    """Class, box (xyxy, pixels) and polygon (x, y, x, y ..., pixels; or empty) of one line.

    Raises:
        ValueError: for another number of numbers, and for numbers that are no shares.
    """
    first, *rest = line.split()
    try:
        label_id, numbers = int(first), [float(text) for text in rest]
    except ValueError as error:
        raise ValueError(f"{line[:80]!r} is not a class and numbers") from error
    is_polygon = len(numbers) >= 6 and len(numbers) % 2 == 0
    if len(numbers) != 4 and not is_polygon:
        raise ValueError(
            f"{len(numbers)} numbers behind the class; a box has 4, a polygon an even number from 6 on"
        )
    if not all(math.isfinite(n) and abs(n) <= _MAX_SHARE for n in numbers):
        raise ValueError(f"{line[:80]!r} has numbers that are no shares of the image's sides")
    width, height = size
    if is_polygon:
        points = [n * (height if k % 2 else width) for k, n in enumerate(numbers)]
        xs, ys = points[0::2], points[1::2]
        return label_id, (min(xs), min(ys), max(xs), max(ys)), points
    x, y, w, h = numbers
    box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    return label_id, box, []


def read_yolo(
    files: Files, entries: Sequence[str], names: Sequence[str], *, log: ProblemLog, look: Look
) -> BoxDataset:
    """Read and check the images of some folders and lists.

    Args:
        files: of the dataset.
        entries: folders of images, and texts that list images, a line each; `""` is everything.
        names: the labels, by class id.
        log: is told of every problem.
        look: how closely images are looked at; their sizes are always read, since boxes are shares of them.
    """
    images = _listed_images(files, entries, log)
    there = set(files.names)
    found = [name for name in images if name in there]
    sizes = read_sizes(files, found, log, decode=look == "pixels")
    texts = [label_name(name) for name in found]
    bodies = dict(zip(texts, files.map(lambda n: files.read(n) if n in there else b"", texts), strict=True))
    drafts = []
    for name in images:
        draft = Draft(name)
        size = sizes.get(name)
        if size is not None:
            _add_lines(draft, bodies[label_name(name)], size, log)
        drafts.append(draft)
    _find_strays(files, entries, set(texts), log)
    records = finish_records(
        join_drafts(drafts, log), num_labels=len(names), files=files, log=log, look="sizes", sizes=sizes
    )
    return BoxDataset(records, tuple(names))


def _listed_images(files: Files, entries: Iterable[str], log: ProblemLog) -> list[str]:
    images: list[str] = []
    for entry in entries:
        if entry.endswith(_LISTS):
            images += image_list(files, entry, log)
        else:
            images += filter(is_image, files.below(entry))
    return images


def image_list(files: Files, list_name: str, log: ProblemLog) -> list[str]:
    """The images that a text names, a line each: from the dataset's folder or, with `./`, the text's."""
    try:
        lines = files.read(list_name).decode().splitlines()
    except UnicodeDecodeError:
        log.add("malformed", f"{list_name} is not UTF-8")
        return []
    found = []
    for line in filter(None, map(str.strip, lines)):
        beside = str(PurePosixPath(list_name).parent) if line.startswith("./") else ""
        name = inner_name(beside, line)
        if name is None:
            log.add("name_outside", f"{list_name}: {line!r}")
        else:
            found.append(name)
    return found


def _add_lines(draft: Draft, body: bytes, size: Size, log: ProblemLog) -> None:
    name = label_name(draft.name)
    try:
        lines = body.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        log.add("malformed", f"{name} is not UTF-8")
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            label_id, box, polygon = parse_line(line, size)
        except ValueError as error:
            log.add("malformed", f"{name}, line {number}: {error}")
        else:
            draft.add(box, label_id, {"segmentation": [polygon]} if polygon else {})


def _find_strays(files: Files, entries: Sequence[str], texts: set[str], log: ProblemLog) -> None:
    """Texts in the folders of labels that no image was found for."""
    for entry in entries:
        if entry.endswith(_LISTS):
            continue
        folder = label_name(f"{entry}/x").rpartition("/")[0] if entry else ""
        for name in files.below(folder):
            if name.endswith(".txt") and "labels" in name.split("/")[:-1] and name not in texts:
                log.add("label_without_image", name)


def label_text(image: ImageRecord) -> str:
    """The text of one image's boxes."""
    size = (image.width, image.height)
    boxes = zip(image.boxes.tolist(), image.label_ids, strict=True)
    return "".join(box_line(box, int(label_id), size) for box, label_id in boxes)


def box_line(box: Sequence[float], label_id: int, size: Size) -> str:
    """The line of one box (xyxy, pixels) in an image of a size."""
    x1, y1, x2, y2 = box
    width, height = size
    x, y, w, h = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
    return f"{label_id} {x:.{DECIMALS}f} {y:.{DECIMALS}f} {w:.{DECIMALS}f} {h:.{DECIMALS}f}\n"


def polygon_line(points: Sequence[tuple[float, float]], label_id: int, size: Size) -> str:
    """The line of one polygon of at least three points (x, y), pixels."""
    width, height = size
    shares = (share for x, y in points for share in (x / width, y / height))
    return f"{label_id} " + " ".join(f"{share:.{DECIMALS}f}" for share in shares) + "\n"
