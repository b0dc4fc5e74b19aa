"""An export's files: made aside, then put in place together."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cvcore.errors import SpecError
from jobs.storage import Access, BucketMissing, Store, is_s3, join, open_store, resolve_location

MANIFEST = "veedor.json"
_NUM_THREADS = 16


@contextlib.contextmanager
def staged(out: str, *, access: Access, overwrite: bool = False) -> Iterator[Path]:
    """A local folder to fill, which becomes `out` when the block ends well and vanishes when it does not.

    A local `out` appears by a rename, whole. In object storage its objects are put several at a time,
    `MANIFEST` last; if one cannot be, those before it are deleted.

    Args:
        out: a folder that does not exist or is empty.
        access: to `out`.
        overwrite: whether `out` may hold something, which is replaced.

    Raises:
        SpecError: if `out` is in use.
    """
    folder = resolve_location(out).rstrip("/")
    store = open_store(folder, access)
    if not overwrite:
        _check_free(store, folder)
    if is_s3(folder):
        with tempfile.TemporaryDirectory(prefix="veedor-export-") as made:
            yield Path(made)
            before = {info.uri for info in store.walk(f"{folder}/")} if overwrite else set()
            _upload(Path(made), folder, store, before)
        return
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        yield draft
        _replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check_free(store: Store, folder: str) -> None:
    try:
        found = next(iter(store.walk(f"{folder}/" if is_s3(folder) else folder)), None)
    except BucketMissing:
        if is_s3(folder):
            raise
        return
    if found is not None:
        raise SpecError(
            f"{folder} is not empty, it holds {found.uri}: name a new folder, or allow with --overwrite that "
            "it is replaced"
        )


def _replace(draft: Path, target: Path) -> None:
    """Rename into place; what stood there goes only when the new one stands."""
    before = draft.with_name(f"{draft.name}.before")
    if target.exists():
        target.rename(before)
    try:
        draft.rename(target)
    except OSError:
        if before.exists():
            before.rename(target)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _upload(made: Path, folder: str, store: Store, before: set[str]) -> None:
    """Put all files; of what was there before, nothing is left."""
    names = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    done: list[str] = []

    def put(name: str) -> None:
        store.put(join(folder, name), (made / name).read_bytes())
        done.append(name)

    store.delete(join(folder, MANIFEST))
    try:
        with ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="veedor-export") as pool:
            list(pool.map(put, [name for name in names if name != MANIFEST]))
        put(MANIFEST)
    except BaseException:
        for name in done:
            store.delete(join(folder, name))
        raise
    for uri in before - {join(folder, name) for name in names}:
        store.delete(uri)
