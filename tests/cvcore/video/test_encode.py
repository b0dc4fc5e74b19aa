from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from cvcore.video.encode import VideoWriter


def draw(index: int, width: int = 96, height: int = 64) -> npt.NDArray[np.uint8]:
    """A smooth picture that moves, (height, width, 3) uint8."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [128 + 90 * np.sin((columns + k * rows) / 17 + index / 9 + k) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def encode(
    num_frames: int = 30, *, width: int = 96, height: int = 64, times: list[float] | None = None
) -> bytes:
    file = io.BytesIO()
    with VideoWriter(
        file, fps=Fraction(30_000, 1001), width=width, height=height, keyframe_interval=12
    ) as writer:
        for k in range(num_frames):
            writer.write(draw(k, width, height), timestamp_s=None if times is None else times[k])
    return file.getvalue()


def decode(data: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(data)) as container:
        return list(container.decode(video=0))


def psnr(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


def test_frames_come_back_in_order_near_what_was_written() -> None:
    frames = decode(encode())
    assert len(frames) == 30
    for k, frame in enumerate(frames):
        assert psnr(frame.to_ndarray(format="rgb24"), draw(k)) > 33
    assert psnr(frames[0].to_ndarray(format="rgb24"), draw(9)) < 25


def test_times_follow_the_frame_rate_exactly() -> None:
    frames = decode(encode())
    assert [frame.pts * frame.time_base for frame in frames] == [
        Fraction(1001 * k, 30_000) for k in range(30)
    ]
    with av.open(io.BytesIO(encode())) as container:
        assert container.streams.video[0].average_rate == Fraction(30_000, 1001)


def test_timestamps_make_a_variable_frame_rate() -> None:
    times = [0.0, 0.04, 0.5, 0.51, 2.0, 7.25]
    frames = decode(encode(len(times), times=times))
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1 / 90_000)


def test_keyframes_are_no_farther_apart_than_asked() -> None:
    keys = [k for k, frame in enumerate(decode(encode(40))) if frame.key_frame]
    assert keys[0] == 0
    assert max(np.diff([*keys, 40])) <= 12


@pytest.mark.parametrize(
    ("width", "height"), [(95, 64), (96, 63), (33, 21)], ids=["odd width", "odd height", "both odd"]
)
def test_odd_sizes_grow_by_one_and_pixels_stay(width: int, height: int) -> None:
    frames = decode(encode(4, width=width, height=height))
    assert (frames[0].width, frames[0].height) == (width + width % 2, height + height % 2)
    for k, frame in enumerate(frames):
        seen = frame.to_ndarray(format="rgb24")[:height, :width]
        assert psnr(seen, draw(k, width, height)) > 30


def test_same_frames_make_the_same_bytes(tmp_path: Path) -> None:
    assert encode() == encode()
    with VideoWriter(
        tmp_path / "a.mp4", fps=30_000 / 1001, width=96, height=64, keyframe_interval=12
    ) as writer:
        for k in range(30):
            writer.write(draw(k))
    assert (tmp_path / "a.mp4").read_bytes() == encode()


def test_the_index_stands_before_the_frames() -> None:
    data = encode()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_nothing_is_left_of_a_video_that_failed(tmp_path: Path) -> None:
    def break_off() -> None:
        with VideoWriter(tmp_path / "a.mp4", fps=10, width=96, height=64) as writer:
            writer.write(draw(0))
            raise RuntimeError("the camera broke")

    with pytest.raises(RuntimeError, match="camera"):
        break_off()
    assert list(tmp_path.iterdir()) == []


def test_refuses_frames_and_times_that_do_not_fit(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=10, width=96, height=64) as writer:
        with pytest.raises(ValueError, match=r"\(64, 96, 3\) uint8"):
            writer.write(draw(0, 64, 96))
        writer.write(draw(0), timestamp_s=1.0)
        with pytest.raises(ValueError, match="rise"):
            writer.write(draw(1), timestamp_s=1.0)
        with pytest.raises(ValueError, match="every frame"):
            writer.write(draw(1))
    with pytest.raises(ValueError, match="closed"):
        writer.write(draw(1))
    with pytest.raises(ValueError, match="at least one frame"):
        VideoWriter(tmp_path / "b.mp4", fps=10, width=96, height=64).close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    "change",
    [{"fps": 0}, {"width": 1}, {"crf": 60}, {"keyframe_interval": 0}],
    ids=lambda change: next(iter(change)),
)
def test_refuses_arguments(change: dict[str, int]) -> None:
    arguments = {"fps": 10, "width": 96, "height": 64} | change
    with pytest.raises(ValueError, match=next(iter(change))):
        VideoWriter(io.BytesIO(), **arguments)
