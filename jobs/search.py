"""Asking an index for images that look like one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image

from cvcore.errors import ImageError, SpecError
from cvcore.image.decode import decode_to_canvas
from cvcore.models import build_model
from cvcore.retrieve.embed import embed
from cvcore.types import InputSpec
from jobs.index import Hit, Index
from jobs.model_files import fetch_model
from jobs.report.cards import short_name
from jobs.report.pictures import data_uri, encode_jpeg
from jobs.report.strip import StripItem, render_strip
from jobs.spec import ModelSection
from jobs.storage import Access, StorageError, open_store, resolve_location
from jobs.visible import visible

PICTURE_BYTES = 40_000
SHOWN = InputSpec(height=240, width=240)


@dataclass(frozen=True)
class Answer:
    """What a search found."""

    query: str
    body: bytes
    hits: tuple[Hit, ...]


def search_image(index: Index, image: str, k: int, *, access: Access, model: str | None = None) -> Answer:
    """The `k` items of an index that are most like an image.

    Args:
        index: opened.
        image: where the query is.
        k: how many, at least 1.
        access: to the query and the model.
        model: where the model is now, if it is no longer where the index says.

    Raises:
        SpecError, ModelError: for a query or a model that cannot be used.
    """
    if k < 1:
        raise SpecError(f"-k must be at least 1, got {k}")
    section = ModelSection.model_validate(index.model["model"])
    if model is not None:
        section = section.model_copy(update={"name": model})
    fetched = fetch_model(section, access)
    if fetched.digests["weights"] != index.model["weights_sha256"]:
        raise SpecError(
            f"{section.name} is not the model that {index.uri} was made with: name that one with --model, "
            "or make an index with this one"
        )
    location = resolve_location(image)
    body = open_store(location, access).read(location)
    network = build_model(fetched.source)
    spec = network.input_spec
    try:
        canvas = decode_to_canvas(body, spec, name=image).canvas  # type: ignore[arg-type]
    except ImageError as error:
        raise SpecError(f"{image} cannot be used as a query: {error}") from error
    vector = embed(network, torch.from_numpy(canvas)[None]).numpy()
    return Answer(location, body, tuple(index.search(vector, k)[0]))


def answer_page(answer: Answer, *, access: Access) -> str:
    """One HTML page of the query and what was found, with pictures."""
    query = StripItem(short_name(answer.query), visible(answer.query), "", *_picture(answer.body))
    items = []
    for hit in answer.hits:
        try:
            picture = _picture(open_store(hit.uri, access).read(hit.uri, etag=hit.etag or None))
        except StorageError as error:
            picture = (None, visible(str(error)))
        items.append(StripItem(short_name(hit.uri), visible(hit.uri), f"{hit.similarity:.3f}", *picture))
    return render_strip(query, items)


def _picture(body: bytes) -> tuple[str | None, str]:
    """A data URI, or None and why there is none."""
    try:
        canvas = decode_to_canvas(body, SHOWN).canvas
    except ImageError as error:
        return None, visible(str(error))
    return data_uri(encode_jpeg(Image.fromarray(canvas), max_bytes=PICTURE_BYTES), "jpeg"), ""
