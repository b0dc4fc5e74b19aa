"""Decoded frames are the right ones, upright, in true colours, and do not depend on how a video is cut."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from cvcore.image.fit import draw_fit, plan_fit
from cvcore.types import InputSpec
from cvcore.video.decode import VideoFrame, decode_segment, open_frames
from cvcore.video.sample import Sampling, sample_frames
from cvcore.video.scan import scan_video
from cvcore.video.segments import cut_segments
from tests.cvcore.video.clips import HEIGHT, PAIRS, WIDTH, make_clip, picture
from tests.data import shared_data

SPEC = InputSpec(64, 64)
SAME_SIZE = InputSpec(HEIGHT, WIDTH)


def decode(
    data: bytes, indices: list[int] | None = None, *, spec: InputSpec = SPEC, **more: Any
) -> list[VideoFrame]:
    """Frames of a video's best stream, in one go; all without `indices`."""
    scan = scan_video(io.BytesIO(data))
    wanted = np.arange(len(scan)) if indices is None else np.array(indices)
    return list(
        decode_segment(
            io.BytesIO(data),
            stream=scan.stream,
            frame_indices=wanted.tolist(),
            pts=scan.pts[wanted].tolist(),
            spec=spec,
            **more,
        )
    )


def canvases(frames: list[VideoFrame]) -> np.ndarray:
    assert [frame.error for frame in frames if frame.error] == []
    return np.stack([frame.canvas for frame in frames])


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute, in levels."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


