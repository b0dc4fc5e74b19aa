"""Jobs over many small pictures with a toy model: what they take is the system's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import common  # noqa: F401  (lets `tests` be imported)

from jobs.spec import AnnotateSpec, build_spec
from tests.corpus import good_image, toy_model

DISTINCT_IMAGES = 100


def write_images(folder: Path, count: int) -> None:
    """`count` JPEG files of 24 to 120 pixels a side; a hundred pictures under many names."""
    folder.mkdir(parents=True)
    bodies = folder.with_name(folder.name + "-distinct")
    bodies.mkdir()
    for seed in range(min(count, DISTINCT_IMAGES)):
        (bodies / f"{seed}.jpg").write_bytes(good_image(seed))
    for index in range(count):
        os.link(bodies / f"{index % DISTINCT_IMAGES}.jpg", folder / f"{index:07d}.jpg")


def small_job(source: str, out: str, model_folder: Path, **sections: dict[str, Any]) -> AnnotateSpec:
    """A job with the toy model over `source`."""
    content = {"source": {"uri": source}, "model": toy_model(model_folder), "resources": {"batch_size": 8}}
    sink = {"uri": out} | sections.pop("sink", {})
    return build_spec({**content, **sections, "sink": sink}, name="benchmark")
