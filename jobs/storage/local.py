"""Folders of this machine, or of a file system that all workers share."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import IO, BinaryIO

from jobs.storage.base import (
    AccessRefused,
    BucketMissing,
    CreateOutcome,
    ObjectChanged,
    ObjectInfo,
    ObjectMissing,
    StorageError,
    StoreFull,
)
from jobs.storage.locations import is_hidden, location_of_path, path_of_location
from jobs.storage.roots import Roots, is_allowed, is_real_path_allowed, refusal


class LocalStore:
    """Files by absolute path. A version is named by its size and modification time in nanoseconds."""

    def __init__(self, roots: Roots = ()) -> None:
        self._roots = roots

    def _path(self, uri: str) -> Path:
        """Where a location is, if that is allowed."""
        path = path_of_location(uri)
        if not is_allowed(path, self._roots):
            raise AccessRefused(refusal(uri, self._roots))
        return Path(path)

    def walk(self, uri: str) -> Iterator[ObjectInfo]:
        root = self._path(uri)
        if root.is_file():
            yield _info(uri, root.stat())
            return
        if not root.is_dir():
            raise BucketMissing(f"there is no folder {uri}")
        yield from self._walk(uri, os.path.realpath(root))

    def _walk(self, folder: str, real_root: str) -> Iterator[ObjectInfo]:
        # Names alone, since an entry is ten times their size and a folder may have millions.
        names: list[bytes] = []
        links: set[bytes] = set()
        with _translated(folder), os.scandir(folder) as found:
            for entry in found:
                if is_hidden(entry.name):
                    continue
                # Folders sort as if their name ended with the separator: locations come in byte order.
                name = os.fsencode(entry.name) + (b"/" if entry.is_dir() else b"")
                names.append(name)
                if entry.is_symlink():
                    links.add(name)
        names.sort(reverse=True)
        while names:
            name = names.pop()
            path = f"{folder.rstrip('/')}/{os.fsdecode(name.removesuffix(b'/'))}"
            if name in links and not _inside(os.path.realpath(path), real_root):
                continue
            if name.endswith(b"/"):
                yield from self._walk(path, real_root)
                continue
            with contextlib.suppress(FileNotFoundError):  # deleted since the folder was read
                status = os.stat(path)  # noqa: PTH116  # a Path costs half as much again
                if S_ISREG(status.st_mode):
                    yield _info(location_of_path(path), status)

    def stat(self, uri: str) -> ObjectInfo:
        with _translated(uri):
            return _info(uri, self._path(uri).stat())

    def exists(self, uri: str) -> bool:
        return self._path(uri).is_file()

    def modified_at(self, uri: str) -> datetime:
        with _translated(uri):
            return datetime.fromtimestamp(self._path(uri).stat().st_mtime, UTC)

    def read(self, uri: str, *, etag: str | None = None) -> bytes:
        with _translated(uri), self._open(uri) as file:
            body = file.read()
            _check_version(file, uri, etag)
        return body

    def open(self, uri: str, *, etag: str | None = None, size: int | None = None) -> BinaryIO:
        del size
        with _translated(uri):
            file = self._open(uri)
            try:
                _check_version(file, uri, etag)
            except ObjectChanged:
                file.close()
                raise
        return file

    def _open(self, uri: str) -> BinaryIO:
        if not self._roots:
            return self._path(uri).open("rb")
        # What is checked is what is opened: a link that is put into the way meanwhile is not followed.
        real_path = os.path.realpath(path_of_location(uri))
        if not is_real_path_allowed(real_path, self._roots):
            raise AccessRefused(refusal(uri, self._roots))
        return os.fdopen(_open_without_links(real_path), "rb")

    def create(self, uri: str, body: bytes, *, writer: str) -> CreateOutcome:
        target = self._path(uri)
        with _translated(uri):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with _written(target, body, writer=writer) as draft:
                    _link(draft, target)
            except FileExistsError:
                same = hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(body).digest()
                return "same" if same else "exists"
        return "created"

    def put(self, uri: str, body: bytes) -> None:
        target = self._path(uri)
        named = _draft(target, "put")
        with _translated(uri):
            target.parent.mkdir(parents=True, exist_ok=True)
            with _written(target, body, writer="put") as draft:
                try:
                    _link(draft, named)
                    named.replace(target)
                finally:
                    named.unlink(missing_ok=True)
            _sync_folder(target.parent)

    def delete(self, uri: str) -> None:
        with _translated(uri):
            self._path(uri).unlink(missing_ok=True)

    def list_names(self, uri: str) -> list[str]:
        folder = self._path(uri)
        with _translated(uri):
            return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def _info(uri: str, stat: os.stat_result) -> ObjectInfo:
    return ObjectInfo(uri, f"{stat.st_size:x}-{stat.st_mtime_ns:x}", stat.st_size)


def _check_version(file: BinaryIO, uri: str, etag: str | None) -> None:
    now = _info(uri, os.fstat(file.fileno())).etag
    if etag is not None and now != etag:
        raise ObjectChanged(f"{uri} changed after the plan was made (it was {etag}, it is {now})")


def _draft(target: Path, writer: str) -> Path:
    """A hidden name of its own for each attempt: a retry and what it replaces may write at once."""
    return target.parent / f".{target.name}.{writer}.{secrets.token_hex(4)}"


def _open_without_links(real_path: str) -> int:
    """Open a file by an absolute path, none of whose parts may be a link; `OSError` if one is by now."""
    # O_PATH asks for no permission to list the folder, as ordinary opening does not either.
    step = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
    *folders, name = real_path.strip("/").split("/")
    folder = os.open("/", step)
    try:
        for part in folders:
            inner = os.open(part, step, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


@contextlib.contextmanager
def _written(target: Path, body: bytes, *, writer: str) -> Iterator[str]:
    """A synced file in the folder of `target`, by a path to link to; afterwards that path is gone.

    It has no name where the file system can do that: what a killed process had begun goes with it. Elsewhere
    it is a hidden draft, which a killed process leaves.
    """
    handle = _open_unnamed(target.parent)
    if handle is not None:
        with os.fdopen(handle, "wb") as file:
            _write_synced(file, body)
            yield f"/proc/self/fd/{handle}"
        return
    draft = _draft(target, writer)
    try:
        with draft.open("wb") as file:
            _write_synced(file, body)
        yield str(draft)
    finally:
        draft.unlink(missing_ok=True)


def _open_unnamed(folder: Path) -> int | None:
    """A new file without a name, open for writing (open(2), O_TMPFILE); None where there are none."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.open(folder, flag | os.O_WRONLY, 0o666)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            return None
        raise


def _link(draft: str, target: Path) -> None:
    """Give a file a (further) name, and sync its folder; `FileExistsError` if the name is taken."""
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.link(draft, target.name, dst_dir_fd=folder)  # with a folder's handle it follows /proc's links
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_synced(file: IO[bytes], body: bytes) -> None:
    file.write(body)
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ObjectMissing(f"there is no file {uri}") from error
    except PermissionError as error:
        raise AccessRefused(f"no permission for {error.filename or uri}: {error.strerror}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(
                f"{uri} cannot be written: {error.strerror}. Make room, then run the same command again."
            ) from error
        if error.errno == errno.EROFS:
            raise AccessRefused(
                f"{uri} cannot be written: {error.strerror}. Name another output folder, or mount this one "
                "for writing."
            ) from error
        raise StorageError(f"{uri}: {error.strerror or error}") from error
