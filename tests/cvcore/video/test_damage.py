"""What a lost frame spoils, as tables: packets in decoding order, frames in order of presentation."""

from __future__ import annotations

import pytest

from cvcore.video.damage import Damage

# Each case: packets in decoding order, with K before a keyframe's time; the lost one; the sound ones.
CASES: dict[str, tuple[str, int | None, list[int]]] = {
    "nothing lost": ("K0 1 2 K3 4", None, [0, 1, 2, 3, 4]),
    "all up to the next keyframe": ("K0 1 2 3 K4 5", 1, [0, 4, 5]),
    "a keyframe takes its group": ("K0 1 K2 3 K4 5", 2, [0, 1, 4, 5]),
    "each frame for itself": ("K0 K1 K2", 1, [0, 2]),
    "pictures shown before what they refer to": ("K0 3 1 2 6 4 5 K7", 3, [0, 7]),
    "a picture that later ones may refer to": ("K0 3 1 2 6 4 5 K7", 1, [0, 3, 7]),
    "pictures that lead a keyframe": ("K0 3 1 2 K6 4 5 9 7 8", 3, [0, 6, 7, 8, 9]),
    "a keyframe takes what leads it": ("K0 1 K4 2 3 5 K6", 4, [0, 1, 6]),
    "the last one": ("K0 1 2", 2, [0, 1]),
}


def judge(packets: str, lost: int | None, *, by_mark: bool) -> list[int]:
    """The frames found sound, with a decoder that shows each frame once all before it have come.

    The lost one either makes the decoder fail, or is shown with a mark.
    """
    damage, found, held, ready = Damage(), [], [], []
    order = [(int(word.lstrip("K")), word.startswith("K")) for word in packets.split()]
    for place, (time, keyframe) in enumerate(order):
        damage.sent(time, keyframe=keyframe)
        if time == lost and not by_mark:
            damage.lost(time)
        else:
            ready.append(time)
        to_come = [other for other, _ in order[place + 1 :]]
        while ready and min(ready) < min(to_come, default=99):
            shown = min(ready)
            ready.remove(shown)
            damage.shown(shown, corrupt=shown == lost)
            held.append(shown)
        while held and damage.is_settled(held[0]):
            found += [time for time in [held.pop(0)] if damage.is_sound(time)]
    assert damage.seen == (lost is not None)
    return found + [time for time in held if damage.is_sound(time)]


@pytest.mark.parametrize("by_mark", [False, True], ids=["the decoder fails", "the frame is marked"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_spoiled(case: str, by_mark: bool) -> None:
    packets, lost, sound = CASES[case]
    assert judge(packets, lost, by_mark=by_mark) == sound


def test_pictures_that_lead_the_first_keyframe_are_not_trusted() -> None:
    damage = Damage(4)
    for time, keyframe in [(4, True), (2, False), (3, False), (5, False)]:
        damage.sent(time, keyframe=keyframe)
    for time in (2, 3, 4, 5):
        damage.shown(time, corrupt=False)
    assert [damage.is_sound(time) for time in (2, 3, 4, 5)] == [False, False, True, True]
    assert not damage.seen


def test_a_frame_that_never_came_spoils_what_follows() -> None:
    damage = Damage(0)
    for time, keyframe in [(0, True), (1, False), (3, False), (4, True), (5, False)]:
        damage.sent(time, keyframe=keyframe)
    damage.shown(0, corrupt=False)
    damage.lost(2)
    for time in (1, 3, 4, 5):
        damage.shown(time, corrupt=False)
    assert [damage.is_sound(time) for time in (0, 1, 3, 4, 5)] == [True, True, False, True, True]
