"""What the driver must know of a model, found by building it once: its parts fit.

Building needs torch, which takes seconds to import: what was found is kept in the user's cache under the
digest of all that decides it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import cvcore
from cvcore.anomaly.options import ScoreName
from cvcore.errors import ModelError
from cvcore.models import ModelSource
from cvcore.types import InputSpec


@dataclass(frozen=True)
class ModelFacts:
    """What a model reads and gives.

    Attributes:
        labels: what it names.
        detects: whether it is a detector.
        scores: the anomaly scores that it gives, the default first.
        embedding_size: numbers of its embeddings; None where there are none.
        reconstructs: whether it is an autoencoder.
        classifies: whether it is a classifier.
        segments: whether it is a segmenter.
        stride_px: of a segmenter: tiles begin at multiples of it.
    """

    input_spec: InputSpec
    labels: tuple[str, ...]
    num_parameters: int
    detects: bool = True
    scores: tuple[ScoreName, ...] = ()
    embedding_size: int | None = None
    reconstructs: bool = False
    classifies: bool = False
    segments: bool = False
    stride_px: int = 1


def check_reconstructs(facts: ModelFacts, name: str) -> None:
    """Raises `ModelError` for a model that is no autoencoder."""
    if not facts.reconstructs:
        raise ModelError(f"{name} reconstructs nothing: use a trained autoencoder")


def model_facts(source: ModelSource) -> ModelFacts:
    """What `inspect_model` finds, or found before."""
    kept = cache_folder() / f"{_digest(source)}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return _decode(kept.read_text())
    facts = inspect_model(source)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_name(f".{kept.name}.{secrets.token_hex(4)}")
        draft.write_text(json.dumps(asdict(facts)))
        draft.replace(kept)
    return facts


def cache_folder() -> Path:
    """Where facts are kept."""
    return Path("~/.cache/veedor/facts").expanduser()


def _decode(text: str) -> ModelFacts:
    content = json.loads(text)
    spec = InputSpec(**content["input_spec"])
    content |= {"input_spec": spec, "labels": tuple(content["labels"]), "scores": tuple(content["scores"])}
    return ModelFacts(**content)


def _digest(source: ModelSource) -> str:
    digest = hashlib.sha256(f"{version('torch')}".encode())
    root = Path(cvcore.__file__).parent
    for path in sorted(root.rglob("*.py")):  # a checkout changes without its version
        digest.update(f"\n{path.relative_to(root)} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    for name in sorted(vars(source)):
        value = getattr(source, name)
        body = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(f"\n{name} {len(body)} ".encode() + hashlib.sha256(body).digest())
    return digest.hexdigest()


def inspect_model(source: ModelSource) -> ModelFacts:
    """Build the model on the CPU of this process and look at it.

    Raises:
        ModelError: if its parts do not fit.
    """
    import torch

    from cvcore.anomaly.scorers import scores_of
    from cvcore.autoencode.base import Autoencoder
    from cvcore.classify.base import Classifier
    from cvcore.detect.base import Detector
    from cvcore.models import build_model
    from cvcore.retrieve.embed import embedding_size_of
    from cvcore.segment.base import Segmenter

    torch.set_num_threads(1)
    model = build_model(source)
    spec = model.input_spec
    assert isinstance(spec, InputSpec), "every model of the catalogue says what it reads"
    scores: tuple[ScoreName, ...] = ()
    with contextlib.suppress(ModelError):
        scores = scores_of(model)
    return ModelFacts(
        spec,
        tuple(str(label) for label in model.labels),  # type: ignore[union-attr]
        sum(p.numel() for p in model.parameters()),
        isinstance(model, Detector),
        scores,
        embedding_size_of(model),
        isinstance(model, Autoencoder),
        isinstance(model, Classifier),
        isinstance(model, Segmenter),
        model.stride_px if isinstance(model, Segmenter) and not model.fixed_size else 1,
    )