OPEN_GOP = "keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1"
CLIPS: dict[str, dict[str, Any]] = {
    f"{codec} {container}": {"codec": codec, "container": container} for codec, container in PAIRS
}
CLIPS |= {
    "h264 ts": {"container": "ts"},
    "hevc ts": {"codec": "hevc", "container": "ts"},
    "open GOP mp4": {"params": {"x264-params": OPEN_GOP}},
    "open GOP mkv": {"params": {"x264-params": OPEN_GOP}, "container": "mkv"},
    "open GOP hevc": {"codec": "hevc", "params": {"x265-params": OPEN_GOP + ":log-level=none"}},
    "open GOP hevc ts": {
        "codec": "hevc",
        "container": "ts",
        "params": {"x265-params": OPEN_GOP + ":log-level=none"},
    },
    "intra refresh": {"params": {"x264-params": "keyint=12:intra-refresh=1:bframes=0"}},
    "intra refresh ts": {"container": "ts", "params": {"x264-params": "keyint=12:intra-refresh=1:bframes=0"}},
    "pyramid": {"params": {"x264-params": "keyint=20:scenecut=0:bframes=5:b-adapt=0:b-pyramid=normal"}},
    "one keyframe": {"params": {"x264-params": "keyint=infinite:scenecut=0"}},
    "late, variable": {"pts": [900 + 24 * i + (i % 5) for i in range(40)]},
    "fragmented": {"muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "with audio": {"audio": True},
    "turned": {"rotation": 90},
    "10 bits": {"codec": "hevc", "pix_fmt": "yuv420p10le"},
    "gray": {"pix_fmt": "gray"},
}


@pytest.mark.parametrize("name", CLIPS)
def test_cuts_change_nothing(name: str) -> None:
    data = make_clip(**CLIPS[name])
    scan = scan_video(io.BytesIO(data))
    whole = canvases(decode(data))
    assert len(whole) == 40
    indices = np.arange(40)
    rng = np.random.default_rng(1)
    cuts = [
        [segment.frame_indices for segment in cut_segments(scan, indices, max_frames=n)] for n in (1, 7, 50)
    ]
    cuts += [np.split(indices, np.sort(rng.choice(np.arange(1, 40), 6, replace=False))) for _ in range(2)]
    cuts.append([np.sort(rng.choice(indices, 9, replace=False)), sample_frames(scan, Sampling("keyframes"))])
    for cut in cuts:
        for part in cut:
            frames = decode(data, part.tolist())
            assert [frame.frame_index for frame in frames] == part.tolist()
            assert [frame.timestamp_s for frame in frames] == [
                float(int(t) * scan.time_base) for t in scan.pts[part]
            ]
            np.testing.assert_array_equal(canvases(frames), whole[part])


@pytest.mark.parametrize("name", ["h264 mp4", "hevc mkv", "vp9 webm", "open GOP mp4", "late, variable"])
def test_threads_change_nothing(name: str) -> None:
    data = make_clip(**CLIPS[name])
    np.testing.assert_array_equal(canvases(decode(data, threads=3)), canvases(decode(data)))


@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_those_of_a_plain_decoder(name: str) -> None:
    data = make_clip(**CLIPS[name])
    with av.open(io.BytesIO(data)) as clip:
        plain = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    found = list(open_frames(io.BytesIO(data)))
    assert [index for index, _, _ in found] == list(range(40))
    for (_, _, pixels), expected in zip(found, plain, strict=True):
        assert difference(pixels, np.rot90(expected) if name == "turned" else expected) < 2.5


@pytest.mark.parametrize("codec", ["h264", "vp9", "mjpeg"])
def test_colours_are_those_that_were_encoded(codec: str) -> None:
    """Within the encoder's loss; half the pixels are exact to 3 levels, so no matrix or range is mistaken."""
    options = {"h264": {"crf": "4"}, "vp9": {"crf": "4", "b": "0"}, "mjpeg": {"q": "1"}}[codec]
    for frame in decode(make_clip(codec, "mkv", num_frames=5, params=options), spec=SAME_SIZE):
        assert np.median(np.abs(frame.canvas.astype(int) - picture(frame.frame_index))) <= 3


@pytest.mark.parametrize(("matrix", "number"), [("bt709", 1), ("smpte170m", 6), ("bt2020nc", 9)])
@pytest.mark.parametrize("is_full", [False, True])
def test_the_stated_colour_space_is_used(matrix: str, number: int, is_full: bool) -> None:
    red = np.zeros((48, 64, 3), np.uint8) + np.array([200, 30, 60], np.uint8)
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        params = f"colormatrix={matrix}:fullrange={'on' if is_full else 'off'}"
        stream = output.add_stream("libx264", rate=25, options={"x264-params": params, "crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[number]
        frame = av.VideoFrame.from_ndarray(_yuv(red, kr, kb, is_full), format="yuv420p")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    ((_, _, pixels),) = open_frames(io.BytesIO(file.getvalue()))
    assert np.abs(pixels.astype(int) - red).max() <= 4
    (shrunk,) = decode(file.getvalue(), spec=InputSpec(24, 32))
    assert np.abs(shrunk.canvas.astype(int) - red[:24, :32]).max() <= 4


def _yuv(rgb: np.ndarray, kr: float, kb: float, is_full: bool) -> np.ndarray:
    """One colour as planar 4:2:0, by the definition (ITU-T H.273, 8.3)."""
    r, g, b = rgb[0, 0] / 255
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    height, width = rgb.shape[:2]
    levels = (
        (255 * y, 255 * u + 128, 255 * v + 128) if is_full else (219 * y + 16, 224 * u + 128, 224 * v + 128)
    )
    sizes = (height * width, height * width // 4, height * width // 4)
    return (
        np.concatenate([np.full(n, round(v)) for n, v in zip(sizes, levels, strict=True)])
        .astype(np.uint8)
        .reshape(height * 3 // 2, width)
    )


@pytest.mark.parametrize("degrees", [90, 180, -90])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_turned_videos_are_upright(degrees: int, container: str) -> None:
    plain = canvases(decode(make_clip(container=container, num_frames=3), spec=InputSpec(HEIGHT, WIDTH)))
    quarter_turns = degrees // 90
    height, width = (WIDTH, HEIGHT) if quarter_turns % 2 else (HEIGHT, WIDTH)
    frames = decode(
        make_clip(container=container, num_frames=3, rotation=degrees), spec=InputSpec(height, width)
    )
    for frame, expected in zip(frames, plain, strict=True):
        np.testing.assert_array_equal(frame.canvas, np.rot90(expected, quarter_turns))


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(80, 80),
        InputSpec(80, 80, fill=7),
        InputSpec(50, 40, fit="stretch"),
        InputSpec(80, 100, fit="shortest_edge", shortest_edge_px=48),
        InputSpec(200, 300),
    ],
    ids=lambda spec: f"{spec.fit} {spec.height}x{spec.width}",
)
@pytest.mark.parametrize("rotation", [0, 90])
def test_frames_lie_on_the_canvas_as_images_do(spec: InputSpec, rotation: int) -> None:
    data = make_clip(num_frames=2, rotation=rotation)
    for frame, (_, _, pixels) in zip(decode(data, spec=spec), open_frames(io.BytesIO(data)), strict=True):
        fit = plan_fit(pixels.shape[0], pixels.shape[1], spec)
        assert frame.fit == fit
        expected = draw_fit(Image.fromarray(pixels), fit, spec)
        assert difference(frame.canvas, expected) < 2
        rows, columns = (
            slice(fit.top, fit.top + fit.content_height),
            slice(fit.left, fit.left + fit.content_width),
        )
        frame.canvas[rows, columns] = spec.fill
        assert np.all(frame.canvas == spec.fill)


@pytest.mark.parametrize(
    ("name", "stream", "num_frames"), [("bottle-detection.mp4", 0, 1189), ("car-detection.mp4", 0, 377)]
)
def test_real_videos_as_opencv_reads_them(name: str, stream: int, num_frames: int) -> None:
    cv2 = pytest.importorskip("cv2")
    path = shared_data("video", name)
    reader = cv2.VideoCapture(str(path))
    count = 0
    with path.open("rb") as file:
        for _, seconds, pixels in open_frames(file, stream=stream):
            found, expected = reader.read()
            assert found
            assert difference(pixels, expected[:, :, ::-1]) < 3
            assert seconds * 1000 == pytest.approx(reader.get(cv2.CAP_PROP_POS_MSEC), abs=0.1)
            count += 1
    assert not reader.read()[0]
    assert count == num_frames


@pytest.mark.parametrize(("stream", "num_frames", "size"), [(None, 390, (480, 270)), (0, 325, (320, 180))])
def test_each_of_two_video_streams(stream: int | None, num_frames: int, size: tuple[int, int]) -> None:
    path = shared_data("video", "nasa_13013.mp4")
    with path.open("rb") as file:
        scan = scan_video(file, stream=stream)
        assert ((scan.width, scan.height), len(scan)) == (size, num_frames)
        for max_frames in (64, 1000):
            segments = cut_segments(scan, np.arange(num_frames), max_frames=max_frames)
            for segment in segments:
                frames = decode_segment(
                    file,
                    stream=scan.stream,
                    frame_indices=segment.frame_indices.tolist(),
                    pts=segment.pts.tolist(),
                    spec=SPEC,
                )
                assert all(frame.error is None for frame in frames)


def test_what_does_not_fit_is_refused() -> None:
    more: dict[str, Any] = {"stream": 0, "spec": SPEC}
    with pytest.raises(ValueError, match="ascending"):
        decode_segment(io.BytesIO(), frame_indices=[0], pts=[0, 1], **more)
    with pytest.raises(ValueError, match="ascending"):
        decode_segment(io.BytesIO(), frame_indices=[0, 1], pts=[1, 0], **more)
    with pytest.raises(ValueError, match="threads"):
        decode_segment(io.BytesIO(), frame_indices=[0], pts=[0], threads=0, **more)
    assert list(decode_segment(io.BytesIO(), frame_indices=[], pts=[], **more)) == []
