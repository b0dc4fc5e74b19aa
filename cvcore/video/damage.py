"""Which decoded frames can be trusted, after packets that could not be decoded."""

from __future__ import annotations


class Damage:
    """Follows packets in decoding order, and frames in order of presentation.

    A frame that is lost spoils what is decoded after it, up to the next keyframe, since any of that may have
    been predicted from it: decoders go on and show smears. Frames shown between a keyframe and its
    predecessors' end (leading pictures) may refer to both sides, and are spoiled too.

    Attributes:
        seen: whether anything was lost.
    """

    def __init__(self) -> None:
        self.seen = False
        self._waiting: dict[int, bool] = {}  # sent and not shown, in decoding order: time -> is a keyframe
        self._spoiled: set[int] = set()  # those of them that are not to be trusted
        self._spoiling = False  # what is sent next is spoiled
        self._leading_before: int | None = None

    def start(self, keyframe_time: int | None) -> None:
        """Decoding starts at a keyframe: what leads it refers to frames before, which are not there."""
        self._leading_before = keyframe_time

    def sent(self, time: int, *, keyframe: bool) -> None:
        """A packet goes to the decoder."""
        self._waiting[time] = keyframe
        if keyframe and self._spoiling:
            self._spoiling, self._leading_before = False, time
        elif self._spoiling or (self._leading_before is not None and time < self._leading_before):
            self._spoiled.add(time)

    def lost(self, time: int) -> None:
        """The frame of this time cannot be decoded, or was never sent."""
        self.seen = True
        is_behind = time not in self._waiting
        leading_before: int | None = None
        for other, keyframe in self._waiting.items():
            if other == time:
                is_behind = True
                self._spoiled.add(other)
            elif is_behind and keyframe and other > time:
                leading_before = other
            elif is_behind and other > time and (leading_before is None or other < leading_before):
                self._spoiled.add(other)
        if leading_before is None:
            self._spoiling = True
        elif not self._spoiling:
            self._leading_before = leading_before

    def shown(self, time: int, *, corrupt: bool) -> bool:
        """A frame came out of the decoder; return whether it can be trusted."""
        for other in [other for other in self._waiting if other < time]:
            if other not in self._spoiled:
                self.lost(other)
            self._forget(other)
        if corrupt and time not in self._spoiled:
            self.lost(time)
        sound = not corrupt and time not in self._spoiled
        self._forget(time)
        return sound

    def was_sent(self, time: int) -> bool:
        """Whether the packet of a frame that was never shown went to the decoder."""
        return time in self._waiting

    def _forget(self, time: int) -> None:
        self._waiting.pop(time, None)
        self._spoiled.discard(time)
