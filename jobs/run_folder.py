"""A run's folder: where its records are, and the commit protocol over a store.

<sink>/data/part-00000.parquet      rows; a unit's (or a file's) own commit record
<sink>/_SUCCESS.json                the manifest, created last
<sink>/_veedor/job.json             which job this folder belongs to; created first, create-only
<sink>/_veedor/plan-<job>.parquet   the pinned inputs
<sink>/tracks.parquet               of a track job: one row a track
<sink>/corrections/000001.parquet … what was imported into the run; its own rows never change
<sink>/_veedor/parts/               units that wait to be merged into files of several
<sink>/_veedor/tracks/              of a track job: tracks of single videos, until they are one table
<sink>/_veedor/quarantine/          inputs set aside: they end the process that works on them
<sink>/_veedor/runs/<writer>.json   what each attempt measured
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict, dataclass
from typing import Any

from cvcore.errors import SpecError
from jobs.pinned import PinnedInputs
from jobs.plan import Plan
from jobs.schemas import SCHEMA_VERSION
from jobs.storage import ObjectMissing, StorageError, Store, join

CHANGES_NO_ROW = ("resources.", "storage.timeout_s", "storage.max_requests_per_s")
PART_NAME = re.compile(r"^part-(\d{5,})\.parquet$")


@dataclass(frozen=True)
class JobRecord:
    """What `_veedor/job.json` holds: the identity of the job that owns the folder.

    `num_inputs` counts images and frames: each gives one row. Of them `num_images` are images; runs made
    before there were videos do not say it.
    """

    job_id: str
    identity: str
    model: dict[str, Any]
    code_version: str
    source: str
    num_inputs: int
    num_units: int
    images_per_unit: int
    units_per_file: int
    skipped: dict[str, int]
    spec: dict[str, Any]
    num_images: int | None = None
    num_videos: int = 0
    job: str = "annotate"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class RunFolder:
    """Names inside a run's folder."""

    uri: str

    @property
    def data(self) -> str:
        return join(self.uri, "data")

    @property
    def parts(self) -> str:
        return join(self.uri, "_veedor", "parts")

    @property
    def tracks(self) -> str:
        """The table of tracks, of a track job."""
        return join(self.uri, "tracks.parquet")

    @property
    def corrections(self) -> str:
        """What people and other tools said of the run, a file an import."""
        return join(self.uri, "corrections")

    @property
    def track_parts(self) -> str:
        """Tracks of single videos, until they are one table."""
        return join(self.uri, "_veedor", "tracks")

    @property
    def success(self) -> str:
        return join(self.uri, "_SUCCESS.json")

    @property
    def job(self) -> str:
        return join(self.uri, "_veedor", "job.json")

    @property
    def runs(self) -> str:
        return join(self.uri, "_veedor", "runs")

    @property
    def quarantine(self) -> str:
        return join(self.uri, "_veedor", "quarantine")

    def plan(self, job_id: str) -> str:
        return join(self.uri, "_veedor", f"plan-{job_id}.parquet")

    def tuning(self, job_id: str) -> str:
        return join(self.uri, "_veedor", f"tuning-{job_id}.json")

    def file(self, number: int) -> str:
        """A result file, where readers look."""
        return join(self.data, part_name(number))

    def unit(self, number: int, *, units_per_file: int) -> str:
        """Where a unit is published: the result file itself, unless several share one."""
        return join(self.data if units_per_file == 1 else self.parts, part_name(number))


def part_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def part_number(name: str) -> int | None:
    """The number in a part's name, or None for another name."""
    found = PART_NAME.match(name)
    return int(found.group(1)) if found else None


def new_writer() -> str:
    """A fresh name for one attempt at a job; it appears in no result."""
    return f"w{secrets.token_hex(8)}"


def read_job(folder: RunFolder, store: Store) -> JobRecord | None:
    """The job that owns the folder, or None for a folder that no job has claimed.

    Raises:
        SpecError: if the folder is not a run's but holds something in the way.
    """
    try:
        body = store.read(folder.job)
    except ObjectMissing:
        if store.list_names(folder.data) or store.exists(folder.success):
            raise SpecError(
                f"{folder.uri} holds results that no job of ours claims (no _veedor/job.json): "
                "name another folder for this job"
            ) from None
        return None
    try:
        return JobRecord(**json.loads(body))
    except (ValueError, TypeError) as error:
        raise SpecError(
            f"{folder.job} cannot be read by this version ({error}): name another folder for this job"
        ) from error


def check_same_job(
    record: JobRecord, *, identity: str, spec: dict[str, Any], model: dict[str, Any], code_version: str
) -> None:
    """Refuse to continue another job's folder, saying what differs.

    Raises:
        SpecError: if spec, model or code are not those of the folder's job.
    """
    differing = spec_differences(record.spec, spec) if record.identity != identity else []
    pairs = [("the version of veedor", record.code_version, code_version)]
    if not differing:  # the same names can hold other bytes
        pairs.append(("the model", _model_text(record.model), _model_text(model)))
    differing += [f"{what} was {theirs} and is {ours}" for what, theirs, ours in pairs if theirs != ours]
    if differing:
        raise SpecError(
            f"the output folder holds the results of another job ({record.job_id[:12]}, {record.num_inputs} "
            f"inputs from {record.source}): {'; '.join(differing)}. "
            "Name another folder, or delete that one first."
        )


def spec_differences(before: dict[str, Any], now: dict[str, Any], *, at: str = "") -> list[str]:
    """Say for each key of two specs how its value differs, in the order of the keys."""
    found = []
    for key in sorted(before.keys() | now.keys()):
        theirs, ours, where = before.get(key), now.get(key), f"{at}{key}"
        if isinstance(theirs, dict) and isinstance(ours, dict):
            found += spec_differences(theirs, ours, at=f"{where}.")
        elif theirs != ours and not where.startswith(CHANGES_NO_ROW):
            found.append(f"{where} was {theirs} and is {ours}")
    return found


def _model_text(model: dict[str, Any]) -> str:
    digests = {key: str(value)[:12] for key, value in sorted(model["digests"].items())}
    return f"{model['name']} {digests}"


def claim(
    folder: RunFolder, store: Store, record: JobRecord, inputs: PinnedInputs, *, writer: str
) -> JobRecord:
    """Store the plan, then claim the folder for its job. The first claim stands and is returned."""
    store.create(folder.plan(record.job_id), inputs.parquet.to_pybytes(), writer=writer)
    body = json.dumps(asdict(record), indent=1, sort_keys=True).encode()
    if store.create(folder.job, body, writer=writer) != "exists":
        return record
    standing = read_job(folder, store)
    if standing is None:
        raise StorageError(f"{folder.job} appeared and vanished again: is another program deleting it?")
    if standing.job_id != record.job_id:
        store.delete(folder.plan(record.job_id))
    return standing


def load_plan(folder: RunFolder, store: Store, record: JobRecord) -> Plan:
    """The stored plan of the folder's job."""
    uri = folder.plan(record.job_id)
    try:
        inputs = PinnedInputs.from_parquet(store.read(uri))
    except ValueError as error:
        raise StorageError(f"{uri} is not the plan of its job ({error}): it was altered") from error
    if inputs.num_results != record.num_inputs:
        raise StorageError(
            f"{uri} has {inputs.num_results} inputs, its job {record.num_inputs}: it was altered"
        )
    return Plan(record.job_id, inputs, record.images_per_unit, record.units_per_file)


def published_numbers(folder_uri: str, store: Store) -> set[int]:
    """Numbers of the parts that a folder holds."""
    return {n for name in store.list_names(folder_uri) if (n := part_number(name)) is not None}
