"""From a run's folder to its report: one pass over the rows, one look at the chosen ones, one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from cvcore.errors import SpecError
from cvcore.image.limits import DecodeLimits
from jobs.ledger import Ledger
from jobs.report.cards import fetch_rows, make_cards
from jobs.report.gallery import DEFAULT_SIZES, Candidate, ShelfName, make_shelves, offer_all
from jobs.report.page import PageContent, render_page
from jobs.report.row_pictures import RowPictures, frame_pictures, run_pictures
from jobs.report.rows import Kind, RowBatch, iter_batches
from jobs.report.run import Run, read_decoding, read_run
from jobs.report.statistics import Statistics, measure
from jobs.report.training import build_training_report, is_training_folder
from jobs.report.videos import video_views
from jobs.storage import Access, StorageError, Store, is_s3, join, open_store, resolve_location

REPORT_NAME = "report.html"
NO_PAGE = {
    "scan": "one scan: name the folder of all, the --out of veedor scan",
    "calibrate": "a calibration: veedor calibrate says what there is to say of it",
    "denoise": "a denoise job: its pictures are in its rows, and where --images wrote them",
    "compress": "a compress job, which has codes alone: veedor decompress writes what they stand for",
    "embed": "an embed job, which has vectors alone: make an index of it, and search that",
}
"""Jobs whose runs have no report of their own, and what to do."""


WITHOUT_SHELVES: dict[Kind, tuple[ShelfName, ...]] = {
    "detections": (),
    "proposals": ("uncertain",),
    "labels": ("empty",),
    "classes": ("uncertain",),
}
"""Tabs that say nothing: each classified image has a label, and a share of pixels, or the
rank of a proposal, is no probability."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over a run's rows gives: its statistics, and the rows chosen for each shelf."""

    statistics: Statistics
    chosen: dict[ShelfName, list[Candidate]]


def survey_run(run: Run, store: Store, *, sizes: dict[ShelfName, int] | None = None) -> Survey:
    """Read every part once, one at a time. Memory does not grow with the run."""
    statistics = Statistics()
    shelves = make_shelves(DEFAULT_SIZES if sizes is None else sizes)
    for part in run.parts:
        first_row = 0
        for batch in _read_part(part, store):
            statistics = statistics.merge(measure(batch))
            offer_all(shelves, batch, part=part, first_row=first_row)
            first_row += len(batch)
    chosen = {shelf.name: shelf.choose() for shelf in shelves}
    for name in WITHOUT_SHELVES[statistics.kind]:
        chosen.pop(name, None)
    return Survey(statistics, chosen)


def _read_part(part: str, store: Store) -> Iterator[RowBatch]:
    try:
        yield from iter_batches(store.read(part))
    except pa.ArrowInvalid as error:
        raise StorageError(
            f"{part} is not readable Parquet ({error}): delete it and run the job again"
        ) from error


def build_report(
    run_uri: str,
    *,
    store: Store,
    read_image: Callable[[str], bytes] | None = None,
    pictures: bool = True,
    sizes: dict[ShelfName, int] | None = None,
    access: Access | None = None,
) -> str:
    """Make the report of a run, finished or not: one HTML page that refers to nothing outside itself.

    The page depends on the run's folder and pictures alone: the same run gives the same bytes.

    Args:
        run_uri: the run's folder.
        store: where it is.
        read_image: bytes of an input by location, called by several threads. By default inputs are read from
            the store of the job's source, and one that is no longer the pinned version is not shown.
        pictures: whether pictures of the inputs are shown at all.
        sizes: how many images each tab of the gallery holds at most; tabs that are absent are left out.
        access: how to reach the inputs; what it leaves open is as in the job's spec.

    Raises:
        SpecError: if `run_uri` is not a run's folder.
        StorageError: if the run or one of its files cannot be read. (An input that cannot be read is a card
            that says so.)
    """
    run = read_run(run_uri, store)
    if run.record.job in NO_PAGE:
        raise SpecError(f"{run_uri} is the run of {NO_PAGE[run.record.job]}")
    survey = survey_run(run, store, sizes=sizes)
    frames, made = None, RowPictures(None, None, DecodeLimits())
    if pictures:
        how = read_decoding(run, access or Access())
        frames = frame_pictures(run, how)
        made = run_pictures(run, how, read_image=read_image, frames=frames)
    chosen = [candidate for shelf in survey.chosen.values() for candidate in shelf]
    cards = make_cards(fetch_rows(store, chosen), made)
    videos, num_more_videos = video_views(run, store, frames)
    return render_page(PageContent(run, survey.statistics, survey.chosen, cards, videos, num_more_videos))


def write_report(
    run_uri: str,
    *,
    out_uri: str | None = None,
    store: Store | None = None,
    read_image: Callable[[str], bytes] | None = None,
    pictures: bool = True,
    access: Access | None = None,
) -> str:
    """Make the report of a run, of a folder of scans or of a training run, and put it at `out_uri`.

    Returns where it is. By default that is `<run>/report.html`.

    A report that is there already is replaced. `access` says how to reach object storage where `store` is not
    given. Raises what `build_report` raises.
    """
    run_uri = resolve_location(run_uri).rstrip("/")
    target = join(run_uri, REPORT_NAME) if out_uri is None else resolve_location(out_uri)
    access = access or Access()
    source = store or open_store(run_uri, access)
    if Ledger(run_uri, source).last:
        from jobs.report.scans import build_scans_report  # imports SciPy

        page = build_scans_report(run_uri, store=source, access=access)
    elif is_training_folder(run_uri, source):
        page = build_training_report(run_uri, store=source)
    else:
        page = build_report(run_uri, store=source, read_image=read_image, pictures=pictures, access=access)
    same_kind = is_s3(target) == is_s3(run_uri)
    sink = source if same_kind else open_store(target, access)
    sink.put(target, page.encode())
    return target
