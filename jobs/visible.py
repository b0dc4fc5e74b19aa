"""Names and messages made of other people's bytes, as terminals and pages may show them."""

from __future__ import annotations

import unicodedata

# Marks that change the direction of the text around them, so that `gpj.exe` reads as `exe.jpg`.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def visible(text: str, *, keep: str = "") -> str:
    """Text with control characters, turning marks and halves of surrogates written as `\\uXXXX`.

    Args:
        text: anything.
        keep: control characters that stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _is_hidden(c) else f"\\u{ord(c):04x}" for c in text)


def _is_hidden(char: str) -> bool:
    return char in _TURNING or unicodedata.category(char) in _HIDDEN
