"""Checkpoints that complete another one: what both models have in common ships once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any, Self

from cvcore.catalog import CATALOG, SHIPPED, read_shipped
from cvcore.errors import WeightsError


@dataclass(frozen=True, slots=True)
class Base:
    """The shipped weights that a checkpoint completes.

    Attributes:
        model: whose default weights they are, in the catalogue.
        sha256: of their file.
        prefix: what their names begin with in the whole model.
    """

    model: str
    sha256: str
    prefix: str

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From a checkpoint's header.

        Raises:
            WeightsError: for anything else.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(value, dict) or value.keys() != names or not all(map(_is_text, value.values())):
            raise WeightsError(f"the checkpoint's header is damaged: its base is {value!r}")
        return cls(**value)

    @classmethod
    def of(cls, model: str, *, prefix: str) -> Self:
        """The weights that ship with `model` now.

        Raises:
            WeightsError: where there are none.
        """
        return cls(model, hashlib.sha256(_read(model)).hexdigest(), prefix)

    def read(self) -> bytes:
        """The file of the shipped weights.

        Raises:
            WeightsError: where none ships with that model, or another one than the checkpoint was made for.
        """
        data = _read(self.model)
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            raise WeightsError(
                f"the checkpoint completes weights of {self.model} with SHA-256 {self.sha256}, and those "
                f"that ship have {digest}: it was made for another version of Veedor"
            )
        return data


def _read(model: str) -> bytes:
    reference = CATALOG[model].weights or "" if model in CATALOG else ""
    if not reference.startswith(SHIPPED):
        shipped = [name for name, entry in CATALOG.items() if (entry.weights or "").startswith(SHIPPED)]
        raise WeightsError(f"no weights of {model!r} ship with Veedor, only those of {', '.join(shipped)}")
    return read_shipped(reference)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
