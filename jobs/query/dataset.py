"""Parquet files of a store as one Arrow dataset, read by range and column."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from jobs.storage import Store


class StoreHandler(pafs.FileSystemHandler):  # type: ignore[misc]
    """What Arrow asks of a file system, answered by a store. Files are read, nothing else."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_type_name(self) -> str:
        return "veedor"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        return [pafs.FileInfo(path, pafs.FileType.File) for path in paths]

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(self._store.open(path), mode="r")

    def open_input_stream(self, path: str) -> pa.PythonFile:
        return self.open_input_file(path)

    def get_file_info_selector(self, selector: Any) -> list[pafs.FileInfo]:
        raise io.UnsupportedOperation(f"folders are not listed: {selector.base_dir}")

    def create_dir(self, path: str, recursive: bool) -> None:
        raise io.UnsupportedOperation(f"{path}: a run is not written to, recursive or not ({recursive})")

    def delete_dir(self, path: str) -> None:
        raise io.UnsupportedOperation(f"{path}: a run is not written to")

    def delete_dir_contents(self, path: str, missing_dir_ok: bool) -> None:
        raise io.UnsupportedOperation(f"{path}: a run is not written to, there or not ({missing_dir_ok})")

    def delete_root_dir_contents(self) -> None:
        raise io.UnsupportedOperation("a run is not written to")

    def delete_file(self, path: str) -> None:
        raise io.UnsupportedOperation(f"{path}: a run is not written to")

    def move(self, src: str, dest: str) -> None:
        raise io.UnsupportedOperation(f"{src}: a run is not written to, {dest} neither")

    def copy_file(self, src: str, dest: str) -> None:
        raise io.UnsupportedOperation(f"{src}: a run is not written to, {dest} neither")

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        raise io.UnsupportedOperation(f"{path}: a run is not written to ({metadata})")

    def open_append_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        raise io.UnsupportedOperation(f"{path}: a run is not written to ({metadata})")


def parquet_dataset(uris: Sequence[str], store: Store) -> ds.Dataset:
    """Some Parquet files of one schema; columns that are not asked for are not fetched.

    Args:
        uris: at least one.
        store: that holds them.
    """
    files = pafs.PyFileSystem(StoreHandler(store))
    return ds.FileSystemDataset.from_paths(
        list(uris),
        schema=parquet_schema(uris[0], store),
        format=ds.ParquetFileFormat(),
        filesystem=files,
    )


def parquet_schema(uri: str, store: Store) -> pa.Schema:
    """The schema of one file; of it only the footer is read."""
    with store.open(uri) as file:
        return pq.ParquetFile(pa.PythonFile(file, mode="r")).schema_arrow
