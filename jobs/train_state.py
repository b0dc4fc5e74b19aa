"""What a training run keeps in its folder: checkpoint, history, and the state that it resumes from."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
from dataclasses import dataclass, field
from typing import Any

import torch

from cvcore.errors import SpecError
from cvcore.train.epochs import Standing
from jobs.storage import ObjectMissing, join, open_store
from jobs.train_record import HISTORY_NAME, EpochRecord
from jobs.train_spec import EpochsTrainSpec

CHECKPOINT_NAME = "model.safetensors"
STATE_NAME = "_veedor/train-state.pt"


@dataclass(frozen=True)
class SavedRun:
    """A run as its last finished epoch left it.

    Attributes:
        progress: for `Progress.restore`.
        history: every epoch so far.
        standing: the best of them.
        details: more about the best epoch.
        finished: whether what follows the last epoch is done too.
    """

    progress: dict[str, Any]
    history: tuple[EpochRecord, ...]
    standing: Standing
    details: dict[str, Any] = field(default_factory=dict)
    finished: bool = False

    def trained(self, spec: EpochsTrainSpec) -> bool:
        """Whether `spec` asks for no more epochs."""
        if len(self.history) >= spec.epochs:
            return True
        idle = len(self.history) - 1 - self.standing.best_epoch
        return spec.patience is not None and idle >= spec.patience


def load_run(spec: EpochsTrainSpec) -> SavedRun | None:
    """The state in `spec.out`, or None if there is none.

    Raises:
        SpecError: if another run left it.
    """
    store, location = open_store(spec.out, spec.access), join(spec.out, STATE_NAME)
    if not store.exists(location):
        return None
    try:
        saved = torch.load(io.BytesIO(store.read(location)), map_location="cpu", weights_only=True)
        digest = saved["digest"]
        run = SavedRun(
            saved["progress"],
            tuple(EpochRecord(**record) for record in saved["history"]),
            Standing(**saved["standing"]),
            saved["details"],
            saved["finished"],
        )
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, ValueError, EOFError) as error:
        raise SpecError(
            f"{location} is damaged, or no state of a training run: delete it to start over"
        ) from error
    if digest != spec.digest:
        raise SpecError(
            f"{spec.out} holds the state of a run with other settings or data: "
            f"choose another folder for out, or delete {location} to start over"
        )
    return run


def save_run(spec: EpochsTrainSpec, run: SavedRun) -> None:
    """Replace the state in `spec.out`, and the readable history beside it."""
    history = [dataclasses.asdict(record) for record in run.history]
    body = io.BytesIO()
    torch.save(
        {
            "digest": spec.digest,
            "progress": run.progress,
            "history": history,
            "standing": dataclasses.asdict(run.standing),
            "details": run.details,
            "finished": run.finished,
        },
        body,
    )
    store = open_store(spec.out, spec.access)
    store.put(join(spec.out, STATE_NAME), body.getvalue())
    store.put(join(spec.out, HISTORY_NAME), json.dumps(history, indent=1).encode())


def read_history(spec: EpochsTrainSpec) -> tuple[EpochRecord, ...]:
    """The epochs kept so far; none before the first."""
    try:
        body = open_store(spec.out, spec.access).read(join(spec.out, HISTORY_NAME))
    except ObjectMissing:
        return ()
    return tuple(EpochRecord(**record) for record in json.loads(body))
