"""Measuring a run's tracks against ground truth in the MOT Challenge's text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from cvcore.errors import SpecError
from cvcore.metrics.tracking import TrackedPair, TrackingEvaluation, evaluate_tracking
from cvcore.track.mot_text import MotRows, read_mot
from jobs.mot import mot_rows
from jobs.sequences import find_texts, read_text, run_videos, sequence_name
from jobs.storage import Access


def evaluate_tracks(run: str, truth: str, *, access: Access) -> TrackingEvaluation:
    """Compare the tracks of a run's videos with ground truth, by the names of the sequences.

    Frames of the truth are counted from 1, those of the run from 0. Only frames that the run has are
    compared: of a sampled run, the sampled ones. Classes are not compared.

    Raises:
        SpecError: if the run has no tracks, no video of it has a truth, or a truth is not MOT text.
    """
    texts = find_texts(truth, access)
    alone = next(iter(texts.values())) if len(texts) == 1 else None
    pairs: dict[str, TrackedPair] = {}
    names: list[str] = []
    tracked = False
    for uri, pieces in run_videos(run, access):
        name = sequence_name(uri)
        names.append(name)
        if name not in texts:
            continue
        found, frames, has_tracks = _found(pieces)
        tracked = tracked or has_tracks
        pairs[uri if name in pairs else name] = _pair(_truth(texts[name], access), found, frames)
    if not pairs and alone is not None and len(names) == 1:
        for uri, pieces in run_videos(run, access):
            found, frames, tracked = _found(pieces)
            pairs[sequence_name(uri)] = _pair(_truth(alone, access), found, frames)
    if not names:
        raise SpecError(f"{run} has no rows of videos: tracks are of videos")
    if not pairs:
        raise SpecError(
            f"no video of the run {run} ({', '.join(sorted(names)[:5])}) has a truth by its name in {truth} "
            f"({', '.join(sorted(texts)[:5])})"
        )
    if not tracked:
        raise SpecError(f"{run} has detections but no tracks: evaluate the --out of a track job")
    return evaluate_tracking(pairs)


def _found(pieces: Iterator[pa.Table]) -> tuple[MotRows, np.ndarray[tuple[int], np.dtype[np.int64]], bool]:
    """Tracked boxes of a video, the frames that were looked at, from 1, and whether it has tracks at all."""
    parts, frames, tracked = [], [], False
    for piece in pieces:
        kind = piece.schema.field("detections").type.value_type
        tracked = tracked or kind.get_field_index("track_id") >= 0
        parts.append(mot_rows(piece))
        frames.append(piece.column("frame_index").to_numpy().astype(np.int64) + 1)
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("frames", "ids", "boxes", "scores", "label_ids")
    }
    return MotRows(**columns), np.concatenate(frames), tracked


def _truth(uri: str, access: Access) -> MotRows:
    try:
        return read_mot(read_text(uri, access))
    except ValueError as error:
        raise SpecError(f"{uri} is not MOT text: {error}") from error


def _pair(truth: MotRows, found: MotRows, frames: np.ndarray[tuple[int], np.dtype[np.int64]]) -> TrackedPair:
    seen, named = np.isin(truth.frames, frames), found.ids > 0
    return TrackedPair(
        truth_frames=truth.frames[seen],
        truth_ids=truth.ids[seen],
        truth_boxes=truth.boxes[seen],
        found_frames=found.frames[named],
        found_ids=found.ids[named],
        found_boxes=found.boxes[named],
        ignored=~truth.considered[seen],
    )
