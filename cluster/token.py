"""Tokens of clusters: made, kept, and found where their users keep them. They go into headers alone."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from cvcore.errors import SpecError

TOKEN_VARIABLE = "RAY_AUTH_TOKEN"
TOKEN_PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"
RAY_TOKEN_FILE = "~/.ray/auth_token"
_OF_OTHERS = 0o077
_HEADER_SAFE = re.compile(r"[!-~]+")


@dataclass(frozen=True, repr=False)
class Token:
    """A token and where it came from; only the latter is ever shown."""

    value: str
    origin: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.value}"}

    def __repr__(self) -> str:
        return f"Token(from {self.origin})"


def new_token() -> str:
    return secrets.token_hex(32)


def find_token(*, token_file: Path | None = None, own_file: Path | None = None) -> Token | None:
    """The token for a cluster, from the first of these that there is.

    Args:
        token_file: named by the user.
        own_file: of the cluster that `veedor up` brought up here, if it is that one.

    After those `RAY_AUTH_TOKEN`, the file that `RAY_AUTH_TOKEN_PATH` names, and Ray's own file.

    Raises:
        SpecError: if a file that was named cannot be read or holds no token.
    """
    for named in (token_file, own_file):
        if named is not None:
            return read_token(named)
    if value := os.environ.get(TOKEN_VARIABLE):
        return _checked(value, TOKEN_VARIABLE)
    if path := os.environ.get(TOKEN_PATH_VARIABLE):
        return read_token(Path(path))
    default = Path(RAY_TOKEN_FILE).expanduser()
    return read_token(default) if default.is_file() else None


def read_token(path: Path) -> Token:
    """The token in a file; raises `SpecError`."""
    try:
        return _checked(path.expanduser().read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise SpecError(f"cannot read the token in {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} holds no token: it is not text") from error


def readable_by_others(path: Path) -> bool:
    """Whether other users can read a token file of this user's."""
    try:
        found = path.expanduser().stat()
    except OSError:
        return False
    return found.st_uid == os.getuid() and bool(found.st_mode & _OF_OTHERS)


def _checked(text: str, origin: str) -> Token:
    value = text.strip()
    if not _HEADER_SAFE.fullmatch(value):
        raise SpecError(f"{origin} holds no token: one line without blanks is expected")
    return Token(value, origin)
