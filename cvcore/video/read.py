"""Decode chosen frames of a stream: one outcome for each, whatever the file is like."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cvcore.errors import ImageError
from cvcore.video.damage import Damage
from cvcore.video.seek import Start, seek_packets
from cvcore.video.source import AV_ERRORS, Source, demux_packets, open_container, pick_stream
from cvcore.video.times import FrameTimes, is_hidden, packet_time, stores_times

# Their decoders leave out single frames that no other refers to when told so from packet to packet.
_SKIPPING_CODECS = ("h264", "hevc")


class FrameReader:
    """Reads the frames of one stream that are shown at the times `pts`, ascending.

    Attributes:
        time_base: the stream's, once the file could be opened.
    """

    def __init__(
        self, source: Source, *, stream: int, pts: Sequence[int], max_pixels: int, threads: int
    ) -> None:
        self.time_base: Fraction | None = None
        self._source = source
        self._stream = stream
        self._pts = [int(time) for time in pts]
        self._max_pixels = max_pixels
        self._threads = threads
        self._done = 0
        self._sent: set[int] = set()  # those of `pts` whose packets went to the decoder
        self._oversize: dict[int, tuple[int, int]] = {}  # width and height that the decoder refused
        self._has_ended = False
        self._cause = ""

    def frames(self) -> Iterator[VideoFrame | ImageError]:
        """One outcome for each time, in order: the frame, or why there is none.

        Raises:
            Exception: what the file itself raises.
        """
        # What several threads report as lost is off by a few packets, and a keyframe where decoding cannot
        # start (or that is damaged) may be avoided by starting before it: a second pass gives the rest.
        for threads, spare, is_final in ((self._threads, 0, False), (1, 1, True)):
            try:
                if self._done < len(self._pts):
                    yield from self._pass(threads, spare=spare, is_final=is_final)
            except (ImageError, *AV_ERRORS) as error:
                self._cause = str(error)
            self._source.check()
        while self._done < len(self._pts):
            yield self._fail("corrupt", f"the video cannot be read: {self._cause}")

    def _pass(self, threads: int, *, spare: int, is_final: bool) -> Iterator[VideoFrame | ImageError]:
        """Decode from the first outstanding frame on; without `is_final`, stop where a second pass is better.

        That is at any damage if there are several threads, else if not even the first frame came out well.
        """
        first, self._has_ended = self._done, False
        with self._started(spare) as (video, stored, start):
            damage = Damage(start.keyframe_time)
            for time, frame in self._settle(self._show(video, stored, start, damage, threads), damage):
                while self._pts[self._done] < time:
                    damage.lost(self._pts[self._done])
                    if not is_final and (threads > 1 or self._done == first):
                        return
                    yield self._miss()
                sound = damage.is_sound(time) and not frame.is_corrupt
                if not is_final and (damage.seen if threads > 1 else self._done == first and not sound):
                    return
                yield self._take(frame) if sound else self._fail("corrupt", "it is damaged")
                if self._done == len(self._pts):
                    return
        if not is_final and (damage.seen if threads > 1 else self._done == first):
            return
        while self._done < len(self._pts):
            yield self._miss()

    def _settle(
        self, shown: Iterator[tuple[int, VideoFrame]], damage: Damage
    ) -> Iterator[tuple[int, VideoFrame]]:
        """The wanted ones of the frames shown, each once all that it refers to was shown.

        A picture predicted from a later one is shown before that one's damage is known.
        """
        wanted = set(self._pts[self._done :])
        held: deque[tuple[int, VideoFrame]] = deque()
        for time, frame in shown:
            damage.shown(time, corrupt=frame.is_corrupt)
            if time in wanted:
                wanted.discard(time)
                held.append((time, frame))
            else:
                damage.is_sound(time)
            while held and damage.is_settled(held[0][0]):
                yield held.popleft()
        yield from held

    @contextmanager
    def _started(self, spare: int) -> Iterator[tuple[VideoStream, bool, Start]]:
        """The stream, whether its times are stored, and packets to decode the outstanding frames from."""
        time = self._pts[self._done]
        with open_container(self._source) as container:
            video = pick_stream(container, self._stream)
            self.time_base = video.time_base
            stored = stores_times(container)
            start = seek_packets(container, video, time, stored=stored, spare=spare)
            if start is not None:
                yield video, stored, start
                return
        with open_container(self._source) as container:
            video = pick_stream(container, self._stream)
            yield video, stored, Start(None, demux_packets(container, video))

    def _show(
        self, video: VideoStream, stored: bool, start: Start, damage: Damage, threads: int
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Decoded frames with their times, in order of presentation."""
        decoder, times = video.codec_context, FrameTimes(stored=stored)
        decoder.thread_count = threads
        decoder.thread_type = "AUTO" if threads > 1 else "NONE"
        # Refused before memory is taken; somewhat above the limit, since coded sizes are padded.
        decoder.options = {
            "max_pixels": str(min(2**31 - 1, self._max_pixels + self._max_pixels // 8 + 2**16))
        }
        wanted = set(self._pts[self._done :])
        may_skip = stored and threads == 1 and decoder.name in _SKIPPING_CODECS
        was_skipping = False
        for packet in start.packets:
            time = packet_time(packet, stored=stored)
            self._source.check()
            if packet.is_corrupt or time is None:
                if time is not None:
                    damage.lost(time)
                continue
            if not stored:
                packet.pts = time
            skips = may_skip and time not in wanted
            if skips != was_skipping:
                decoder.skip_frame = "NONREF" if skips else "DEFAULT"
                was_skipping = skips
            if not (skips or packet.is_discard or is_hidden(packet, decoder.name)):
                damage.sent(time, keyframe=packet.is_keyframe)
                self._sent.add(time)
            try:
                frames = decoder.decode(packet)
            except AV_ERRORS as error:
                self._cause = str(error)
                if decoder.width * decoder.height > self._max_pixels:
                    self._oversize[time] = (decoder.width, decoder.height)
                damage.lost(time)
                continue
            for frame in frames:
                shown_at = times.time(frame)
                if shown_at is not None:
                    yield shown_at, frame
        self._source.check()
        self._has_ended = True
        decoder.skip_frame = "DEFAULT"
        for frame in _flush(decoder):
            shown_at = times.time(frame)
            if shown_at is not None:
                yield shown_at, frame

    def _take(self, frame: VideoFrame) -> VideoFrame | ImageError:
        if frame.width * frame.height > self._max_pixels:
            return self._outgrow(frame.width, frame.height)
        self._done += 1
        return frame

    def _outgrow(self, width: int, height: int) -> ImageError:
        return self._fail(
            "too_large",
            f"{width}x{height} is {width * height} pixels, over the limit max_pixels = {self._max_pixels}",
        )

    def _miss(self) -> ImageError:
        if size := self._oversize.pop(self._pts[self._done], None):
            return self._outgrow(*size)
        if self._has_ended and self._pts[self._done] not in self._sent:
            return self._fail("truncated", "the video's data ends before it")
        return self._fail("corrupt", "it cannot be decoded")

    def _fail(self, code: str, message: str) -> ImageError:
        self._done += 1
        return ImageError(code, message)


def _flush(decoder: VideoCodecContext) -> list[VideoFrame]:
    try:
        return decoder.decode(None)
    except AV_ERRORS:
        return []
