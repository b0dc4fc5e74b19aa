"""Planning videos: their frames are counted before any is decoded, and cut into segments."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from cvcore.errors import ImageError
from cvcore.image.limits import DecodeLimits
from cvcore.video.sample import Sampling, sample_frames
from cvcore.video.scan import scan_video
from cvcore.video.segments import cut_segments
from jobs.pinned import PinnedSegment
from jobs.spec import VideoSection
from jobs.storage import ObjectChanged, ObjectInfo, ObjectMissing, Store

SCAN_THREADS = 8


def plan_videos(
    videos: Iterable[ObjectInfo],
    store: Store,
    asked: VideoSection,
    *,
    limits: DecodeLimits,
    frames_per_unit: Callable[[int], int],
) -> Iterator[PinnedSegment]:
    """Scan videos, several at once, and yield their segments in the order of `videos`.

    A video that cannot be read as one gives a single segment that says why: it costs its row, never the job.

    Args:
        frames_per_unit: from the number of a video's sampled frames to how many a segment has at most.

    Raises:
        StorageError: if the store itself fails.
    """

    def plan(video: ObjectInfo) -> list[PinnedSegment]:
        return _plan_video(video, store, asked, limits, frames_per_unit)

    with ThreadPoolExecutor(SCAN_THREADS, thread_name_prefix="veedor-scan") as pool:
        waiting: deque[Future[list[PinnedSegment]]] = deque()
        try:
            for video in videos:
                waiting.append(pool.submit(plan, video))
                if len(waiting) >= 2 * SCAN_THREADS:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def sampling_of(asked: VideoSection) -> Sampling:
    """What a spec asks for, as `cvcore.video.sample` takes it."""
    if asked.fps is not None:
        return Sampling("fps", fps=asked.fps)
    if asked.stride is not None:
        return Sampling("stride", stride=asked.stride)
    return Sampling("keyframes" if asked.keyframes else "all")


def _plan_video(
    video: ObjectInfo,
    store: Store,
    asked: VideoSection,
    limits: DecodeLimits,
    frames_per_unit: Callable[[int], int],
) -> list[PinnedSegment]:
    try:
        with store.open(video.uri, etag=video.etag, size=video.size) as file:
            scan = scan_video(file, name=video.uri, stream=asked.stream, limits=limits)
    except ImageError as error:
        return [PinnedSegment(video, error_code=error.code, error=str(error))]
    except (ObjectMissing, ObjectChanged) as error:
        return [PinnedSegment(video, error_code=error.code, error=str(error))]
    indices = sample_frames(scan, sampling_of(asked))
    time_base = f"{scan.time_base.numerator}/{scan.time_base.denominator}"
    return [
        PinnedSegment(video, scan.stream, time_base, cut.frame_indices.tolist(), cut.pts.tolist())
        for cut in cut_segments(scan, indices, max_frames=frames_per_unit(len(indices)))
    ]
