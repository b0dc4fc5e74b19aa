"""Fetching what a model is made of, once, on the driver, and pinning it by digest."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cvcore.catalog import CATALOG, SHIPPED, find_model, is_cfg, read_shipped
from cvcore.errors import ModelError, WeightsError
from cvcore.models import ModelSource, parse_labels
from jobs.spec import ModelSection
from jobs.storage import Access, StorageError, base_name, open_store, resolve_location

CACHE = Path("~/.cache/veedor/weights").expanduser()
CHECKPOINT_SUFFIX = ".safetensors"
FETCH_TIMEOUT_S = 60
PUBLISHED = "torchvision://"
# Only what the catalogue itself names: a spec must not choose what is imported, or read beside it.
_SHIPPED = frozenset(entry.weights for entry in CATALOG.values() if (entry.weights or "").startswith(SHIPPED))


@dataclass(frozen=True)
class FetchedModel:
    """A model's parts in memory, and the digests that pin them."""

    source: ModelSource
    digests: dict[str, str]


def names_folder(name: str) -> bool:
    """Whether a model's name is a folder: it has a slash, or is no entry of the catalogue and lies here."""
    return not is_cfg(name) and ("/" in name or (name not in CATALOG and Path(name).is_dir()))


def model_folder(name: str) -> str:
    """The folder of a trained model that is named by it, or by its checkpoint.

    Raises:
        ModelError: for a name of the catalogue, which has none.
    """
    if name.endswith(CHECKPOINT_SUFFIX):
        return resolve_location(name).rpartition("/")[0]
    if not names_folder(name):
        raise ModelError(
            f"{name!r} is no trained model: name the --out of veedor train, or its .safetensors file"
        )
    return resolve_location(name).rstrip("/")


def model_files(section: ModelSection) -> dict[str, str]:
    """Part to location, of what a model's section names: its catalogue's own parts have none."""
    name = section.name
    named = is_cfg(name) or name.endswith(CHECKPOINT_SUFFIX) or names_folder(name)
    parts = {"name": name if named else None, "weights": section.weights, "labels": section.labels}
    return {
        part: resolve_location(reference)
        for part, reference in parts.items()
        if reference is not None and reference not in _SHIPPED and not reference.startswith(PUBLISHED)
    }


def located(section: ModelSection) -> ModelSection:
    """The same model, its files named from the root."""
    return section.model_copy(update=model_files(section))


def fetch_model(section: ModelSection, access: Access) -> FetchedModel:
    """Read `.cfg`, weights and labels from where the spec says.

    Raises:
        ModelError, StorageError: when a part is missing, or is not the version that `sha256` pins.
    """
    name, weights_ref, cfg = section.name, section.weights, None
    if is_cfg(name):
        cfg = read_part(name, access).decode("utf-8", errors="replace")
        if weights_ref is None:
            raise ModelError(f"{name} needs its weights: add --weights with the .weights file made for it")
    elif name.endswith(CHECKPOINT_SUFFIX):
        weights_ref, name = weights_ref or name, ""
    elif names_folder(name):
        location = f"{model_folder(name)}/model{CHECKPOINT_SUFFIX}"
        weights_ref, name = weights_ref or location, ""
    else:
        weights_ref = weights_ref or find_model(name).weights
    weights = None if weights_ref is None else read_part(weights_ref, access)
    digest = None if weights is None else hashlib.sha256(weights).hexdigest()
    if section.sha256 is not None and digest != section.sha256:
        raise WeightsError(
            f"{weights_ref} has SHA-256 {digest}, model.sha256 pins {section.sha256}: "
            "the file changed, or the pin is another file's"
        )
    labels = None if section.labels is None else _read_labels(section.labels, access)
    digests = {"weights": digest or ""}
    if cfg is not None:
        digests["cfg"] = hashlib.sha256(cfg.encode()).hexdigest()
    if labels is not None:
        digests["labels"] = hashlib.sha256("\n".join(labels).encode()).hexdigest()
    weights_name = base_name(weights_ref) if weights_ref else ""
    source = ModelSource(
        name=name,
        cfg=cfg,
        weights=weights,
        weights_name=weights_name,
        weights_sha256=section.sha256,
        labels=labels,
    )
    return FetchedModel(source, digests)


def _read_labels(reference: str, access: Access) -> tuple[str, ...]:
    try:
        text = read_part(reference, access).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{reference} is no list of labels: it is not UTF-8 text") from error
    return parse_labels(text)


def read_part(reference: str, access: Access) -> bytes:
    """A part of a model, from where a user or the catalogue names it.

    Raises:
        ModelError, StorageError: when it cannot be had.
    """
    if reference in _SHIPPED:
        return read_shipped(reference)
    if reference.startswith(PUBLISHED):
        return _read_published(reference)
    location = resolve_location(reference)
    try:
        return open_store(location, access).read(location)
    except StorageError as error:
        raise ModelError(f"a part of the model cannot be read: {error}") from error


def default_weights(reference: str) -> str:
    """The reference of the weights of a model that is named as in the catalogue; any other one as it is."""
    entry = CATALOG.get(reference)
    return reference if entry is None or entry.weights is None else entry.weights


def pin_of(reference: str, body: bytes, pinned: str | None) -> str | None:
    """The SHA-256 that a part's file must have: the user's, or that of a file which torchvision published.

    `read_part` has checked the latter against the published digest, so its pickle may be read.
    """
    if pinned is None and reference.startswith(PUBLISHED):
        return hashlib.sha256(body).hexdigest()
    return pinned


def _read_published(reference: str) -> bytes:
    """torchvision's own weights, kept in the user's cache after the first fetch."""
    from cvcore.detect.torchvision_models import published_weights  # imports torch

    published = published_weights(reference)
    cached = CACHE / base_name(published.url)
    body = cached.read_bytes() if cached.exists() else _download(published.url, reference)
    if not hashlib.sha256(body).hexdigest().startswith(published.sha256_prefix):
        cached.unlink(missing_ok=True)
        raise WeightsError(f"{published.url} is not the file that torchvision published: fetch it again")
    if not cached.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = cached.with_suffix(".part")
        draft.write_bytes(body)
        draft.replace(cached)
    return body


def _download(url: str, reference: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_S) as answer:
            body: bytes = answer.read()
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise WeightsError(
            f"{reference} has to be fetched from {url}, which is not reachable from here ({error}). "
            "Fetch the file where there is a network and name it in place of the reference, "
            f"or put it into {CACHE}."
        ) from error
    return body
