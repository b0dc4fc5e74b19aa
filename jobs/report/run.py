"""What a run's folder says about itself: the job, its attempts, and where its rows are."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cvcore.errors import SpecError, VeedorError
from cvcore.image.limits import DecodeLimits
from jobs.run_folder import JobRecord, RunFolder, part_name, published_numbers, read_job
from jobs.storage import Access, Store, join, open_store, resolve_location

LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at the job, as it recorded itself; None stands for what it did not record."""

    writer: str
    outcome: str
    started: datetime | None
    wall_s: float | None
    startup_s: float | None
    images_per_s: float | None
    inputs_done: int
    units_done: int
    hardware: str
    actors: str
    batch_size: str
    precision: str

    @property
    def ended(self) -> datetime | None:
        if self.started is None or self.wall_s is None:
            return self.started
        return self.started + timedelta(seconds=self.wall_s)


@dataclass(frozen=True, slots=True)
class Run:
    """A run, finished or not.

    Attributes:
        uri: its folder.
        record: the job that owns the folder.
        manifest: the content of `_SUCCESS.json`, None while the run is unfinished.
        attempts: in order of their start.
        parts: locations of all published rows, each row once.
    """

    uri: str
    record: JobRecord
    manifest: dict[str, Any] | None
    attempts: tuple[Attempt, ...]
    parts: tuple[str, ...]

    @property
    def noun(self) -> str:
        """What one row is of: an `image`, a video's `frame`, or in a run of both an `input`."""
        if not self.record.num_videos:
            return "image"
        return "frame" if self.record.num_images == 0 else "input"

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """From the first start to the last end, UTC."""
        starts = [a.started for a in self.attempts if a.started is not None]
        ends = [a.ended for a in self.attempts if a.ended is not None]
        return (min(starts), max(ends)) if starts else None

    @property
    def wall_s(self) -> float | None:
        """Seconds spent in all attempts together."""
        spent = [a.wall_s for a in self.attempts if a.wall_s is not None]
        return sum(spent) if spent else None

    @property
    def images_per_s(self) -> float | None:
        """Rate over all attempts, each counted by how many images it did."""
        rated = [(a.inputs_done, a.images_per_s) for a in self.attempts if a.images_per_s and a.inputs_done]
        spent = sum(done / rate for done, rate in rated)
        return sum(done for done, _ in rated) / spent if spent else None


def read_run(run_uri: str, store: Store) -> Run:
    """Read the records of a run's folder; its rows are only listed.

    Raises:
        SpecError: if the folder is not a run's, or one of its records is not JSON.
        StorageError: if the store fails.
    """
    folder = RunFolder(run_uri)
    record = read_job(folder, store)
    if record is None:
        raise SpecError(
            f"{run_uri} is not a run: it has no _veedor/job.json. Name the folder that a job wrote "
            "(the `sink.uri` of its spec)"
        )
    manifest = _read_json(folder.success, store) if store.exists(folder.success) else None
    names = [name for name in store.list_names(folder.runs) if name.endswith(".json")]
    attempts = [_attempt(_read_json(join(folder.runs, name), store)) for name in names]
    attempts.sort(key=lambda a: (a.started or LAST, a.writer))
    return Run(run_uri, record, manifest, tuple(attempts), tuple(_list_parts(folder, store, record)))


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the job reached and decoded its inputs.

    Attributes:
        access: to the inputs.
        limits: what is decoded at all; the job's check of file names is not repeated.
        stream: of videos, the index in their containers; None for the usual one.
    """

    access: Access
    limits: DecodeLimits
    stream: int | None


def read_decoding(run: Run, access: Access) -> Decoding:
    """As the spec says of the job, or of the one whose detections it tracked; `access` comes first."""
    spec = _decoding_spec(run, access)
    section: dict[str, Any] = spec.get("limits") or {}
    usual = DecodeLimits()
    limits = DecodeLimits(
        max_pixels=section.get("max_pixels", usual.max_pixels),
        max_bytes=section.get("max_bytes", usual.max_bytes),
        formats=tuple(section.get("formats", usual.formats)),
        extension_mismatch="allow",
    )
    return Decoding(_joined(access, spec), limits, (spec.get("video") or {}).get("stream"))


def _decoding_spec(run: Run, access: Access) -> dict[str, Any]:
    """A track job that was given detections decoded nothing: their job did, if it can still be asked."""
    own = run.record.spec
    if not own.get("detections"):
        return own
    try:
        uri = resolve_location(own["detections"])
        before = read_job(RunFolder(uri), open_store(uri, _joined(access, own)))
    except VeedorError:
        return own
    return own if before is None else before.spec


def _joined(access: Access, spec: dict[str, Any]) -> Access:
    storage = spec.get("storage") or {}
    return replace(
        access,
        profile=access.profile or storage.get("profile"),
        endpoint_url=access.endpoint_url or storage.get("endpoint_url"),
        region=access.region or storage.get("region"),
    )


def _list_parts(folder: RunFolder, store: Store, record: JobRecord) -> list[str]:
    """Files where readers look, and units that still wait to be merged into one of them, as planned."""
    files = published_numbers(folder.data, store)
    parts = [(number * record.units_per_file, folder.file(number)) for number in files]
    if record.units_per_file > 1:
        waiting = published_numbers(folder.parts, store)
        merged = {unit for unit in waiting if unit // record.units_per_file in files}
        parts += [(unit, join(folder.parts, part_name(unit))) for unit in waiting - merged]
    return [part for _, part in sorted(parts)]


def _read_json(uri: str, store: Store) -> dict[str, Any]:
    try:
        content = json.loads(store.read(uri))
    except ValueError as error:
        raise SpecError(f"{uri} is not JSON ({error}): the run's records were altered") from error
    if not isinstance(content, dict):
        raise SpecError(f"{uri} holds no JSON object: the run's records were altered")
    return content


def _attempt(content: dict[str, Any]) -> Attempt:
    return Attempt(
        writer=str(content.get("writer", "")),
        outcome=str(content.get("outcome", "unknown")),
        started=_time(content.get("started")),
        wall_s=_number(content.get("wall_s")),
        startup_s=_number(content.get("startup_s")),
        images_per_s=_number(content.get("images_per_s")),
        inputs_done=int(_number(content.get("inputs_done")) or 0),
        units_done=int(_number(content.get("units_done")) or 0),
        hardware=_text(content.get("hardware")),
        actors=_text(content.get("actors")),
        batch_size=_text(content.get("batch_size")),
        precision=_text(content.get("precision")),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    """A recorded value as a reader would write it."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(str(inner) for inner in value)
    return str(value)


def _time(value: Any) -> datetime | None:
    """An ISO time; one without an offset is UTC."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
