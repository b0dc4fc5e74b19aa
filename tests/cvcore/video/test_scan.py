"""Frames are listed as ffprobe finds them by decoding, and of MP4 files without reading the media."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cvcore.errors import ImageError
from cvcore.image.limits import DecodeLimits
from cvcore.video.scan import VideoScan, scan_video
from cvcore.video.source import Source
from tests.cvcore.video.clips import PAIRS, make_clip, picture, probe_times, silence
from tests.data import shared_data

OPEN_GOP = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1"}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}


class CountingFile(io.BytesIO):
    """Counts the bytes that are read."""

    num_read = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.num_read += len(data)
        return data


def seconds(scan: VideoScan) -> list[float]:
    return [float(time * scan.time_base) for time in scan.pts.tolist()]


@pytest.mark.parametrize(("codec", "container"), [*PAIRS, ("h264", "ts"), ("hevc", "ts")])
def test_each_codec_and_container(codec: str, container: str, tmp_path: Path) -> None:
    data = make_clip(codec, container)
    scan = scan_video(io.BytesIO(data))
    assert seconds(scan) == pytest.approx(probe_times(data, tmp_path / f"clip.{container}"), abs=2e-6)
    assert (scan.codec.removeprefix("lib"), scan.width, scan.height) in {(codec, 128, 96), ("dav1d", 128, 96)}
    expected = range(40) if codec == "mjpeg" else range(0, 40, 12)
    if codec != "av1":  # its encoder picks keyframes by itself
        assert np.flatnonzero(scan.keyframes).tolist() == list(expected)
    assert scan.keyframes[0]


VARIANTS = {
    "variable frame rate": {"pts": [0, 7, 9, 50, 51, 52, 400, 401, 900, 905, 911, 2000], "num_frames": 12},
    "starts late": {"pts": [5000 + 24 * i for i in range(30)], "num_frames": 30},
    "open GOP": {"params": OPEN_GOP},
    "with audio": {"audio": True},
    "fragmented": {"muxer": FRAGMENTS},
    "index in front": {"muxer": {"movflags": "faststart"}},
    "one frame": {"num_frames": 1},
}


@pytest.mark.parametrize("container", ["mp4", "mkv"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant: str, container: str, tmp_path: Path) -> None:
    options = dict(VARIANTS[variant])
    if container == "mkv":
        options.pop("muxer", None)
    data = make_clip("h264", container, **options)
    times = seconds(scan_video(io.BytesIO(data)))
    assert times == pytest.approx(probe_times(data, tmp_path / f"clip.{container}"), abs=2e-6)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_turned_videos_have_upright_sizes(degrees: int, container: str) -> None:
    scan = scan_video(io.BytesIO(make_clip("h264", container, num_frames=3, rotation=degrees)))
    assert (scan.width, scan.height) == ((96, 128) if degrees % 180 else (128, 96))


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_mp4_is_listed_from_its_index_alone(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_clip("h264", "mp4", **VARIANTS[variant])
    sparse = scan_video(io.BytesIO(data))
    monkeypatch.setattr(Source, "blank", lambda *_: None)
    full = scan_video(io.BytesIO(data))
    assert sparse.pts.tolist() == full.pts.tolist()
    assert sparse.keyframes.tolist() == full.keyframes.tolist()
    assert (sparse.width, sparse.height, sparse.time_base) == (full.width, full.height, full.time_base)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "mjpeg"])
def test_media_is_not_read_of_an_mp4(codec: str) -> None:
    noise = make_clip(codec, "mp4", num_frames=60, size=(320, 240), params={"b": "8M", "crf": "1"})
    file = CountingFile(noise)
    assert len(scan_video(file)) == 60
    assert file.num_read < len(noise) * 0.05


@pytest.mark.parametrize(
    ("name", "stream", "num_frames"),
    [
        ("bottle-detection.mp4", None, 1189),
        ("car-detection.mp4", None, 377),
        ("nasa_13013.mp4", None, 390),
        ("nasa_13013.mp4", 0, 325),
        ("nasa_13013.mp4", 3, 390),
    ],
)
def test_real_videos(name: str, stream: int | None, num_frames: int, tmp_path: Path) -> None:
    data = shared_data("video", name).read_bytes()
    file = CountingFile(data)
    scan = scan_video(file, stream=stream)
    assert len(scan) == num_frames
    assert file.num_read < len(data) * 0.05
    times = probe_times(data, tmp_path / name, stream=str(scan.stream))
    assert seconds(scan) == pytest.approx(times, abs=2e-6)


def test_frames_that_an_edit_list_hides_are_not_listed(tmp_path: Path) -> None:
    source = make_clip("h264", "mp4", num_frames=40)
    file = io.BytesIO()
    with av.open(io.BytesIO(source)) as clip, av.open(file, "w", format="mp4") as cut:
        stream = cut.add_stream_from_template(clip.streams.video[0])
        start = int(Fraction(6, 25) / clip.streams.video[0].time_base)
        for packet in clip.demux(clip.streams.video[0]):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, stream
                cut.mux(packet)
    data = file.getvalue()
    times = seconds(scan_video(io.BytesIO(data)))
    assert times == pytest.approx(probe_times(data, tmp_path / "clip.mp4"), abs=2e-6)
    assert len(times) == 34


def test_avi_counts_frames() -> None:
    scan = scan_video(io.BytesIO(make_clip("h264", "avi", num_frames=30)))
    assert seconds(scan) == pytest.approx([index / 25 for index in range(30)])


def test_frames_at_the_same_time_are_one() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuvj420p"
        for index, time in enumerate([0, 40, 40, 80]):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            for packet in stream.encode(frame):
                packet.time_base, packet.pts, packet.dts = Fraction(1, 1000), time, time
                output.mux_one(packet)
    assert scan_video(io.BytesIO(file.getvalue())).pts.tolist() == [0, 40, 80]


def test_cover_art_is_no_video() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=16000, layout="mono")
        cover = output.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 128, 96, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        output.mux(sound.encode(silence()))
        output.mux(sound.encode(None))
        output.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        output.mux(cover.encode(None))
    with av.open(io.BytesIO(file.getvalue())) as clip:
        assert clip.streams.video[0].disposition == av.stream.Disposition.attached_pic
    with pytest.raises(ImageError, match="no video stream"):
        scan_video(io.BytesIO(file.getvalue()))


def audio_only() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=16000, layout="mono")
        output.mux(stream.encode(silence()))
        output.mux(stream.encode(None))
    return file.getvalue()


def without_frames() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"movflags": "empty_moov"}) as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        output.start_encoding()
    return file.getvalue()


def lying(data: bytes, kind: bytes, claim: int) -> bytes:
    """The file with another size in the header of its box `kind`."""
    at = data.index(kind) - 4
    return data[:at] + claim.to_bytes(4, "big") + data[at + 4 :]


def clip() -> bytes:
    return make_clip("h264", "mp4", num_frames=20)


def front_clip() -> bytes:
    return make_clip("h264", "mp4", num_frames=20, muxer={"movflags": "faststart"})


BAD_FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "no bytes": ("empty", lambda: b""),
    "text": ("not_a_video", lambda: b"a shopping list: bread, butter, jam\n" * 50),
    "noise": ("not_a_video", lambda: np.random.default_rng(0).bytes(5000)),
    "a picture": ("not_a_video", lambda: b"\x89PNG\r\n\x1a\n" + bytes(500)),
    "a playlist": ("not_a_video", lambda: b"#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
    "a concat script": ("not_a_video", lambda: b"ffconcat version 1.0\nfile /etc/passwd\n"),
    "audio only": ("no_video", audio_only),
    "zero frames": ("no_frames", without_frames),
    "index at the end cut off": ("truncated", lambda: clip()[:4000]),
    "cut in its index": ("truncated", lambda: front_clip()[:300]),
    "only the first box": ("truncated", lambda: clip()[:28]),
    "index longer than the file": ("truncated", lambda: lying(clip(), b"moov", 2**31)),
    "media longer than the file": ("truncated", lambda: lying(clip(), b"mdat", 2**31)),
    "box of 3 bytes": ("corrupt", lambda: lying(clip(), b"mdat", 3)),
    "Matroska header alone": ("truncated", lambda: make_clip("h264", "mkv")[:40]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_name_what_is_wrong(case: str) -> None:
    code, make = BAD_FILES[case]
    with pytest.raises(ImageError, match=r"bad\.mp4: ") as caught:
        scan_video(io.BytesIO(make()), name="bad.mp4")
    assert caught.value.code == code


def test_too_many_pixels() -> None:
    with pytest.raises(ImageError, match="128x96 is 12288 pixels") as caught:
        scan_video(io.BytesIO(make_clip()), limits=DecodeLimits(max_pixels=12287))
    assert caught.value.code == "too_large"


def test_no_such_stream() -> None:
    with pytest.raises(ImageError, match="no video stream 7 among 0") as caught:
        scan_video(io.BytesIO(make_clip()), stream=7)
    assert caught.value.code == "no_video"


def test_media_cut_off_behind_the_index_is_listed_in_full() -> None:
    data = make_clip(muxer={"movflags": "faststart"})
    assert len(scan_video(io.BytesIO(data[: len(data) * 2 // 3]))) == 40


class StoreDown(Exception):
    pass


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("allowed", [0, 1, 2, 3])
def test_what_the_file_raises_is_raised(container: str, allowed: int) -> None:
    class Failing(io.BytesIO):
        num_calls = 0

        def read(self, size: int | None = -1) -> bytes:
            self.num_calls += 1
            if self.num_calls > allowed:
                raise StoreDown("503")
            return super().read(min(size or 0, 2048))

    with pytest.raises(StoreDown, match="503"):
        scan_video(Failing(make_clip("h264", container)))


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(make_clip("h264", "mkv"))
    data[4000:4200] = os.urandom(200)
    scan_video(io.BytesIO(bytes(data)))
    assert capfd.readouterr() == ("", "")
