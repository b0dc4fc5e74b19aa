"""Several detectors on one split of a dataset: the trade-off between precision, speed and size."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from cvcore.errors import SpecError, VeedorError
from jobs.evaluate_model import DetectionSplit, ModelEvaluation, evaluate_detector, load_detector, open_split
from jobs.model_facts import model_facts
from jobs.model_files import fetch_model
from jobs.model_speed import DEFAULT_BUDGET_S
from jobs.spec import ModelSection
from jobs.storage import Access

MAX_NAMED = 5


@dataclass(frozen=True)
class Compared:
    """A model of a comparison: what was found, or the `error` that kept it from being measured."""

    name: str
    found: ModelEvaluation | None
    error: str = ""


@dataclass(frozen=True)
class Comparison:
    """Models in the order in which they were named, as far as they have been measured."""

    data: str
    split: str
    num_images: int
    num_objects: int
    rows: tuple[Compared, ...]

    @property
    def caption(self) -> str:
        """What the table is of."""
        devices = sorted({row.found.speed.device for row in self.rows if row.found and row.found.speed})
        return f"{self.data}, {self.split}: {self.num_images:,} images, {self.num_objects:,} objects" + (
            f"; timed on {', '.join(devices)}" if devices else ""
        )


OnModel = Callable[[Comparison], None]


def compare_models(
    sections: Sequence[ModelSection],
    data: str,
    *,
    split: str,
    access: Access,
    speed_budget_s: float = DEFAULT_BUDGET_S,
    on_model: OnModel | None = None,
) -> Comparison:
    """Evaluate each model by itself; one that fails costs the others nothing.

    Args:
        sections: the models.
        data, split: what they are measured on.
        access: to storage.
        speed_budget_s: about how long to time each, seconds; 0 does not.
        on_model: told of all that is there after each model.

    Raises:
        SpecError: for fewer than one model, one that is named twice, no dataset, or models that are not
            there, are no detectors or do not know its classes: all of them are named, and none is run.
    """
    _check_names(sections)
    on = open_split(data, split, access)
    _check_models(sections, on, access)
    done = Comparison(data, split, len(on.dataset.images), on.dataset.num_boxes, ())
    for section in sections:
        row = _compare_one(section, on, access, speed_budget_s)
        done = Comparison(done.data, done.split, done.num_images, done.num_objects, (*done.rows, row))
        if on_model is not None:
            on_model(done)
    return done


def _check_names(sections: Sequence[ModelSection]) -> None:
    names = [section.name for section in sections]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise SpecError(f"name each model once, not {', '.join(twice) or 'none'}")


def _check_models(sections: Sequence[ModelSection], on: DetectionSplit, access: Access) -> None:
    """Refuse what could not be measured, naming each model that does not fit."""
    threads = torch.get_num_threads()
    problems = [(section.name, _misfit(section, on, access)) for section in sections]
    torch.set_num_threads(threads)  # looking at a model takes one, and leaves it so
    told = [f"{name}: {problem.removeprefix(f'{name} ')}" for name, problem in problems if problem]
    if told:
        raise SpecError("these models cannot be compared:\n" + "\n".join(told))


def _misfit(section: ModelSection, on: DetectionSplit, access: Access) -> str:
    """Why a model cannot be measured on a dataset; empty where it can."""
    try:
        facts = model_facts(fetch_model(section, access).source)
    except VeedorError as error:
        return str(error)
    if not facts.detects:
        return "it is no detector"
    unknown = sorted(set(on.dataset.labels) - set(facts.labels))
    if unknown:
        return (
            f"it does not know the classes {_few(unknown)} of {on.data}; it knows {_few(list(facts.labels))}"
        )
    return ""


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _compare_one(
    section: ModelSection, on: DetectionSplit, access: Access, speed_budget_s: float
) -> Compared:
    try:
        return Compared(section.name, _measure(section, on, access, speed_budget_s))
    except (VeedorError, MemoryError, torch.OutOfMemoryError) as error:
        return Compared(section.name, None, str(error) or type(error).__name__)
    except Exception as error:  # noqa: BLE001  # a defect that one model brings out costs that model
        return Compared(section.name, None, f"{type(error).__name__}: {error}")
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def _measure(
    section: ModelSection, on: DetectionSplit, access: Access, speed_budget_s: float
) -> ModelEvaluation:
    model = load_detector(section, access)
    return evaluate_detector(model, on, name=section.name, speed_budget_s=speed_budget_s)
