"""A run's rows as an export takes them: chosen, and as people left them where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jobs.export.corrected import Corrections, Use, corrected, is_decided
from jobs.export.facts import ALL
from jobs.export.rows import Choice, ExportRow, iter_rows
from jobs.export.writer import Facts
from jobs.report.run import Run
from jobs.storage import Store


@dataclass(frozen=True, slots=True)
class ExportSource:
    """A run's rows, to be read as often as needed.

    Attributes:
        run, facts, store: of the run.
        choice: of its detections.
        use: of the corrections `said`, which are None where they are ignored.
    """

    run: Run
    facts: Facts
    store: Store
    choice: Choice
    use: Use
    said: Corrections | None

    def rows(self, *, masks: bool = True) -> Iterator[ExportRow | None]:
        """All rows; None for those that are left out, as they are decided or as they are not."""
        every = self.choice if self.said is None else ALL
        rows = iter_rows(self.run.parts, self.store, source=self.facts.source, choice=every, masks=masks)
        if self.said is None:
            yield from rows
            return
        index = self.facts.label_index
        for row in rows:
            mine = self.said.of((row.uri, row.frame_index))
            if row.found is None:
                yield row
            elif self.use in ("only", "undecided") and is_decided(row.found, mine) != (self.use == "only"):
                yield None
            else:
                yield self.choice.narrow(corrected(row, mine, index) if mine else row)

    def looked_at(self) -> Iterator[ExportRow]:
        """Those that were looked at and are not left out, without masks."""
        return (row for row in self.rows(masks=False) if row is not None and row.found is not None)
