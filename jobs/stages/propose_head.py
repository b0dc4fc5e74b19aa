"""From canvases to rows of class-independent boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch import Tensor, nn

from cvcore.image.fit import Fit
from cvcore.propose.proposer import SelectiveSearch
from jobs.schemas import propose_schema
from jobs.stages.rows import Failure, carried_columns, table_of
from jobs.stages.tasks import ProposeTask


class ProposeHead:
    """Canvases to proposals."""

    def __init__(self, model: nn.Module, task: ProposeTask) -> None:
        assert isinstance(model, SelectiveSearch), "the driver admits models that propose only"
        self.input_spec = model.input_spec
        self.model = model
        self._options = task.options

    def compute(self, images: Tensor, fits: Sequence[Fit]) -> list[Tensor]:
        found: list[Tensor] = self.model(images, fits, self._options)
        return found

    def finish(self, raw: list[Tensor], fits: Sequence[Fit]) -> list[Any]:
        del fits  # boxes are in pixels of the source already
        return [boxes.numpy() for boxes in raw]

    def table(self, batch: pa.Table, found: Mapping[int, Any]) -> pa.Table:
        schema = propose_schema()
        columns = carried_columns(batch, found, schema)
        rows = [
            None if isinstance(each := found.get(row), Failure) else each for row in range(batch.num_rows)
        ]
        columns["proposals"] = proposals_column(rows)
        return table_of(batch, columns, schema)


def proposals_column(rows: Sequence[npt.NDArray[np.float32] | None]) -> pa.ListArray:
    """Boxes, (N, 4) a row and best first, with scores that fall evenly from 1; null where a row has none."""
    kind = propose_schema().field("proposals").type
    present = [row for row in rows if row is not None]
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *present])
    scores = np.concatenate(
        [np.zeros(0), *(1 - np.arange(len(row)) / len(row) for row in present if len(row))]
    )
    values = pa.StructArray.from_arrays(
        [pa.FixedSizeListArray.from_arrays(pa.array(boxes.reshape(-1)), 4), pa.array(scores, pa.float32())],
        fields=[kind.value_type.field(i) for i in range(2)],
    )
    counts = [0 if row is None else len(row) for row in rows]
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    absent = pa.array([row is None for row in rows], pa.bool_())
    return pa.ListArray.from_arrays(offsets, values, type=kind, mask=absent)
