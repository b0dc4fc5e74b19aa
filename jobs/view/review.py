"""A sitting of a reviewer: what was decided, and its way into the run's corrections."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cvcore.errors import SpecError
from jobs.export.corrected import read_corrections
from jobs.imports.decisions import Decision, Reviewer, decide
from jobs.imports.files import publish_corrections
from jobs.run_folder import RunFolder
from jobs.storage import Store
from jobs.view.index import ViewIndex

TOOL = "veedor view"


@dataclass(frozen=True, slots=True)
class Saved:
    """One import: where it is, and of how many images."""

    uri: str
    num_images: int


class Review:
    """Keeps decisions until they are saved, all of them as one import. Safe for several threads.

    Args:
        run_uri: the run's folder.
        store: that holds it.
        index: of the run; shows what was decided at once.
        who: decides.
    """

    def __init__(self, run_uri: str, store: Store, index: ViewIndex, who: str) -> None:
        self._run_uri, self._store, self._index = run_uri, store, index
        self._who = who
        self._pending: dict[int, list[Decision]] = {}
        self._lock = threading.Lock()

    @property
    def num_unsaved(self) -> int:
        """Images with decisions that no import holds yet."""
        return len(self._pending)

    def decide(self, ordinal: int, decisions: Sequence[Decision]) -> None:
        """Note decisions about one image.

        Raises:
            SpecError: for an image that is not in the run or was not looked at, or a detection that it does
                not have; then none of them counts.
        """
        with self._lock:
            image = self._index.images([ordinal]).get(ordinal)
            if image is None:
                raise SpecError(f"the run has no image {ordinal}")
            if image["num_detections"] is None:
                raise SpecError("this image was not looked at: it failed, and there is nothing to decide")
            found = {each.number: each for each in self._index.objects([ordinal])[ordinal]}
            before = self._index.said([ordinal])[ordinal]
            after = decide(before, decisions, found, self._note())
            self._index.put_said({ordinal: after})
            self._pending.setdefault(ordinal, []).extend(decisions)

    def save(self) -> Saved | None:
        """Write an import of all that is not saved; None where there is nothing.

        What others imported meanwhile is kept: decisions are applied to what the run says now.
        """
        with self._lock:
            if not self._pending:
                return None
            ordinals = list(self._pending)
            images, objects = self._index.images(ordinals), self._index.objects(ordinals)
            keys = {ordinal: (image["uri"], image["frame_index"]) for ordinal, image in images.items()}
            note = self._note()
            after: dict[int, list[dict[str, Any]]] = {}

            def rows() -> list[dict[str, Any]]:
                now = read_corrections(self._run_uri, self._store, list(keys.values()))
                for ordinal, decisions in self._pending.items():
                    found = {each.number: each for each in objects[ordinal]}
                    after[ordinal] = decide(now.of(keys[ordinal]), decisions, found, note)
                return [
                    row | {"uri": keys[ordinal][0], "frame_index": keys[ordinal][1]}
                    for ordinal, said in after.items()
                    for row in said
                ]

            where = publish_corrections(RunFolder(self._run_uri), self._store, rows)
            self._index.put_said(after)
            self._pending.clear()
            return Saved(where, len(ordinals))

    def _note(self) -> dict[str, Any]:
        return Reviewer(self._who, TOOL, datetime.now(UTC)).note(self._run_uri)
