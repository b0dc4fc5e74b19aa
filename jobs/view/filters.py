"""Which images of a run are looked at, and in which order: as a value, as a URL's query, as SQL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import urlencode

from cvcore.errors import SpecError, did_you_mean

Order = Literal["run", "uncertain", "highest", "lowest"]
State = Literal["any", "undecided", "decided"]
ORDERS: tuple[Order, ...] = get_args(Order)
STATES: tuple[State, ...] = get_args(State)
STATUSES = ("any", "ok", "found", "empty", "failed")
"""Further ones are the error codes of inputs that failed."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A selection of images: those with a detection that meets `labels`, scores and `track` together.

    Attributes:
        labels: any of them; none for all.
        min_score, max_score: 0 to 1, both included.
        track: this one alone; None for all.
        status: of `STATUSES`, or an error code.
        state: of the review.
        name: a part of the location, upper and lower case alike; empty for all.
        order: as in the run; or by what was found: the most doubtful, the highest or the lowest score first.

    Raises:
        SpecError: for values that are none of these.
    """

    labels: tuple[str, ...] = ()
    min_score: float = 0.0
    max_score: float = 1.0
    track: int | None = None
    status: str = "any"
    state: State = "any"
    name: str = ""
    order: Order = "run"

    def __post_init__(self) -> None:
        for score in (self.min_score, self.max_score):
            if not (math.isfinite(score) and 0 <= score <= 1):
                raise SpecError(f"a score is from 0 to 1, not {score}")
        if self.min_score > self.max_score:
            raise SpecError(f"no score is at least {self.min_score} and at most {self.max_score}")
        _check_word(self.state, STATES, "state")
        _check_word(self.order, ORDERS, "order")
        if not self.status.replace("_", "").isalnum():
            raise SpecError(f"a status is one of {', '.join(STATUSES)} or an error code, not {self.status!r}")

    @property
    def of_detections(self) -> bool:
        """Whether images without a detection that fits are left out."""
        return bool(self.labels) or self.min_score > 0 or self.max_score < 1 or self.track is not None

    def as_query(self) -> str:
        """The query of a URL that `parse_filter` reads; empty for a filter that takes all."""
        pairs: list[tuple[str, str]] = [("label", label) for label in self.labels]
        pairs += [("track", str(self.track))] if self.track is not None else []
        usual = Filter()
        for name in ("min_score", "max_score", "status", "state", "name", "order"):
            if getattr(self, name) != getattr(usual, name):
                pairs.append((name, str(getattr(self, name))))
        return urlencode(pairs)


def _check_word(word: str, words: Sequence[str], what: str) -> None:
    if word not in words:
        raise SpecError(f"there is no {what} {word!r}.{did_you_mean(word, words)} One of {', '.join(words)}.")


def parse_filter(query: Mapping[str, Sequence[str]]) -> Filter:
    """The filter of a URL's query, as `urllib.parse.parse_qs` gives it; what it does not say is left open.

    Raises:
        SpecError: for values that are none.
    """
    values: dict[str, Any] = {"labels": tuple(query.get("label", ()))}
    for name in ("status", "state", "name", "order"):
        if texts := query.get(name):
            values[name] = texts[-1]
    for name, kind in (("min_score", float), ("max_score", float), ("track", int)):
        if texts := query.get(name):
            try:
                values[name] = kind(texts[-1])
            except ValueError as error:
                raise SpecError(f"{name} is a number, not {texts[-1]!r}") from error
    return Filter(**values)


def selection_sql(chosen: Filter) -> tuple[str, list[Any]]:
    """One SELECT that gives the ordinals of a selection in its order, and its parameters.

    It reads the tables `images` and `objects`, and `decided`, see `jobs.view.index`. Equal keys keep the
    run's order, so that a page is the same each time.
    """
    sql, parameters = "select i.ordinal from images i", list[Any]()
    if chosen.of_detections or chosen.order != "run":
        found, parameters = _of_detections(chosen)
        join = "join" if chosen.of_detections else "left join"
        sql += f" {join} ({found}) o on o.ordinal = i.ordinal"
    kept, more = _of_images(chosen)
    if kept:
        sql += f" where {' and '.join(kept)}"
    return f"{sql} order by {_KEYS[chosen.order]}i.ordinal", parameters + more


_KEYS: dict[Order, str] = {
    "run": "",
    "uncertain": "o.doubt desc nulls last, ",
    "highest": "o.best desc nulls last, ",
    "lowest": "o.best asc nulls last, ",
}


def _of_detections(chosen: Filter) -> tuple[str, list[Any]]:
    """Images with detections that fit, and what they are ordered by (`doubt` as in `jobs.export.queue`)."""
    wanted, parameters = [], list[Any]()
    if chosen.labels:
        wanted.append("list_contains(?, label)")
        parameters.append(list(chosen.labels))
    if chosen.min_score > 0:
        wanted.append("score >= ?")
        parameters.append(chosen.min_score)
    if chosen.max_score < 1:
        wanted.append("score <= ?")
        parameters.append(chosen.max_score)
    if chosen.track is not None:
        wanted.append("track_id = ?")
        parameters.append(chosen.track)
    where = f" where {' and '.join(wanted)}" if wanted else ""
    keys = "max(score) as best, max(1 - abs(2 * score - 1)) as doubt"
    return f"select ordinal, {keys} from objects{where} group by ordinal", parameters


def _of_images(chosen: Filter) -> tuple[list[str], list[Any]]:
    kept, parameters = [], list[Any]()
    known = {
        "ok": "i.status = 'ok'",
        "found": "i.num_detections > 0",
        "empty": "i.status = 'ok' and i.num_detections = 0",
        "failed": "i.status <> 'ok'",
    }
    if chosen.status in known:
        kept.append(known[chosen.status])
    elif chosen.status != "any":
        kept.append("i.error_code = ?")
        parameters.append(chosen.status)
    if chosen.state != "any":
        kept.append(f"i.ordinal {'not ' * (chosen.state == 'undecided')}in (select ordinal from decided)")
    if chosen.state == "undecided":
        kept.append("i.status = 'ok'")
    if chosen.name:
        kept.append("contains(lower(i.uri), lower(?))")
        parameters.append(chosen.name)
    return kept, parameters
