"""Text of the MOT Challenge: detections and tracks of other tools become a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version

import numpy as np
import pyarrow as pa

from cvcore.errors import SpecError
from cvcore.track.mot_text import MotRows, read_mot
from jobs.finish import finish_job
from jobs.pinned import PinnedSegment, pin_inputs, pin_segments
from jobs.plan import MAX_IMAGES_PER_UNIT, Plan, choose_units_per_file, make_job_id
from jobs.prepare import claim_folder
from jobs.progress import SilentListener
from jobs.run_folder import JobRecord, RunFolder, new_writer, read_job
from jobs.schemas import result_schema
from jobs.sequences import find_texts, read_text, sequence_name
from jobs.sink import PartSummary, merge_file, part_metadata, publish
from jobs.storage import Access, Store, open_store, resolve_location

LABEL = "object"


@dataclass(frozen=True)
class Imported:
    """What an import made."""

    uri: str
    num_sequences: int
    num_frames: int
    num_detections: int


def import_mot(
    source: str,
    *,
    out: str,
    fps: float | None,
    access: Access,
    frames_per_unit: int = MAX_IMAGES_PER_UNIT,
    units_per_file: int | None = None,
) -> Imported:
    """Make a run of MOT text: of one file, or of all below a folder. Its rows are frames 1 to last.

    Ids, where the text has any, become track ids. Doing it again into the same folder completes it.

    Args:
        fps: of all sequences; without it rows have no times.

    Raises:
        SpecError: if there is no text, a line is not MOT's, or the folder holds another run.
    """
    texts = find_texts(source, access)
    folder = RunFolder(resolve_location(out))
    store = open_store(folder.uri, access)
    if read_job(folder, store) is not None and store.exists(folder.success):
        raise SpecError(f"{folder.uri} holds a finished run: name another folder for this one")
    time_base = Fraction(1) if fps is None else 1 / Fraction(fps).limit_denominator(1_000_000)
    sequences = {uri: _read(uri, access) for _, uri in sorted(texts.items(), key=lambda item: item[1])}
    inputs = pin_segments(pin_inputs([]), _segments(sequences, time_base, frames_per_unit, access))
    identity = make_job_id(
        identity="import mot", inputs_digest=inputs.digest, model_digests={}, code_version=version("veedor")
    )
    plan = Plan(identity, inputs, frames_per_unit, 1)
    plan = Plan(identity, inputs, frames_per_unit, units_per_file or choose_units_per_file(plan.num_units))
    record = JobRecord(
        job_id=identity,
        identity=identity,
        model={"name": "mot", "digests": {}, "labels": [LABEL]},
        code_version=version("veedor"),
        source=resolve_location(source),
        num_inputs=plan.num_inputs,
        num_units=plan.num_units,
        images_per_unit=frames_per_unit,
        units_per_file=plan.units_per_file,
        skipped={},
        spec={"job": "import", "format": "mot", "source": resolve_location(source), "fps": fps},
        num_images=0,
        num_videos=len(sequences),
        job="import",
    )
    writer = new_writer()
    standing = claim_folder(folder, store, record, inputs, writer=writer, single_writer=False)
    if standing.job_id != record.job_id:
        raise SpecError(f"{folder.uri} holds another run ({standing.job}): name another folder for this one")
    tracked = any((rows.ids > 0).any() for rows in sequences.values())
    known = _publish(folder, store, plan, record, sequences, fps=fps, tracked=tracked, writer=writer)
    manifest = finish_job(folder, store, plan, record, known, writer=writer, listener=SilentListener())
    counts = manifest["counts"]
    return Imported(folder.uri, len(sequences), counts["inputs"], counts["detections"])


def _read(uri: str, access: Access) -> MotRows:
    try:
        return read_mot(read_text(uri, access))
    except ValueError as error:
        raise SpecError(f"{uri} is not MOT text: {error}") from error


def _segments(
    sequences: dict[str, MotRows], time_base: Fraction, frames_per_unit: int, access: Access
) -> Iterator[PinnedSegment]:
    for uri, rows in sequences.items():
        info = open_store(uri, access).stat(uri)
        num_frames = int(rows.frames.max()) if len(rows.frames) else 0
        for start in range(0, num_frames, frames_per_unit):
            frames = list(range(start, min(start + frames_per_unit, num_frames)))
            yield PinnedSegment(info, 0, f"{time_base.numerator}/{time_base.denominator}", frames, frames)
        if not num_frames:
            yield PinnedSegment(info, error_code="no_frames", error=f"{uri} has no lines")


def _publish(
    folder: RunFolder,
    store: Store,
    plan: Plan,
    record: JobRecord,
    sequences: dict[str, MotRows],
    *,
    fps: float | None,
    tracked: bool,
    writer: str,
) -> dict[int, PartSummary]:
    metadata = part_metadata(record)
    known = {}
    for file in range(plan.num_files):
        for unit in plan.units_of_file(file):
            (segment,) = plan.inputs.rows([unit]).to_pylist()
            table = _unit_rows(segment, sequences[segment["uri"]], fps=fps, tracked=tracked)
            uri = folder.unit(unit, units_per_file=plan.units_per_file)
            known[file] = publish(store, uri, unit, table, metadata=metadata, writer=writer)
        if plan.units_per_file > 1:
            known[file] = merge_file(store, folder, plan, file, metadata=metadata, writer=writer)
    return known


def _unit_rows(segment: dict[str, object], rows: MotRows, *, fps: float | None, tracked: bool) -> pa.Table:
    """Result rows of one segment."""
    schema = result_schema(masks=False, tracks=tracked)
    frames = segment["frame_indices"]
    pinned = {"uri": segment["uri"], "etag": segment["etag"]}
    if not isinstance(frames, list):
        failed = {"status": "decode", "error_code": segment["error_code"], "error": segment["error"]}
        return pa.Table.from_pylist([pinned | failed], schema=schema)
    result = []
    order = np.argsort(rows.frames, kind="stable")
    starts = np.searchsorted(rows.frames, [frame + 1 for frame in frames], sorter=order)
    stops = np.searchsorted(rows.frames, [frame + 2 for frame in frames], sorter=order)
    for frame, start, stop in zip(frames, starts, stops, strict=True):
        found = order[start:stop]
        result.append(
            pinned
            | {
                "frame_index": frame,
                "timestamp_s": None if fps is None else frame / fps,
                "status": "ok",
                "detections": [_detection(rows, index, tracked=tracked) for index in found.tolist()],
            }
        )
    return pa.Table.from_pylist(result, schema=schema)


def _detection(rows: MotRows, index: int, *, tracked: bool) -> dict[str, object]:
    found = {
        "box": rows.boxes[index].tolist(),
        "label": LABEL,
        "label_id": 0,
        "score": float(rows.scores[index]),
    }
    if tracked:
        found["track_id"] = int(rows.ids[index]) if rows.ids[index] > 0 else None
    return found


def free_name(uri: str, written: list[str]) -> str:
    """A name for a video's text that no other has yet."""
    name = taken = sequence_name(uri)
    number = 2
    stems = {sequence_name(each) for each in written}
    while taken in stems:
        taken, number = f"{name}-{number}", number + 1
    return taken


def mot_rows(rows: pa.Table) -> MotRows:
    """Detections of some rows of one video."""
    frames, ids, boxes, scores, label_ids = [], [], [], [], []
    for row in rows.select(["frame_index", "detections"]).to_pylist():
        for found in row["detections"] or ():
            frames.append(row["frame_index"] + 1)
            ids.append(found.get("track_id") or -1)
            boxes.append(found["box"])
            scores.append(found["score"])
            label_ids.append(found["label_id"])
    return MotRows(
        frames=np.array(frames, np.int64),
        ids=np.array(ids, np.int64),
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        scores=np.array(scores, np.float64),
        label_ids=np.array(label_ids, np.int64),
    )
