"""A damaged video costs the frames that cannot be decoded, and a failing store blames no video."""

from __future__ import annotations

import io
import resource
import subprocess
import sys
from typing import Any

import av
import numpy as np
import pytest

from cvcore.image.limits import DecodeLimits
from cvcore.types import InputSpec
from cvcore.video.decode import VideoFrame, decode_segment, open_frames
from cvcore.video.scan import scan_video
from tests.cvcore.video.clips import HEIGHT, WIDTH, make_clip, picture
from tests.cvcore.video.test_decode import SPEC, decode, difference
from tests.data import ROOT

FRONT = {"movflags": "faststart"}
FULL = InputSpec(HEIGHT, WIDTH)


def codes(frames: list[VideoFrame]) -> list[str | None]:
    return [None if frame.error is None else frame.error.code for frame in frames]


def packets(data: bytes) -> list[tuple[int, int, int]]:
    """(place in the file, bytes, frame) of each packet of a clip at 25 frames a second, in decoding order."""
    with av.open(io.BytesIO(data)) as clip:
        times = [
            (packet.pos, packet.size, packet.pts * packet.time_base)
            for packet in clip.demux(video=0)
            if packet.size
        ]
    ordered = sorted(time for _, _, time in times)
    return [(at, size, ordered.index(time)) for at, size, time in times]


def overwritten(data: bytes, at: int, count: int, seed: int = 3) -> bytes:
    return data[:at] + np.random.default_rng(seed).bytes(count) + data[at + count :]


def assert_sound_ones_are_right(frames: list[VideoFrame], clean: list[VideoFrame]) -> None:
    for frame, expected in zip(frames, clean, strict=True):
        assert (frame.frame_index, frame.timestamp_s) == (expected.frame_index, expected.timestamp_s)
        if frame.error is None:
            np.testing.assert_array_equal(frame.canvas, expected.canvas)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "mjpeg"])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
def test_media_cut_off_keeps_the_frames_before(codec: str, share: float) -> None:
    data = make_clip(codec, "mp4", muxer=FRONT)
    clean = decode(data)
    start = data.index(b"mdat")
    cut = data[: start + int((len(data) - start) * share)]
    frames = decode(cut)
    assert_sound_ones_are_right(frames, clean)
    found = codes(frames)
    whole = {frame for at, size, frame in packets(data) if at + size <= len(cut)}
    assert {index for index, code in enumerate(found) if code is None} >= set(
        range(min(set(range(40)) - whole))
    )
    assert {code for index, code in enumerate(found) if index not in whole} == {"truncated"}
    assert str(next(frame.error for frame in frames if frame.error)).startswith("video, frame ")


