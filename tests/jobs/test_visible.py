from __future__ import annotations

import pytest

from jobs.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b/c'\"%<>.jpg", "a b/c'\"%<>.jpg"),
        ("é 图 👩‍💻.jpg", "é 图 👩‍💻.jpg"),
        ("photo\u202egpj.exe", "photo\\u202egpj.exe"),
        ("\x1b]0;owned\x07", "\\u001b]0;owned\\u0007"),
        ("a\nb\rc\x85d\u2028", "a\nb\\u000dc\\u0085d\\u2028"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_terminals_and_pages_may_show(text: str, shown: str) -> None:
    assert visible(text, keep="\n") == shown
