"""Weights on disk: the project's own checkpoints, and foreign state dicts read without running code.

A checkpoint is one safetensors file whose header metadata holds, under the key `veedor`, the JSON

    {"format": 1, "model": ..., "config": {...}, "labels": [...], "training": {...}}

so that the file alone rebuilds its model, and every other safetensors reader sees plain tensors. A file that
ships with the package may leave out what another one of them holds; `base` then says which
(`cvcore.checkpoint_base`).
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from cvcore.checkpoint_base import Base
from cvcore.errors import WeightsError

FORMAT = 1
MAX_HEADER_BYTES = 100 * 2**20
_KEY = "veedor"
_SIZE_BYTES = 8
# Training frameworks wrap the state dict in one of these, and its names in one of those.
_NESTINGS = ("state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.")
# A counter that only training with cumulative statistics reads; old files lack it.
_OPTIONAL = "num_batches_tracked"
_PICKLES = (b"\x80", b"PK\x03\x04")
# What `torch.load` raises on files that are damaged or hold more than tensors.
_LOAD_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    OSError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        model: the catalogue's name of the architecture.
        config: keyword arguments of its builder, labels apart.
        labels: class names in output order.
        training: how it came to be: data, seed, steps, measured quality; nothing depends on it.
        state: parameters and buffers by name, on the CPU.
    """

    model: str
    config: dict[str, Any]
    labels: tuple[str, ...]
    training: dict[str, Any]
    state: dict[str, Tensor]


def save_checkpoint(
    state: Mapping[str, Tensor],
    *,
    model: str,
    config: Mapping[str, Any],
    labels: Sequence[str],
    training: Mapping[str, Any],
    base: Base | None = None,
) -> bytes:
    """Return the file's bytes; equal arguments give equal bytes. Tensors keep their dtype.

    With `base`, `state` lacks what that file holds.
    """
    about: dict[str, Any] = {
        "format": FORMAT,
        "model": model,
        "config": dict(config),
        "labels": list(labels),
        "training": dict(training),
        **({} if base is None else {"base": asdict(base)}),
    }
    text = json.dumps(about, sort_keys=True, allow_nan=False, separators=(",", ":"))
    # Copies, since safetensors refuses tensors that share memory.
    plain = {name: state[name].detach().to("cpu", copy=True).contiguous() for name in sorted(state)}
    return safetensors.torch.save(plain, metadata={_KEY: text})


def is_checkpoint(data: bytes) -> bool:
    """Whether `data` is a safetensors file with the project's metadata."""
    return _KEY in _metadata(data)


def is_state_dict(data: bytes) -> bool:
    """Whether `read_state_dict` may read `data`, by its first bytes; Darknet's files begin otherwise."""
    return _is_safetensors(data) or data.startswith(_PICKLES)


