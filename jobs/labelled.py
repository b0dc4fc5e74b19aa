"""The images of a dataset with a class each, and for localisation one box each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cvcore.datasets.records import BoxDataset, ImageRecord
from cvcore.errors import SpecError
from cvcore.train.pictures import Picture, picture_of

WhichBox = Literal["single", "largest"]
MAX_LEFT_OUT = 0.5


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images that can be learned from or measured on; `left_out` counts the others by why."""

    pictures: tuple[Picture, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def labelled_pictures(
    dataset: BoxDataset, own_ids: Sequence[int], *, name: str, localizes: bool, boxes: WhichBox = "single"
) -> Labelled:
    """A dataset's images for a classifier or, if it localises, for a localiser.

    Args:
        dataset: of classes for a classifier, of boxes for a localiser.
        own_ids: of the dataset's labels, in the model's.
        name: what messages call it.
        localizes: see above.
        boxes: of images with several boxes, whether they are left out or their largest box counts.

    Raises:
        SpecError: for the other kind of dataset, for none of its images, and where most would be left out.
    """
    if not dataset.images:
        raise SpecError(f"{name} has no images")
    if not localizes:
        if dataset.task != "classes":
            raise SpecError(
                f"{name} is a dataset of boxes, and a classifier learns from a folder of images for each "
                "class; to learn a class and one box for each image, add --set localize=true"
            )
        return Labelled(tuple(picture_of(record, own_ids) for record in dataset.images))
    if dataset.task != "boxes":
        raise SpecError(
            f"{name} has classes without boxes, and a localiser learns from images with one box each: leave "
            "localize out"
        )
    return _with_boxes(dataset, own_ids, name=name, boxes=boxes)


def _with_boxes(dataset: BoxDataset, own_ids: Sequence[int], *, name: str, boxes: WhichBox) -> Labelled:
    pictures: list[Picture] = []
    left_out: Counter[str] = Counter()
    for record in dataset.images:
        places = [k for k, facts in enumerate(record.attributes) if not facts.get("crowd")]
        if not places:
            left_out["no box"] += 1
        elif len(places) > 1 and boxes == "single":
            left_out["several boxes"] += 1
        else:
            pictures.append(picture_of(record, own_ids, place=_largest(record, places)))
    if sum(left_out.values()) > MAX_LEFT_OUT * len(dataset.images):
        reasons = ", ".join(f"{number:,} with {why}" for why, number in sorted(left_out.items()))
        raise SpecError(
            f"of {len(dataset.images):,} images of {name}, {reasons} cannot teach one box an image: "
            + ("boxes: largest takes the largest of several" if boxes == "single" else "give others")
        )
    return Labelled(tuple(pictures), left_out)


def _largest(record: ImageRecord, places: Sequence[int]) -> int:
    sides = record.boxes[list(places), 2:] - record.boxes[list(places), :2]
    return places[int(np.argmax(sides.prod(axis=1)))]
