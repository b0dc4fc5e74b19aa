"""What Ray Data's actor pools hold. The models are imported in the actor: the driver does without torch."""

from __future__ import annotations

from threading import Lock
from typing import Any

import pyarrow as pa

from jobs.stages.decode import DecodeStage
from jobs.stages.publish import PublishSettings, publish_unit
from jobs.stages.settings import InferSettings


class InferActor:
    """Infers units that other processes decode and publish, as befits a GPU that has to be kept fed.

    Args:
        pool: the name under which the board knows this actor and its siblings.
        model: a reference to the model's source.
        settings: of inference.
    """

    def __init__(self, pool: str, model: Any, settings: InferSettings) -> None:
        settings.tally.enter(pool)
        from jobs.stages.infer import InferStage

        self._stage = InferStage(model, settings)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Canvases of one unit in (`canvas_schema`), results out (`result_schema`)."""
        return self._stage(batch)


class WholeUnitActor(InferActor):
    """Does all stages of a unit: where there is no GPU to keep fed, a hand-over only costs.

    Two units are under way at once: one computes while the other waits for the store, reading or writing.
    """

    CONCURRENT_UNITS = 2

    def __init__(
        self, pool: str, model: Any, infer: InferSettings, decode: DecodeStage, publish: PublishSettings
    ) -> None:
        super().__init__(pool, model, infer)
        self._decode = decode
        self._publish = publish
        self._computing = Lock()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Read, decode, infer and publish the one unit that `batch` names."""
        (unit,) = batch.column("unit").to_pylist()
        decoded = self._decode.unit_table(unit, computing=self._computing)
        return publish_unit(self._stage(decoded, computing=self._computing), settings=self._publish)
