"""From what a user names to a model that is ready to infer.

Importing this module imports no torch; building a model does.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cvcore.catalog import CATALOG, find_model, is_cfg, resolve
from cvcore.catalog_entries import ModelEntry
from cvcore.errors import ModelError, WeightsError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cvcore.darknet.detector import DarknetDetector

_PUBLISHED = "torchvision://"


@dataclass(frozen=True)
class ModelSource:
    """Everything a model is made of, in memory; it can be sent to other processes.

    Attributes:
        name: of the catalogue, or a Darknet `.cfg`; may be empty where a checkpoint says it.
        cfg: the text of the `.cfg`.
        weights: the bytes of a weights file.
        weights_name: what messages call it.
        weights_sha256: its pinned digest; a `torch.save` file is not read without.
        labels: class names in place of the model's own.
        config: keyword arguments of the catalogue's builder; a checkpoint has its own.
    """

    name: str
    cfg: str | None = None
    weights: bytes | None = field(default=None, repr=False)
    weights_name: str = "weights"
    weights_sha256: str | None = None
    labels: tuple[str, ...] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


def build_model(source: ModelSource) -> nn.Module:
    """Build the model and load its weights, in evaluation mode on the CPU.

    Raises:
        ModelError: if it cannot be named or built, or its weights are missing or do not fit; the message
            says what to pass.
    """
    if source.cfg is not None or is_cfg(source.name):
        return _build_darknet(source)
    if source.weights is None:
        entry = find_model(source.name)
        if entry.num_parameters:
            raise ModelError(_ask_for_weights(source.name, entry))
        return build_entry(entry, source.labels, source.config, name=source.name).eval()

    from cvcore.checkpoint import is_checkpoint

    model = _build_checkpoint(source) if is_checkpoint(source.weights) else _build_foreign(source)
    model.eval()
    _fuse(model)
    return model


def _fuse(model: nn.Module) -> None:
    from cvcore.darknet.model import DarknetModel

    for part in model.modules():
        if isinstance(part, DarknetModel):
            part.network.fuse()


def parse_labels(text: str) -> tuple[str, ...]:
    """Read a labels file: one class name a line, in output order; blank lines at the end are dropped.

    Raises:
        ModelError: for an empty file, a blank line between names, or a name that comes twice.
    """
    lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ModelError("the labels file is empty: it needs one class name a line")
    first_lines: dict[str, int] = {}
    for number, label in enumerate(lines, start=1):
        if not label:
            raise ModelError(
                f"line {number} of the labels file is blank: each line names one class, in order"
            )
        if label in first_lines:
            raise ModelError(
                f"the label {label!r} is on lines {first_lines[label]} and {number} of the labels file: "
                "names must differ"
            )
        first_lines[label] = number
    return tuple(lines)


def _ask_for_weights(name: str, entry: ModelEntry) -> str:
    if entry.weights is None:
        return f"{name} comes without weights: pass some that were made for it"
    return f"{name} needs weights: pass {entry.weights}, or some of your own"


def _build_darknet(source: ModelSource) -> DarknetDetector:
    from cvcore.darknet.detector import DarknetDetector

    if source.cfg is None:
        raise ModelError(f"{source.name} is a Darknet model, and the text of its .cfg was not given")
    if source.weights is None:
        raise ModelError(f"{source.name} needs the .weights file that was made for it")
    _check_digest(source, source.weights)
    detector = DarknetDetector.from_cfg(source.cfg, labels=source.labels)
    detector.load_darknet_weights(source.weights, name=source.weights_name)
    return detector


def _build_checkpoint(source: ModelSource) -> nn.Module:
    from cvcore.checkpoint import load_into, read_checkpoint

    assert source.weights is not None
    _check_digest(source, source.weights)
    checkpoint = read_checkpoint(source.weights)
    if source.name and source.name != checkpoint.model:
        raise ModelError(
            f"{source.weights_name} holds a {checkpoint.model!r}, not a {source.name!r}: "
            "name the one that it holds"
        )
    labels = source.labels or checkpoint.labels
    if len(labels) != len(checkpoint.labels):
        raise ModelError(
            f"{source.weights_name} has {len(checkpoint.labels)} classes, but {len(labels)} labels were given"
        )
    model = build_entry(find_model(checkpoint.model), labels, checkpoint.config, name=checkpoint.model)
    load_into(model, checkpoint.state, name=source.weights_name)
    return model


def _build_foreign(source: ModelSource) -> nn.Module:
    from cvcore.checkpoint import load_into, read_state_dict
    from cvcore.darknet.model import DarknetModel

    assert source.weights is not None
    if not source.name:
        raise ModelError(
            f"{source.weights_name} is not a Veedor checkpoint, so it does not say which model it is of: "
            f"name one of {', '.join(CATALOG)}"
        )
    entry = find_model(source.name)
    sha256 = source.weights_sha256 or _published_digest(source.weights, entry)
    model = build_entry(entry, source.labels, source.config, name=source.name)
    if isinstance(model, DarknetModel) and source.weights_name.endswith(".weights"):
        _check_digest(source, source.weights)
        model.load_darknet_weights(source.weights, name=source.weights_name)
        return model
    state: Mapping[str, Tensor] = read_state_dict(source.weights, name=source.weights_name, sha256=sha256)
    if entry.adapter is not None:
        state = resolve(entry.adapter)(state)
    load_into(model, state, name=source.weights_name)
    return model


def build_entry(
    entry: ModelEntry, labels: tuple[str, ...] | None, config: Mapping[str, Any], *, name: str
) -> nn.Module:
    """Build an entry's model with random weights.

    Raises:
        ModelError: for a configuration, or labels, that it does not take.
    """
    if not entry.num_labels and labels:
        raise ModelError(f"{name} names no classes: leave the labels out")
    arguments = (labels,) if entry.num_labels else ()
    builder = resolve(entry.builder)
    _check_options(builder, config, name=name)
    try:
        model: nn.Module = builder(*arguments, **{**entry.config, **config})
    except (TypeError, ValueError) as error:
        raise ModelError(f"{name} cannot be built with the configuration {dict(config)}: {error}") from error
    return model


def _check_options(builder: Callable[..., Any], config: Mapping[str, Any], *, name: str) -> None:
    """Builders that pass options on leave unknown ones to those that they call."""
    parameters = inspect.signature(builder).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    allowed = [each.name for each in parameters if each.name != "labels"]
    for option in config:
        if option not in allowed:
            raise ModelError(
                f"{name} has no option {option!r}.{did_you_mean(option, allowed)} "
                f"Its options: {', '.join(allowed) or 'none'}"
            )


def _published_digest(weights: bytes, entry: ModelEntry) -> str | None:
    """The digest of `weights` if torchvision published them: the hash in its file names pins them."""
    if entry.weights is None or not entry.weights.startswith(_PUBLISHED):
        return None
    from cvcore.detect.torchvision_models import published_weights

    digest = hashlib.sha256(weights).hexdigest()
    return digest if digest.startswith(published_weights(entry.weights).sha256_prefix) else None


def _check_digest(source: ModelSource, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    if source.weights_sha256 is not None and digest != source.weights_sha256.lower():
        raise WeightsError(
            f"{source.weights_name} has the SHA-256 {digest}, but {source.weights_sha256} is pinned: "
            "it is another file"
        )
