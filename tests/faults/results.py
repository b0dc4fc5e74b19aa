"""What a run left, and how that differs from the undisturbed result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.run_folder import RunFolder, part_number
from jobs.sink import decode_part
from jobs.storage import is_s3, join, open_store
from tests.s3_files import client
from tests.s3_servers import S3Server


@dataclass(frozen=True)
class Result:
    """A finished run: its manifest, and its files as they are read now."""

    manifest: dict[str, Any]
    files: dict[str, bytes]
    waiting_parts: list[str]

    def rows(self, name: str) -> pa.Table:
        """Rows of a file; the metadata, which names the job and so the folder, left out."""
        return decode_part(self.files[name]).replace_schema_metadata()

    @property
    def job_ids(self) -> set[bytes]:
        return {decode_part(body).schema.metadata[b"veedor.job_id"] for body in self.files.values()}


def read_result(out: str) -> Result:
    """Read a finished run."""
    folder, store = RunFolder(out), open_store(out)
    names = [name for name in store.list_names(folder.data) if part_number(name) is not None]
    return Result(
        json.loads(store.read(folder.success)),
        {name: store.read(join(folder.data, name)) for name in names},
        store.list_names(folder.parts),
    )


def differences(expected: Result, found: Result) -> list[str]:
    """How a run differs from the undisturbed run of the same inputs into another folder; empty if nowhere."""
    said = [
        f"{key} is {found.manifest[key]}, not {expected.manifest[key]}"
        for key in ("counts", "failures", "skipped", "model", "source")
        if found.manifest[key] != expected.manifest[key]
    ]
    if found.files.keys() != expected.files.keys():
        said.append(f"the files are {sorted(found.files)}, not {sorted(expected.files)}")
    else:
        said += [f"rows of {n} differ" for n in found.files if not found.rows(n).equals(expected.rows(n))]
    digests = {f"data/{name}": hashlib.sha256(body).hexdigest() for name, body in found.files.items()}
    if digests != {file["name"]: file["sha256"] for file in found.manifest["files"]}:
        said.append("the manifest's digests are not those of the files")
    if found.job_ids != {found.manifest["job_id"].encode()}:
        said.append(f"files of jobs {found.job_ids} under the manifest of {found.manifest['job_id']}")
    if found.waiting_parts:
        said.append(f"_veedor/parts still holds {found.waiting_parts}")
    return said


def published(out: str, server: S3Server | None = None) -> dict[str, tuple[object, ...]]:
    """Each object that must never change once it is there, and what would tell that it was written again."""
    if not is_s3(out):
        paths = [*Path(out).glob("data/[!.]*"), Path(out, "_SUCCESS.json"), Path(out, "_veedor/job.json")]
        stats = {path.name: path.stat() for path in paths if path.exists()}
        return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}
    assert server, "the server that holds the bucket"
    bucket, _, prefix = out.removeprefix("s3://").partition("/")
    found = client(server).list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    keys = {item["Key"].removeprefix(f"{prefix}/"): item for item in found}
    return {
        key.rpartition("/")[2]: (item["ETag"], item["LastModified"])
        for key, item in keys.items()
        if key.startswith("data/") or key in ("_SUCCESS.json", "_veedor/job.json")
    }


def rewritten(before: dict[str, tuple[object, ...]], after: dict[str, tuple[object, ...]]) -> list[str]:
    """What was published and has since changed or gone."""
    return [f"{name} was written again" for name in before if after.get(name) != before[name]]
