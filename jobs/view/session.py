"""One run opened for looking at: its index, its pictures and what a reviewer decides."""

from __future__ import annotations

import json
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cvcore.errors import SpecError, did_you_mean
from jobs.export.corrected import read_corrections
from jobs.export.facts import read_facts
from jobs.imports.decisions import Decision
from jobs.query.row_index import OnRows
from jobs.report.row_pictures import frame_pictures, run_pictures
from jobs.report.run import read_decoding, read_run
from jobs.storage import Access, open_store, resolve_location
from jobs.view.cards import image_card
from jobs.view.filters import Filter
from jobs.view.index import ViewIndex, build_index
from jobs.view.page import PageFacts
from jobs.view.pictures import ViewPictures
from jobs.view.review import Review

PAGE_IMAGES = 48
MAX_CARD_OBJECTS = 100
NUM_SELECTIONS = 8
MAX_SHOWN_LABELS = 40


class ViewSession:
    """Make it with `open_view`; `close` it when done. Safe for several threads.

    Attributes:
        facts: what the page says of the run.
        pictures: of its images.
        review: what is decided.
    """

    def __init__(
        self,
        folder: tempfile.TemporaryDirectory[str],
        index: ViewIndex,
        pictures: ViewPictures,
        review: Review,
        facts: PageFacts,
    ) -> None:
        self._folder, self._index = folder, index
        self.pictures, self.review, self.facts = pictures, review, facts
        self._selections: OrderedDict[Filter, npt.NDArray[np.int64]] = OrderedDict()
        self._lock = threading.Lock()

    def check_labels(self, chosen: Filter) -> None:
        """Refuse a filter by a label that nothing has; raises `SpecError`."""
        known = [each.label for each in self.facts.labels]
        for label in chosen.labels:
            if label not in known:
                raise SpecError(
                    f"nothing in the run has the label {label!r}.{did_you_mean(label, known)} "
                    f"Labels: {', '.join(known[:MAX_SHOWN_LABELS])}"
                )

    def page(self, chosen: Filter, number: int, *, fresh: bool) -> dict[str, Any]:
        """One page of a selection, from 0.

        A selection stays as it was when it was made, so that pages do not shift while images are decided.

        Args:
            chosen: which images.
            number: of the page; beyond the last it is empty.
            fresh: whether the selection is made anew.
        """
        ordinals = self._selection(chosen, fresh=fresh)
        shown = ordinals[number * PAGE_IMAGES : (number + 1) * PAGE_IMAGES].tolist()
        return {
            "total": len(ordinals),
            "page": number,
            "size": PAGE_IMAGES,
            "pages": -(-len(ordinals) // PAGE_IMAGES),
            "cards": self._cards(shown, most=MAX_CARD_OBJECTS),
            "review": self.review_state(),
        }

    def image(self, ordinal: int) -> dict[str, Any]:
        """One image with all of its detections, and their masks.

        Raises:
            SpecError: if the run has no such image.
        """
        cards = self._cards([ordinal], most=None)
        if not cards:
            raise SpecError(f"the run has no image {ordinal}")
        card = cards[0]
        if self.facts.has_masks:
            masks = self.pictures.masks(ordinal)
            for each in card["objects"]:
                each["mask"] = masks[each["number"]]
        return card

    def decide(self, ordinal: int, decisions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Note what the page says of an image; returns the image as it is then, and the state of the review.

        Raises:
            SpecError: for what cannot be decided.
        """
        self.review.decide(ordinal, [_decision(each) for each in decisions])
        return {"card": self.image(ordinal), "review": self.review_state()}

    def save(self) -> dict[str, Any]:
        """Write an import of what is not saved; returns where it is, and the state of the review."""
        saved = self.review.save()
        return {"saved": saved.uri if saved else None, "review": self.review_state()}

    def review_state(self) -> dict[str, int]:
        """How far the review is, in images."""
        return {"decided": self._index.num_decided(), "unsaved": self.review.num_unsaved}

    def close(self) -> None:
        """Forget the index. What is not saved is lost."""
        self._index.close()
        self._folder.cleanup()

    def _selection(self, chosen: Filter, *, fresh: bool) -> npt.NDArray[np.int64]:
        with self._lock:
            if not fresh and chosen in self._selections:
                self._selections.move_to_end(chosen)
                return self._selections[chosen]
        ordinals = self._index.select(chosen)
        with self._lock:
            self._selections[chosen] = ordinals
            self._selections.move_to_end(chosen)
            while len(self._selections) > NUM_SELECTIONS:
                self._selections.popitem(last=False)
        return ordinals

    def _cards(self, ordinals: Sequence[int], *, most: int | None) -> list[dict[str, Any]]:
        images, objects = self._index.images(ordinals), self._index.objects(ordinals)
        said = self._index.said(ordinals)
        return [image_card(images[n], objects[n], said[n], most=most) for n in images]


def _decision(content: Mapping[str, Any]) -> Decision:
    number, label = content.get("number"), content.get("label")
    if not (number is None or (isinstance(number, int) and not isinstance(number, bool))):
        raise SpecError(f"a detection is known by its number, not by {json.dumps(number)}")
    if not (label is None or isinstance(label, str)):
        raise SpecError(f"a label is a text, not {json.dumps(label)}")
    return Decision(content.get("verdict", ""), number, label)


def open_view(run: str, *, who: str, access: Access, on_rows: OnRows | None = None) -> ViewSession:
    """Open a run, finished or not, and index its rows.

    Args:
        run: its folder.
        who: decides, as corrections say.
        access: to the run, and to its images as far as the run does not say.
        on_rows: told how many rows are indexed, now and then.

    Raises:
        SpecError: if the folder is not a run's, or it holds no detections.
    """
    if not who.strip():
        raise SpecError("who reviews is not said: name someone with --as")
    uri = resolve_location(run).rstrip("/")
    store = open_store(uri, access)
    found = read_run(uri, store)
    facts = read_facts(found, store, partial=True)
    how = read_decoding(found, access.within(found.record.source))
    folder = tempfile.TemporaryDirectory(prefix="veedor-view-")
    try:
        said = read_corrections(uri, store)
        index = build_index(found, store, said, Path(folder.name), on_rows)
        rows = run_pictures(found, how, frames=frame_pictures(found, how))
        pictures = ViewPictures(index, rows, found.parts, store)
        about = PageFacts(
            run=uri,
            model=facts.model_version,
            source=facts.source,
            noun=found.noun,
            who=who.strip(),
            partial=facts.partial,
            has_tracks=facts.has_tracks,
            has_masks=facts.has_masks,
            num_images=index.num_images(),
            num_looked_at=index.num_looked_at(),
            labels=tuple(index.labels()),
            more_labels=tuple(dict.fromkeys((*facts.labels, *said.labels))),
            failures=index.failures(),
        )
        return ViewSession(folder, index, pictures, Review(uri, store, index, who.strip()), about)
    except BaseException:
        folder.cleanup()
        raise
