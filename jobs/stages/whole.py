"""All stages of a unit in one actor: where there is no GPU to keep fed, a hand-over only costs."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from jobs.stages.decode import DecodeStage
from jobs.stages.infer import InferSettings, InferStage
from jobs.stages.publish import PublishSettings, publish_unit


class WholeUnitStage:
    """Callable of Ray Data's actor pool: a unit's number in, its summary out."""

    def __init__(
        self, model: Any, infer: InferSettings, decode: DecodeStage, publish: PublishSettings
    ) -> None:
        self._infer = InferStage(model, infer)
        self._decode = decode
        self._publish = publish

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Read, decode, infer and publish the one unit that `batch` names."""
        (unit,) = batch.column("unit").to_pylist()
        return publish_unit(self._infer(self._decode.unit_table(unit)), settings=self._publish)
