"""A review queue: its order, and what is left out of it as it is like something before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from jobs.agreement import compare_found
from jobs.export.distinct import open_embeddings
from jobs.export.options import Options
from jobs.export.queue import Entries, Entry, Order, Queued, choose, draw, make_entry, row_entries
from jobs.export.source import ExportSource
from jobs.paired import Unpaired, index_run, pair_images
from jobs.storage import Access


def make_queue(
    source: ExportSource, order: Order, options: Options, access: Access
) -> tuple[list[Queued], dict[str, Any]]:
    """The images of a queue, and what an export says of how it was made.

    Raises:
        SpecError: if another run, or embeddings, that it needs are not there or not of these images.
    """
    assert options.limit is not None
    about: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        if order == "disagreement":
            entries, unpaired = stack.enter_context(_disagreements(source, options, access))
        else:
            entries, unpaired = row_entries(source.looked_at, order, seed=options.seed), None
        if options.dedup is None:
            queue = choose(entries, limit=options.limit)
        else:
            embedded = open_embeddings(source.run, options.embeddings, access=access)
            queue = choose(entries, limit=options.limit, distinct=embedded.distinct(options.dedup))
            about["dedup"] = {
                "above": options.dedup,
                "embeddings": options.embeddings or source.run.uri,
                "alike": sum(queued.num_alike for queued in queue),
                "without_embedding": embedded.num_without,
            }
        if unpaired is not None:
            about |= {"with": options.other, "not_in_other": unpaired.one}
    return queue, about


@contextlib.contextmanager
def _disagreements(
    source: ExportSource, options: Options, access: Access
) -> Iterator[tuple[Entries, Unpaired]]:
    """Entries by how far two runs disagree; an image that only one looked at is in no queue."""
    assert options.other is not None
    with (
        index_run(source.run.uri, access=access, partial=options.partial) as one,
        index_run(options.other, access=access, partial=options.partial) as other,
    ):
        unpaired = Unpaired()

        def entries() -> Iterator[Entry]:
            unpaired.one = unpaired.other = 0
            for image in pair_images(one, other, choice=options.choice, unpaired=unpaired):
                if image.found_one is None or image.found_other is None:
                    continue
                uri, frame = image.one["uri"], image.one["frame_index"]
                apart = compare_found(image.found_one, image.found_other).disagreement
                drawn = draw(uri, frame, options.seed)
                yield make_entry(apart, drawn, image.one["ordinal"] + 1, uri, frame)

        yield entries, unpaired
