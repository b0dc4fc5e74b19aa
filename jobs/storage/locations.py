"""How locations are written: a plain path (made absolute on entry) or `s3://bucket/key`, and nothing else.

One exception is for results alone: a local path that is not UTF-8 is listed, and read, as the `file://` URI
of RFC 8089, its bytes percent-encoded.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from cvcore.errors import SpecError

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_BYTES = "file://"


def is_s3(uri: str) -> bool:
    """Whether a location names object storage."""
    return uri.startswith("s3://")


def resolve_location(text: str) -> str:
    """Return a location in its one form: `s3://bucket/key` or an absolute path without a trailing slash.

    Raises:
        SpecError: for an empty location, another scheme, no or an impossible bucket, text that is not UTF-8.
    """
    if not text.strip():
        raise SpecError("a location is empty: give a folder or s3://bucket/prefix/")
    if "\0" in text or not is_utf8(text):
        raise SpecError(f"{text!r}: a location is UTF-8 text without NUL; rename the folder, or link to it")
    found = _SCHEME.match(text)
    if found is None:
        return "/" + str(Path(text).expanduser().absolute()).lstrip("/")
    scheme, rest = found[1].lower(), found[2]
    if scheme == "file":
        raise SpecError(f"{text!r}: write local files as a plain path, without 'file://'")
    if scheme != "s3":
        raise SpecError(f"{_shown(text)!r}: scheme {scheme!r} is not allowed; use a local path or s3://")
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise SpecError(f"{text!r} names no bucket: write s3://bucket/prefix/")
    if not _BUCKET.fullmatch(bucket):
        raise SpecError(
            f"{_shown(text)!r}: a bucket's name has letters, digits, '.', '-' and '_' only; credentials come "
            "from the environment or a profile, endpoints from storage.endpoint_url"
        )
    return f"s3://{bucket}/{key}" if key else f"s3://{bucket}"


def _shown(text: str) -> str:
    """A location as messages may show it: without what stands before an `@`, which may be a secret."""
    return re.sub(r"//.*@", "//…@", text, flags=re.DOTALL)


def join(uri: str, *names: str) -> str:
    """Append names to a folder's location."""
    return posixpath.join(uri, *names)


def base_name(uri: str) -> str:
    """The last name of a location."""
    return uri.rstrip("/").rpartition("/")[2]


def name_below(uri: str, folder: str) -> str:
    """A listed location as seen from the folder that it was listed in."""
    prefix = folder.rstrip("/") + "/"
    return uri.removeprefix(prefix).removeprefix(_BYTES + quote(prefix))


def is_hidden(name: str) -> bool:
    """Whether listings leave out a name; `.` and `..` are names like others in object storage."""
    return name.startswith((".", "_")) and name not in (".", "..")


def is_utf8(text: str) -> bool:
    """Whether text can be written at all: names of files may hold bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def location_of_path(path: str) -> str:
    """How a local path is listed: as itself, or as a `file://` URI where it is not UTF-8."""
    return path if is_utf8(path) else _BYTES + quote(os.fsencode(path))


def path_of_location(uri: str) -> str:
    """The inverse of `location_of_path`."""
    return os.fsdecode(unquote_to_bytes(uri.removeprefix(_BYTES))) if uri.startswith(_BYTES) else uri
