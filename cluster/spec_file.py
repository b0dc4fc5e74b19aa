"""Reading a job's spec from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cvcore.errors import SpecError


def read_spec_file(path: Path) -> dict[str, Any]:
    """The content of a YAML or JSON spec; raises `SpecError` where there is none."""
    from jobs.spec import MAX_SPEC_CHARS, load_yaml

    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_SPEC_CHARS + 1)
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"cannot read {path}: it is not UTF-8 text") from error
    return load_yaml(text, name=str(path))