def test_segments_behind_the_cut_fail_alone() -> None:
    data = make_clip(muxer=FRONT)
    cut = data[: len(data) // 2]
    assert codes(decode(cut, list(range(30, 36)))) == ["truncated"] * 6
    assert codes(decode(cut, list(range(6)))) == [None] * 6


@pytest.mark.parametrize("container", ["mkv", "avi"])
def test_other_containers_list_what_is_left(container: str) -> None:
    data = make_clip("mjpeg", container)
    frames = decode(data[: len(data) * 2 // 3])
    assert 20 <= len(frames) < 40
    assert codes(frames[:-1]) == [None] * (len(frames) - 1)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_damaged_keyframe_costs_its_group(container: str, threads: int) -> None:
    data = make_clip("h264", container)
    at, size, frame = packets(data)[24]
    assert frame == 24
    damaged = overwritten(data, at + 40, size - 40)
    frames = decode(damaged, threads=threads)
    assert codes(frames) == [None] * 24 + ["corrupt"] * 12 + [None] * 4
    assert_sound_ones_are_right(frames, decode(data))
    cut = [frame for first in range(0, 40, 8) for frame in decode(damaged, list(range(first, first + 8)))]
    assert codes(cut) == codes(frames)


def test_frames_predicted_from_a_damaged_one_fail_with_it() -> None:
    """Frame 10 is damaged; 9, which is shown before it, and 11 refer to it."""
    data = make_clip()
    at, size, frame = packets(data)[9]
    assert frame == 10
    frames = decode(overwritten(data, at + size // 3, size // 2))
    assert codes(frames) == [None] * 9 + ["corrupt"] * 3 + [None] * 28
    assert_sound_ones_are_right(frames, decode(data))


@pytest.mark.parametrize("container", ["mp4", "avi", "mkv"])
def test_each_jpeg_is_damaged_for_itself(container: str) -> None:
    data = make_clip("mjpeg", container)
    at, size, _ = packets(data)[17]
    frames = decode(overwritten(data, at + size // 3, size // 2))
    assert codes(frames) == [None] * 17 + ["corrupt"] + [None] * 22
    assert_sound_ones_are_right(frames, decode(data))


@pytest.mark.parametrize("seed", range(40))
def test_noise_anywhere_gives_each_frame_an_outcome(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codec, container = [("h264", "mp4"), ("hevc", "mkv"), ("vp9", "webm"), ("av1", "mp4"), ("mjpeg", "avi")][
        seed % 5
    ]
    data = make_clip(codec, container)
    scan = scan_video(io.BytesIO(data))
    for _ in range(int(rng.integers(1, 5))):
        data = overwritten(data, int(rng.integers(48, len(data) - 300)), int(rng.integers(1, 300)), seed)
    frames = decode_segment(
        io.BytesIO(data), stream=scan.stream, frame_indices=range(40), pts=scan.pts.tolist(), spec=SPEC
    )
    found = list(frames)
    assert [frame.frame_index for frame in found] == list(range(40))
    assert set(codes(found)) <= {None, "corrupt", "truncated", "too_large"}
    assert all((frame.canvas is None) == (frame.error is not None) for frame in found)


def test_another_file_gives_each_frame_an_outcome() -> None:
    frames = decode_segment(
        io.BytesIO(b"not a video" * 99), stream=0, frame_indices=[3, 4], pts=[1, 2], spec=SPEC
    )
    assert codes(list(frames)) == ["corrupt", "corrupt"]


def two_sizes(container: str, sizes: tuple[tuple[int, int], tuple[int, int]]) -> bytes:
    """Ten frames of each size, the second ten under a new header within the stream."""
    file = io.BytesIO()
    parts = [
        make_clip("h264", "ts", num_frames=10, size=size, params={"x264-params": "keyint=5:bframes=0"})
        for size in sizes
    ]
    with av.open(file, "w", format={"mkv": "matroska", "ts": "mpegts"}[container]) as output:
        stream = None
        for part, data in enumerate(parts):
            with av.open(io.BytesIO(data)) as clip:
                source = clip.streams.video[0]
                stream = stream or output.add_stream_from_template(source)
                for index, packet in enumerate(packet for packet in clip.demux(source) if packet.size):
                    packet.pts = packet.dts = (index + 10 * part) * 3600
                    packet.stream = stream
                    output.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("container", ["mkv", "ts"])
@pytest.mark.parametrize("threads", [1, 2])
def test_each_frame_is_fitted_by_its_own_size(container: str, threads: int) -> None:
    data = two_sizes(container, ((128, 96), (64, 160)))
    frames = decode(data, threads=threads)
    assert codes(frames) == [None] * 20
    assert [(frame.fit.source_width, frame.fit.source_height) for frame in frames] == [(128, 96)] * 10 + [
        (64, 160)
    ] * 10
    sizes = [pixels.shape for _, _, pixels in open_frames(io.BytesIO(data))]
    assert sizes == [(96, 128, 3)] * 10 + [(160, 64, 3)] * 10
    assert (
        difference(decode(data, [15], spec=InputSpec(160, 64))[0].canvas, picture(5, width=64, height=160))
        < 8
    )


@pytest.mark.parametrize("size", [(256, 160), (1024, 1024)])
def test_frames_that_outgrow_the_limit_fail_alone(size: tuple[int, int]) -> None:
    data = two_sizes("mkv", ((128, 96), size))
    frames = decode(data, limits=DecodeLimits(max_pixels=128 * 96))
    assert codes(frames[:10]) == [None] * 10
    assert set(codes(frames[10:])) == {"too_large"}


class StoreDown(Exception):
    pass


class Failing(io.BytesIO):
    """Reads up to `allowed` bytes, then raises."""

    def __init__(self, data: bytes, allowed: int) -> None:
        super().__init__(data)
        self.left = allowed

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.left -= len(data)
        if self.left < 0:
            raise StoreDown("503")
        return data


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_the_file_raises_is_raised(container: str, share: float, threads: int) -> None:
    data = make_clip("h264", container, size=(320, 240), params={"crf": "2"})
    scan = scan_video(io.BytesIO(data))
    more: dict[str, Any] = {"stream": 0, "spec": SPEC, "threads": threads}
    file = Failing(data, int(len(data) * share))
    frames: list[VideoFrame] = []
    with pytest.raises(StoreDown, match="503"):
        frames.extend(decode_segment(file, frame_indices=range(40), pts=scan.pts.tolist(), **more))
    assert codes(frames) == [None] * len(frames)


def test_memory_does_not_grow_with_the_video() -> None:
    """500 frames, which decoded are 230 MB, more than after the first 100."""
    data = make_clip(num_frames=600, size=(640, 480))
    peaks = []
    for frame in decode_segment(
        io.BytesIO(data),
        stream=0,
        frame_indices=range(600),
        pts=scan_video(io.BytesIO(data)).pts.tolist(),
        spec=FULL,
    ):
        assert frame.error is None
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    assert peaks[-1] - peaks[100] < 20


def test_decoding_workers_need_no_torch() -> None:
    script = "import sys, cvcore.video.decode, cvcore.video.segments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    data = make_clip("h264", "mp4")
    decode(overwritten(data, 2000, 3000))
    assert capfd.readouterr() == ("", "")
