"""Write rendered video scenes as H.264 files with MOT Challenge ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cvcore.scenes.parts import PART_NAMES
from cvcore.scenes.video import DEFAULT_VIDEO_SPEC, VideoSceneFrame, VideoSceneSpec, render_video_scene
from cvcore.video.encode import VideoWriter

CRF = 18  # a good camera's recording rather than a stream's


def mot_rows(frame: VideoSceneFrame, *, number: int) -> Iterator[str]:
    """A frame's lines of MOT Challenge ground truth (Milan et al. 2016, MOT16, table 6).

    `frame, id, x, y, w, h, consider, class, visibility`: `number` counts frames from 1, classes count from 1
    in the order of PART_NAMES. x and y are the box's left and top edges as in all of this project, with the
    picture's corner at (0, 0): the benchmark's own files add 1 to both. Numbers are written in full.

    A part of which too little is seen to count (`VideoSceneFrame.counts`) is written with consider 0: an
    evaluator leaves out such boxes, and what was found there. Parts of which nothing is seen have no line.
    """
    parts = zip(
        frame.track_ids.tolist(),
        frame.boxes.tolist(),
        frame.counts.tolist(),
        frame.label_ids.tolist(),
        frame.visibility.tolist(),
        strict=True,
    )
    for track_id, (x1, y1, x2, y2), counts, label_id, visibility in parts:
        box = f"{x1!r},{y1!r},{x2 - x1!r},{y2 - y1!r}"
        yield f"{number},{track_id},{box},{int(counts)},{label_id + 1},{visibility!r}"


def write_video_scenes(
    folder: Path,
    *,
    num_videos: int,
    seed: int,
    spec: VideoSceneSpec = DEFAULT_VIDEO_SPEC,
) -> None:
    """Render the videos of `seed`, `seed + 1`, ... as a tracking dataset.

    Writes `folder/videos/line-<seed>.mp4`, `folder/truth/line-<seed>.txt` (see `mot_rows`) and
    `folder/labels.txt`, a class a line. Choose seeds at least `num_videos` apart for datasets that must not
    share videos.
    """
    videos, truth = folder / "videos", folder / "truth"
    videos.mkdir(parents=True, exist_ok=True)
    truth.mkdir(parents=True, exist_ok=True)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in PART_NAMES))
    for scene in range(seed, seed + num_videos):
        rows: list[str] = []
        video = videos / f"line-{scene}.mp4"
        with VideoWriter(video, fps=spec.fps, width=spec.width, height=spec.height, crf=CRF) as writer:
            for number, frame in enumerate(render_video_scene(scene, spec), start=1):
                writer.write(frame.image)
                rows += mot_rows(frame, number=number)
        (truth / f"line-{scene}.txt").write_text("".join(f"{row}\n" for row in rows))
