"""What `veedor compare --out` leaves: the table as Markdown, as a page, and all figures as JSON."""

from __future__ import annotations

import json
from typing import Any

from jobs.compare_models import Comparison
from jobs.evaluation_files import evaluation_content
from jobs.report.comparison import render_comparison, render_markdown
from jobs.storage import Access, join, open_store, resolve_location

NAME = "comparison"


class ComparisonFolder:
    """A folder for one comparison; what was there is replaced."""

    def __init__(self, out: str, access: Access) -> None:
        self._folder = resolve_location(out)
        self._store = open_store(self._folder, access)

    @property
    def page(self) -> str:
        """Where the page is."""
        return join(self._folder, f"{NAME}.html")

    def write(self, found: Comparison) -> None:
        """Put all three files, of as many models as have been measured.

        Raises:
            StorageError: if the folder cannot be written.
        """
        content = json.dumps(comparison_content(found), indent=1)
        bodies = {"json": content, "md": render_markdown(found), "html": render_comparison(found)}
        for suffix, body in bodies.items():
            self._store.put(join(self._folder, f"{NAME}.{suffix}"), body.encode())


def comparison_content(found: Comparison) -> dict[str, Any]:
    """All figures as JSON has them; a model that failed has an `error` in place of them."""
    return {
        "data": found.data,
        "split": found.split,
        "num_images": found.num_images,
        "num_objects": found.num_objects,
        "models": [
            {"model": row.name, "error": row.error} if row.found is None else evaluation_content(row.found)
            for row in found.rows
        ],
    }
