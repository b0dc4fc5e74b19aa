"""The time of a packet and of a frame, whether or not the container stores it."""

from __future__ import annotations

import av.container
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


def stores_times(container: av.container.InputContainer) -> bool:
    """Whether the container states when each frame is shown; AVI only numbers frames as they are decoded."""
    return container.format.name != "avi"


def packet_time(packet: Packet[VideoStream], *, stored: bool) -> int | None:
    """What time of presentation a packet stands for.

    In AVI it is the place in decoding order. Sorted, these places are the times at which frames are shown,
    though with B-frames a single packet's place is not its own frame's.
    """
    return packet.pts if stored else packet.dts


def is_hidden(packet: Packet[VideoStream], codec: str) -> bool:
    """Whether a packet only serves others and is never shown: VP8 keeps such frames apart (RFC 6386, 9.1)."""
    return codec == "vp8" and not memoryview(packet)[0] >> 4 & 1


class FrameTimes:
    """Times of decoded frames, given in order of presentation."""

    def __init__(self, *, stored: bool) -> None:
        self._stored = stored
        self._last: int | None = None

    def time(self, frame: VideoFrame) -> int | None:
        """When the frame is shown. Without stored times frames are counted on from each keyframe."""
        if self._stored or frame.key_frame or self._last is None or frame.pts is None:
            self._last = frame.pts
        else:
            self._last += 1
        return self._last
