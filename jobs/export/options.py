"""What is exported of a run, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

from cvcore.errors import SpecError, did_you_mean
from jobs.export.corrected import USES, Use
from jobs.export.facts import ALL
from jobs.export.queue import ORDERS, Order
from jobs.export.rows import Choice

MASKS = ("rle", "polygons")


@dataclass(frozen=True, slots=True)
class Options:
    """What is exported, and how.

    Attributes:
        choice: of detections.
        order: of a review queue; None for the run's own.
        limit: of images that were looked at; None for all.
        seed: of what is drawn.
        partial: whether a run that is not finished may be exported.
        overwrite: whether what is at `out` is replaced.
        corrections: whether detections are as people left them (`apply`); and whether that is all there is:
            `only` the images of which they decided everything, or the `undecided` ones alone.
        other: another run over the same images, for the order `disagreement`.
        dedup: of a queue, the cosine of two images' embeddings from which the later one is left out.
        embeddings: an embed run over the same images; None for the run's own column.
        masks: how COCO's annotations have them: `rle` or `polygons`.
    """

    choice: Choice = ALL
    order: str | None = None
    limit: int | None = None
    seed: int = 0
    partial: bool = False
    overwrite: bool = False
    corrections: str = "ignore"
    other: str | None = None
    dedup: float | None = None
    embeddings: str | None = None
    masks: str = "rle"

    def checked(self, to: str) -> tuple[Order | None, Use]:
        """The order and the use of corrections.

        Args:
            to: the format.

        Raises:
            SpecError: for values that are none, and for what does not go together.
        """
        if self.limit is not None and self.limit < 1:
            raise SpecError(f"limit must be at least 1, got {self.limit}")
        order, use = self._order(to), self._use()
        self._check_masks(to)
        if (order == "disagreement") != (self.other is not None):
            raise SpecError(
                "the order disagreement is with another run: name it with --with"
                if self.other is None
                else "another run is for the order disagreement: say --order disagreement"
            )
        if order == "disagreement" and use in ("only", "undecided"):
            raise SpecError(f"the order disagreement is of all images: leave --corrections {use} out")
        self._check_dedup(order)
        return order, use

    def _order(self, to: str) -> Order | None:
        if self.order is None:
            return None
        order = next((each for each in ORDERS if each == self.order), None)
        if order is None:
            raise SpecError(
                f"there is no order {self.order!r}.{did_you_mean(self.order, ORDERS)} "
                f"Orders: {', '.join(ORDERS)}."
            )
        if self.limit is None:
            raise SpecError(f"order {order} needs a limit: a queue is as long as what a person will look at")
        if to == "mot":
            raise SpecError("MOT text is of whole videos in their order: leave the order out")
        return order

    def _use(self) -> Use:
        use = next((each for each in USES if each == self.corrections), None)
        if use is None:
            raise SpecError(
                f"corrections can be used so: {', '.join(USES)}; not {self.corrections!r}."
                f"{did_you_mean(self.corrections, USES)}"
            )
        return use

    def _check_masks(self, to: str) -> None:
        if self.masks not in MASKS:
            raise SpecError(
                f"there is no form of masks {self.masks!r}.{did_you_mean(self.masks, MASKS)} "
                f"Forms: {', '.join(MASKS)}."
            )
        if self.masks != "rle" and to != "coco":
            raise SpecError(f"coco alone has masks in several forms: leave masks out, {to} has its own")

    def _check_dedup(self, order: Order | None) -> None:
        if self.dedup is None:
            if self.embeddings is not None:
                raise SpecError(
                    "embeddings tell what is alike: say from which cosine on it is left out, with --dedup"
                )
            return
        if order is None:
            raise SpecError("what is alike is left out of a queue: name its order with --order")
        if not 0 < self.dedup <= 1:
            raise SpecError(f"dedup is a cosine from above 0 to 1, not {self.dedup}")
