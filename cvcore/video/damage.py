"""Which decoded frames can be trusted, after packets that could not be decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Sent:
    """A packet that went to the decoder."""

    keyframe: bool
    spoiled: bool
    shown: bool = False


class Damage:
    """Follows packets in decoding order, and frames in order of presentation.

    A frame that is lost spoils what is decoded after it, up to the next keyframe, since any of that may have
    been predicted from it: decoders go on and show smears. Pictures that lead a keyframe (decoded after it,
    shown before it) may refer to both sides, and are spoiled with what lies before.

    Attributes:
        seen: whether anything was lost.
    """

    def __init__(self, keyframe_time: int | None = None) -> None:
        """`keyframe_time` is where decoding starts: what leads that keyframe refers to frames not there."""
        self.seen = False
        self._sent: dict[int, _Sent] = {}  # by time, in decoding order
        self._spoiling = False  # what is sent next is spoiled
        self._leading_before = keyframe_time

    def sent(self, time: int, *, keyframe: bool) -> None:
        """A packet goes to the decoder."""
        if keyframe and self._spoiling:
            self._spoiling, self._leading_before = False, time
        leads = self._leading_before is not None and time < self._leading_before
        self._sent[time] = _Sent(keyframe, self._spoiling or leads)

    def lost(self, time: int) -> None:
        """The frame of this time cannot be decoded, is damaged, or was never sent."""
        self.seen = True
        packet = self._sent.get(time)
        if packet is not None and packet.spoiled:
            return  # and so is all that refers to it
        is_behind, leading_before = packet is None, None
        for other, later in self._sent.items():
            if other == time:
                is_behind = later.spoiled = True
            elif is_behind and other > time and later.keyframe:
                leading_before = other
            elif is_behind and (leading_before is None or time < other < leading_before):
                later.spoiled |= packet is not None or other > time
        if leading_before is None:
            self._spoiling = True
        elif not self._spoiling:
            self._leading_before = leading_before

    def shown(self, time: int, *, corrupt: bool) -> None:
        """A frame came out of the decoder; those due before it did not."""
        for other in [other for other, packet in self._sent.items() if other < time and not packet.shown]:
            self.lost(other)
            del self._sent[other]
        if corrupt:
            self.lost(time)
        if time in self._sent:
            self._sent[time].shown = True

    def is_settled(self, time: int) -> bool:
        """Whether all that a shown frame may refer to was shown as well, so that it is judged for good."""
        for other, packet in self._sent.items():
            if other == time:
                return True
            if not packet.shown:
                return False
        return True

    def is_sound(self, time: int) -> bool:
        """Whether a frame can be trusted; it is then forgotten."""
        packet = self._sent.pop(time, None)
        return packet is None or not packet.spoiled
