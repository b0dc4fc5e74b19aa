"""Where a cluster's token is found, and that it is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.token import find_token, new_token, readable_by_others
from cvcore.errors import SpecError


@pytest.fixture(autouse=True)
def _nothing_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)


def kept(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_nearest_word_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_token() is None
    expected = []
    kept(tmp_path / "home" / ".ray" / "auth_token", "of-ray\n")
    expected.append(find_token())
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(kept(tmp_path / "path", "of-path")))
    expected.append(find_token())
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-environment")
    expected.append(find_token())
    own = kept(tmp_path / "own", "of-own-cluster")
    expected.append(find_token(own_file=own))
    expected.append(find_token(own_file=own, token_file=kept(tmp_path / "file", "of-file")))
    assert [token.value for token in expected if token is not None] == [
        "of-ray",
        "of-path",
        "of-environment",
        "of-own-cluster",
        "of-file",
    ]


def test_a_token_goes_into_a_header_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = new_token()
    assert len(secret) == 64
    assert secret != new_token()
    monkeypatch.setenv("RAY_AUTH_TOKEN", secret)
    token = find_token()
    assert token is not None
    assert token.headers == {"Authorization": f"Bearer {secret}"}
    assert secret not in f"{token} {token!r}"
    assert "RAY_AUTH_TOKEN" in repr(token)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "holds no token"), ("two words", "holds no token"), ("a\nb", "holds no token")],
    ids=["empty", "blank", "lines"],
)
def test_what_is_no_token_is_refused_without_showing_it(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        find_token(token_file=kept(tmp_path / "file", text))
    assert "two words" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read the token in .*none: No such file"):
        find_token(token_file=tmp_path / "none")


def test_files_that_others_read_are_noticed(tmp_path: Path) -> None:
    path = kept(tmp_path / "token", "x")
    assert not readable_by_others(path)
    path.chmod(0o644)
    assert readable_by_others(path)
    assert not readable_by_others(tmp_path / "none")