def read_checkpoint(data: bytes) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises:
        WeightsError: for anything else, a newer format, or a damaged file.
    """
    about = _parse_about(data)
    state = _read_safetensors(data, name="checkpoint")
    if "base" in about:
        base = Base.parse(about["base"])
        state |= {f"{base.prefix}{key}": value for key, value in read_checkpoint(base.read()).state.items()}
    return Checkpoint(about["model"], about["config"], tuple(about["labels"]), about["training"], state)


def read_about(file: BinaryIO) -> dict[str, Any]:
    """What `save_checkpoint` wrote beside the tensors: `model`, `config`, `labels`, `training`.

    Reads the header of an open file alone.

    Raises:
        WeightsError: as `read_checkpoint`.
    """
    start = file.read(_SIZE_BYTES)
    size = int.from_bytes(start, "little")
    return _parse_about(start + file.read(min(size, MAX_HEADER_BYTES)))


def read_state_dict(data: bytes, *, name: str, sha256: str | None = None) -> dict[str, Tensor]:
    """Read a foreign file of weights: safetensors, or what `torch.save` wrote.

    Args:
        data: the file.
        name: what messages call it.
        sha256: its expected digest, 64 hexadecimal digits. A `torch.save` file is a pickle, so it is read
            only where its digest is pinned, and then with `weights_only=True`: tensors, never code.

    Returns:
        Tensors by name, on the CPU, without the wrappings of training frameworks.

    Raises:
        WeightsError: for another digest, another kind of file, or a damaged one.
    """
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256.lower():
        raise WeightsError(f"{name} has the SHA-256 {digest}, but {sha256} is pinned: it is another file")
    if _is_safetensors(data):
        return _unwrap(_read_safetensors(data, name=name), name=name)
    if data.startswith(_PICKLES):
        if sha256 is None:
            raise WeightsError(
                f"{name} is a pickle, which is read only if its digest is pinned. If you trust where it "
                f"comes from, set sha256: {digest} beside the weights; or save it as safetensors"
            )
        return _unwrap(_read_pickle(data, name=name), name=name)
    raise WeightsError(
        f"{name} is neither safetensors nor a torch.save file (it begins with {data[:8]!r}). "
        "Darknet .weights need their .cfg as the model's name"
    )


def load_into(model: nn.Module, state: Mapping[str, Tensor], *, name: str = "these weights") -> None:
    """Copy every tensor of `state` into `model`, cast to the model's dtypes.

    Raises:
        WeightsError: unless names and shapes are the model's own; the model is then unchanged.
    """
    own = model.state_dict()
    missing = [key for key in own if key not in state and not key.endswith(_OPTIONAL)]
    unexpected = [key for key in state if key not in own and not key.endswith(_OPTIONAL)]
    wrong = [
        f"{key} {_shape(state[key])} instead of {_shape(own[key])}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or unexpected or wrong:
        problems = [
            _few(len(missing), "missing", missing),
            _few(len(unexpected), "unexpected", unexpected),
            _few(len(wrong), "of another shape", wrong),
        ]
        raise WeightsError(
            f"{name} do not fit: {'; '.join(filter(None, problems))}. "
            f"The model, {type(model).__name__}, has {len(own)} tensors, the file {len(state)}"
        )
    model.load_state_dict({key: state[key] for key in own if key in state}, strict=False)


def _parse_about(data: bytes) -> dict[str, Any]:
    """The metadata in a file, or in what a file begins with."""
    text = _metadata(data).get(_KEY)
    if text is None:
        raise WeightsError("this is not a Veedor checkpoint: its header has no 'veedor' metadata")
    try:
        about: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"the checkpoint's header is damaged: {error}") from error
    _check_about(about)
    return about


def _check_about(about: Any) -> None:
    if not isinstance(about, dict) or not isinstance(about.get("format"), int):
        raise WeightsError("the checkpoint's header is damaged: it names no format")
    if about["format"] != FORMAT:
        raise WeightsError(
            f"the checkpoint has format {about['format']}, this version reads {FORMAT}: update Veedor"
        )
    kinds = {"model": str, "config": dict, "labels": list, "training": dict}
    wrong = [key for key, kind in kinds.items() if not isinstance(about.get(key), kind)]
    if wrong or not all(isinstance(label, str) for label in about["labels"]):
        raise WeightsError(f"the checkpoint's header is damaged: {', '.join(wrong) or 'labels'}")


def _is_safetensors(data: bytes) -> bool:
    return data[8:9] == b"{"


def _metadata(data: bytes) -> dict[str, str]:
    """The string metadata of a safetensors header; empty if `data` is no such file."""
    if not _is_safetensors(data):
        return {}
    size = int.from_bytes(data[:8], "little")
    if size > len(data) - 8:
        return {}
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError):
        return {}
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _read_safetensors(data: bytes, *, name: str) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise WeightsError(f"{name} is a damaged or incomplete safetensors file: {error}") from error


def _read_pickle(data: bytes, *, name: str) -> Any:
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _LOAD_ERRORS as error:
        first = str(error).strip().split("\n")[0]
        raise WeightsError(
            f"{name} is damaged, or holds more than tensors, which is never loaded ({first}). "
            "Save its state dict alone, best as safetensors"
        ) from error


def _unwrap(loaded: Any, *, name: str) -> dict[str, Tensor]:
    for key in _NESTINGS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError(f"{name} holds no state dict but a {type(loaded).__name__}")
    strange = [str(key) for key, value in loaded.items() if not isinstance(value, Tensor)]
    if strange:
        raise WeightsError(f"{name} holds no plain state dict: {_few(len(strange), 'not tensors', strange)}")
    names = [str(key) for key in loaded]
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in names):
            names = [key.removeprefix(prefix) for key in names]
    return dict(zip(names, loaded.values(), strict=True))


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _few(count: int, what: str, names: Iterable[str], *, limit: int = 3) -> str:
    names = list(names)
    return f"{count} {what} ({', '.join(names[:limit])}{', ...' if count > limit else ''})" if count else ""
