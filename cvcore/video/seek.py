"""Packets of a stream from the keyframe on that a frame's decoding starts at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import av.container
from av.packet import Packet
from av.video.stream import VideoStream

from cvcore.video.source import AV_ERRORS, demux_packets
from cvcore.video.times import packet_time

# How far back each further try goes, seconds: in containers without an index a seek may land behind the
# keyframe, and a picture that leads a keyframe needs the keyframe before.
_STEPS_S = (0, 2, 10, 60)


@dataclass(frozen=True, slots=True)
class Start:
    """Where decoding starts.

    Attributes:
        keyframe_time: the first packet's time, or None for the start of the file.
        packets: from there on.
    """

    keyframe_time: int | None
    packets: Iterator[Packet[VideoStream]]


def seek_packets(
    container: av.container.InputContainer, video: VideoStream, time: int, *, stored: bool, spare: int = 0
) -> Start | None:
    """Packets from the last keyframe on that is shown at or before `time`, or None if none was found so.

    Args:
        stored: whether the container stores times (see `times`).
        spare: go back by this many keyframes more.
    """
    assert video.time_base is not None
    target = time
    for step_s in (*_STEPS_S, *([0] * spare)):
        target -= int(step_s / video.time_base)
        try:
            container.seek(target, stream=video, backward=True)
            packets = demux_packets(container, video)
            first = _first_keyframe(packets, time, stored=stored)
        except AV_ERRORS:
            return None
        if first is None:
            continue
        found = packet_time(first, stored=stored)
        assert found is not None
        if found <= time:
            if not spare:
                return Start(found, chain([first], packets))
            spare -= 1
        decoded = first.dts if first.dts is not None else found
        target = min(target, decoded, found) - 1
    return None


def _first_keyframe(
    packets: Iterator[Packet[VideoStream]], time: int, *, stored: bool
) -> Packet[VideoStream] | None:
    """The first keyframe, unless what is shown at `time` was passed without one."""
    for packet in packets:
        if packet.is_keyframe and packet_time(packet, stored=stored) is not None:
            return packet
        if packet.dts is not None and packet.dts > time:
            return None
    return None
