"""`veedor view` over a run of a million detections: how long until its page is there, and each page after.

    python benchmarks/view.py [--images 100000] [--each 10] [--json]

The run is written first, without images: a page is its cards, as the browser gets them, not their pictures.
Every selection is timed when it is made, and on pages all over it, of which the median counts.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from common import Claim, argument_parser, peak_rss_bytes, report
from export import write_run

from jobs.storage import Access
from jobs.view.filters import Filter
from jobs.view.session import ViewSession, open_view

MAX_PAGE_S, MAX_BYTES = 0.5, 2**30
NUM_PAGES = 5
SELECTIONS = {
    "all": Filter(),
    "a label": Filter(labels=("car",)),
    "a label and scores": Filter(labels=("car",), min_score=0.9),
    "the most doubtful first": Filter(order="uncertain"),
    "undecided": Filter(state="undecided"),
    "a name": Filter(name="0001234"),
}


def timed(session: ViewSession, chosen: Filter, page: int) -> float:
    """Seconds for a page of a selection that is made."""
    start = time.perf_counter()
    session.page(chosen, page, fresh=False)
    return time.perf_counter() - start


def main() -> None:
    parser = argument_parser("view", __doc__ or "")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=10, help="detections an image")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_run(folder, arguments.images, arguments.each)
        start = time.perf_counter()
        session = open_view(str(folder / "run"), who="a reviewer", access=Access())
        opened_s = time.perf_counter() - start
        made_s, page_s, totals = {}, {}, {}
        for name, chosen in SELECTIONS.items():
            start = time.perf_counter()
            first = session.page(chosen, 0, fresh=True)
            made_s[name] = time.perf_counter() - start
            totals[name] = first["total"]
            page_s[name] = statistics.median(
                timed(session, chosen, first["pages"] * k // NUM_PAGES) for k in range(NUM_PAGES)
            )
        start = time.perf_counter()
        session.decide(arguments.images // 2, [{"verdict": "reject", "number": 1}])
        decided_s = time.perf_counter() - start
        session.close()
    total = arguments.images * arguments.each
    peak = peak_rss_bytes()
    slowest = max(made_s, key=lambda name: made_s[name])
    claims = [
        Claim(f"opening a run of {total:,} detections", "", f"{opened_s:.1f} s"),
        Claim(
            "making a selection and its first page, the slowest of six",
            f"under {MAX_PAGE_S} s",
            f"{made_s[slowest]:.2f} s ({slowest})",
            made_s[slowest] < MAX_PAGE_S,
        ),
        Claim(
            "a page of one, the slowest selection's median",
            f"under {MAX_PAGE_S} s",
            f"{max(page_s.values()):.2f} s",
            max(page_s.values()) < MAX_PAGE_S,
        ),
        Claim("a decision", f"under {MAX_PAGE_S} s", f"{decided_s:.2f} s", decided_s < MAX_PAGE_S),
        Claim("peak memory", "under 1 GiB", f"{peak / 2**20:,.0f} MiB", peak < MAX_BYTES),
    ]
    details = {"opened_s": opened_s, "made_s": made_s, "page_s": page_s, "images": totals}
    report("view", claims, {**details, "decided_s": decided_s, "peak_bytes": peak}, arguments.json)


if __name__ == "__main__":
    main()
