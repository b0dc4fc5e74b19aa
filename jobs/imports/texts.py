"""Reading formats of a text an image or a video: YOLO, Pascal VOC, MOT; and FiftyOne's document."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from cvcore.datasets.description import parse_description
from cvcore.datasets.voc import VocObject, parse_annotation
from cvcore.datasets.yolo import parse_line
from cvcore.errors import SpecError
from cvcore.track.mot_text import MotRows, read_mot
from jobs.imports.given import Given, GivenBox, Place, number_of, stem, whole
from jobs.sequences import sequence_name
from jobs.spec import load_yaml


def read_yolo(place: Place) -> list[Given]:
    """Images of all texts in folders `labels`, by the classes of `data.yaml`.

    Raises:
        SpecError: if `data.yaml` or the texts are not there, or a line is no box and no polygon.
    """
    uri, body = place.document("data.yaml", ".yaml", ".yml")
    folder = Place(uri.rpartition("/")[0], place.store)
    names = parse_description(load_yaml(body.decode("utf-8-sig", errors="replace"), name=uri), uri).names
    texts = [text for text in folder.files(".txt") if "labels" in folder.below(text).split("/")[:-1]]
    if not texts:
        raise SpecError(f"there are no texts in a folder 'labels' below {folder.uri}")
    return [_yolo_image(folder, text, names) for text in texts]


def _yolo_image(folder: Place, text: str, names: tuple[str, ...]) -> Given:
    parts = folder.below(text).split("/")
    given = Given(stem("/".join(parts[parts.index("labels") + 1 :])), in_shares=True, by_stem=True)
    for number, line in enumerate(folder.store.read(text).decode("utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            label_id, box, polygon = parse_line(line, (1, 1))
            if not 0 <= label_id < len(names):
                raise ValueError(f"there is no class {label_id}")
        except ValueError as error:
            raise SpecError(f"{text}, line {number}: {error}; classes are 0 to {len(names) - 1}") from error
        outline = list(zip(polygon[0::2], polygon[1::2], strict=True))
        given.boxes.append(GivenBox(names[label_id], box, outline=outline))
    return given


def read_voc(place: Place) -> list[Given]:
    """Images of all XMLs at or below a place.

    Raises:
        SpecError: if there are none, or one is not VOC's.
    """
    documents = place.files(".xml")
    if not documents:
        raise SpecError(f"there is no Pascal VOC XML (.xml) at or below {place.uri}")
    found = []
    for uri in documents:
        try:
            annotation = parse_annotation(place.store.read(uri))
        except ValueError as error:
            raise SpecError(f"{uri} is no Pascal VOC annotation: {error}") from error
        if annotation.wrong:
            raise SpecError(f"{uri}: {annotation.wrong[0]}")
        stated = annotation.details.get("uri")
        given = Given(annotation.file_name.replace("__", "/"), size=annotation.size)
        given.uri = stated if isinstance(stated, str) else None
        given.uri_frame = whole(annotation.details.get("frame_index"))
        given.boxes += map(_voc_box, annotation.objects)
        found.append(given)
    return found


def _voc_box(each: VocObject) -> GivenBox:
    facts = each.attributes
    mask = facts.get("segmentation")
    return GivenBox(
        each.label,
        each.box,
        number_of(facts.get("score")),
        whole(facts.get("number")),
        whole(facts.get("track_id")),
        mask if isinstance(mask, dict) else None,
    )


def read_mot_texts(place: Place, labels: tuple[str, ...]) -> list[Given]:
    """Frames of all texts; classes are the places of labels.

    Raises:
        SpecError: if there are none, a line is not MOT's, or a class is of no label.
    """
    texts = [uri for uri in place.files(".txt") if sequence_name(uri) != "labels"]
    if not texts:
        raise SpecError(f"there is no MOT text (.txt) at or below {place.uri}")
    found: list[Given] = []
    for uri in texts:
        try:
            rows = read_mot(place.store.read(uri).decode())
        except ValueError as error:
            raise SpecError(f"{uri} is not MOT text: {error}") from error
        found += _mot_frames(rows, sequence_name(uri), labels, uri)
    return found


def _mot_frames(rows: MotRows, name: str, labels: tuple[str, ...], uri: str) -> list[Given]:
    frames: dict[int, Given] = {}
    for k, frame in enumerate(rows.frames.tolist()):
        label_id = max(0, int(rows.label_ids[k]))
        if label_id >= len(labels):
            raise SpecError(
                f"{uri}: frame {frame} has the class {label_id}; the run has {len(labels)} labels"
            )
        x0, y0, x1, y1 = rows.boxes[k].tolist()
        track_id = int(rows.ids[k]) if rows.ids[k] > 0 else None
        box = GivenBox(labels[label_id], (x0, y0, x1, y1), float(rows.scores[k]), track_id=track_id)
        frames.setdefault(frame, Given(name, frame - 1, by_stem=True)).boxes.append(box)
    return [frames[frame] for frame in sorted(frames)]


def read_fiftyone(place: Place) -> list[Given]:
    """Images of a FiftyOne image detection dataset's document.

    Raises:
        SpecError: if it is none.
    """
    uri, body = place.document("labels.json", ".json")
    try:
        document = json.loads(body)
        classes, labels = document.get("classes"), document["labels"]
        return [
            _fiftyone_image(name, entries, classes) for name, entries in labels.items() if entries is not None
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise SpecError(f"{uri} is no FiftyOne image detection dataset: {error!r}") from error


def _fiftyone_image(name: str, entries: list[dict[str, object]], classes: list[str] | None) -> Given:
    given = Given(str(PurePosixPath(name)), in_shares=True, by_stem=True)
    for entry in entries:
        label, shares = entry["label"], entry["bounding_box"]
        if isinstance(label, int) and classes is not None:
            label = classes[label]
        if not isinstance(shares, list):
            raise ValueError(f"bounding_box of {name} is {shares!r}")
        x, y, width, height = map(float, shares)
        noted = entry.get("attributes")
        facts = noted if isinstance(noted, dict) else {}
        box = GivenBox(
            str(label),
            (x, y, x + width, y + height),
            number_of(entry.get("confidence")),
            whole(facts.get("number")),
            whole(facts.get("track_id")),
        )
        given.boxes.append(box)
    return given
