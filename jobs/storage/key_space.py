"""The space of keys as numbers: where to cut between two keys, and how much seems to lie between them.

Only the speed of a listing depends on this, never what it holds.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

LAST = "\U0010ffff"  # greater than what keys are made of
DIGITS = 32
DEEP = 8
SAMPLED_KEYS = 10


class KeySpace:
    """Reads texts as fractions whose digits are the characters seen at each position.

    Args:
        prefix: what all texts begin with.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._seen: defaultdict[int, set[str]] = defaultdict(set)

    def see(self, texts: Sequence[str]) -> None:
        """Learn from some texts which characters stand where; a digit stands for all ten."""
        known = len(self._prefix)
        for text in texts[:: max(1, len(texts) // SAMPLED_KEYS)]:
            for position in range(known, len(text)):
                self._seen[position].update("0123456789" if text[position].isdecimal() else text[position])
            known = max(known, _num_shared(texts[0], texts[-1]))

    def estimate_pages(self, first: str, last: str, high: str | None) -> float:
        """Pages between `last` and `high`, were they as dense as the one from `first` to `last`."""
        if high is None:
            return math.inf
        scale = _Scale(self._seen, _num_shared(first, high))
        page = scale.number(last) - scale.number(first)
        return (scale.number(high) - scale.number(last)) / page if page else math.inf

    def between(self, low: str, high: str | None, count: int, *, near: str) -> list[str]:
        """Up to `count` distinct texts greater than `low` and less than `high`, ascending.

        They cut the space evenly. Where `near`, a neighbour of `low`, shares much more with it than `high`
        does, half of them end what shares more and more of its beginning with `low`: that finds at once where
        keys differ, however far behind it is.
        """
        shared = len(self._prefix) if high is None else _num_shared(low, high)
        is_deep = high is None or _num_shared(near, low) - shared > DEEP
        depths = count // 2 if is_deep else 0
        tail = len(low) - shared
        found = {low[: shared + tail * part // depths] + LAST for part in range(1, depths + 1)}
        found |= _Scale(self._seen, shared).cuts(low, high, count - len(found))
        return sorted(text for text in found if low < text and (high is None or text < high))


def _num_shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


class _Scale:
    """Texts that share their first `shared` characters, as whole numbers in order."""

    def __init__(self, seen: dict[int, set[str]], shared: int) -> None:
        self._shared = shared
        self._letters = [sorted(seen.get(place, ())) for place in range(shared, shared + DIGITS)]

    def number(self, text: str | None) -> int:
        """Digit 0 says that the text has ended, the highest that its letter is greater than any seen."""
        value = 0
        for place, letters in enumerate(self._letters, self._shared):
            letter = LAST if text is None else text[place : place + 1]
            value = value * (len(letters) + 2) + (bisect_left(letters, letter) + 1 if letter else 0)
        return value

    def cuts(self, low: str, high: str | None, count: int) -> set[str]:
        """Texts at even steps between two."""
        first, last = self.number(low), self.number(high)
        numbers = (first + (last - first) * part // (count + 1) for part in range(1, count + 1))
        return {low[: self._shared] + self._text(number) for number in numbers}

    def _text(self, number: int) -> str:
        text = ""
        for letters in reversed(self._letters):
            number, digit = divmod(number, len(letters) + 2)
            # What ends here has nothing behind it.
            text = "" if digit == 0 or not letters else letters[min(digit, len(letters)) - 1] + text
        return text
