"""The text of a Darknet `.cfg`: sections of `key = value` lines, read with the line numbers kept."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from cvcore.errors import CfgError, did_you_mean

# A key this near to a known one is a typo, which is refused; anything else unknown is only reported.
_TYPO_CUTOFF = 0.75


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key = value` line."""

    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class UnusedKey:
    """A key that no known Darknet reads in its section; it has no effect."""

    section: str
    key: str
    line: int


@dataclass(frozen=True, slots=True)
class Section:
    """One `[name]` and its entries, in file order.

    Attributes:
        name: lower case, without brackets.
        line: the header's line, from 1.
        layer_index: index of the layer that it describes; -1 for `[net]`.
    """

    name: str
    line: int
    layer_index: int
    entries: tuple[Entry, ...] = ()
    _by_key: dict[str, list[Entry]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for entry in self.entries:
            self._by_key.setdefault(entry.key, []).append(entry)

    def error(self, message: str, *, line: int | None = None) -> CfgError:
        """A `CfgError` that begins with line and section."""
        layer = "" if self.layer_index < 0 else f" (layer {self.layer_index})"
        return CfgError(f"line {self.line if line is None else line}, [{self.name}]{layer}: {message}")

    def line_of(self, key: str) -> int:
        """The line of `key`, or of the section where it is absent."""
        return self._by_key[key][0].line if key in self._by_key else self.line

    def check_keys(
        self, *, used: Collection[str], ignored: Collection[str], refused: Mapping[str, str]
    ) -> list[UnusedKey]:
        """Refuse typos and unsupported options; return keys that nobody knows.

        Args:
            used: keys that inference reads.
            ignored: keys that only training or display reads.
            refused: keys that are not supported, with the value that switches each off.

        Raises:
            CfgError: for a key close to a known one, and for an unsupported option that is switched on.
        """
        known = [*used, *ignored, *refused]
        unused = []
        for entry in self.entries:
            if entry.key in refused:
                self._check_refused(entry, refused[entry.key])
            elif entry.key not in known:
                if difflib.get_close_matches(entry.key, known, n=1, cutoff=_TYPO_CUTOFF):
                    hint = did_you_mean(entry.key, known)
                    raise self.error(f"unknown key {entry.key!r}.{hint}", line=entry.line)
                unused.append(UnusedKey(self.name, entry.key, entry.line))
        return unused

    def _check_refused(self, entry: Entry, off: str) -> None:
        if entry.value != off:
            hint = f"only {entry.key}={off} is" if off else "without it the section is"
            raise self.error(f"{entry.key}={entry.value} is not supported; {hint}", line=entry.line)

    def text(self, key: str, default: str | None = None) -> str:
        """The value of `key`; without a default the key is required.

        Raises:
            CfgError: where it is missing, empty, or stands twice with different values.
        """
        found = self._by_key.get(key, [])
        if not found:
            if default is None:
                raise self.error(f"key {key!r} is missing")
            return default
        for other in found[1:]:
            if other.value != found[0].value:
                raise self.error(
                    f"{key}={other.value} contradicts {key}={found[0].value} on line {found[0].line}; "
                    "keep one",
                    line=other.line,
                )
        if not found[0].value:
            raise self.error(f"key {key!r} has no value", line=found[0].line)
        return found[0].value

    def integer(
        self, key: str, default: int | None = None, *, minimum: int | None = None, maximum: int | None = None
    ) -> int:
        """The value of `key` as an integer within limits; raises `CfgError`."""
        value = self._integer(key, self.text(key, None if default is None else str(default)))
        if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
            allowed = f"at least {minimum}" if maximum is None else f"{minimum} to {maximum}"
            raise self.error(f"{key} must be {allowed}, got {value}", line=self.line_of(key))
        return value

    def integers(self, key: str) -> tuple[int, ...]:
        """The comma-separated integers of a required `key`; raises `CfgError`."""
        return tuple(self._integer(key, item) for item in self._items(key))

    def number(self, key: str, default: float, *, minimum: float = -math.inf) -> float:
        """The value of `key` as a finite number; raises `CfgError`."""
        value = self._number(key, self.text(key, str(default)))
        if value < minimum:
            raise self.error(f"{key} must be at least {minimum:g}, got {value:g}", line=self.line_of(key))
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """The comma-separated numbers of a required `key`; raises `CfgError`."""
        return tuple(self._number(key, item) for item in self._items(key))

    def flag(self, key: str, *, default: bool = False) -> bool:
        """The value of `key`, 0 or 1; raises `CfgError`."""
        return self.integer(key, int(default), minimum=0, maximum=1) == 1

    def choice(self, key: str, default: str, allowed: Collection[str]) -> str:
        """The value of `key`, one of `allowed`; raises `CfgError`."""
        value = self.text(key, default)
        if value not in allowed:
            names = ", ".join(sorted(allowed))
            raise self.error(
                f"{key}={value} is not known.{did_you_mean(value, allowed)} Allowed: {names}",
                line=self.line_of(key),
            )
        return value

    def _items(self, key: str) -> list[str]:
        # Published files end some lists with a comma.
        return [item.strip() for item in self.text(key).rstrip(",").split(",")]

    def _integer(self, key: str, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise self.error(f"{key} must be an integer, got {text!r}", line=self.line_of(key)) from None

    def _number(self, key: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"{key} must be a finite number, got {text!r}", line=self.line_of(key))
        return value


def split_sections(text: str) -> list[Section]:
    """Cut the text of a `.cfg` into sections, `[net]` first.

    Comments (`#` or `;`, on their own line or after a value), blank lines, spaces around names and values
    and Windows line ends are allowed.

    Raises:
        CfgError: for a line that is neither a section nor `key = value`, and for an empty text.
    """
    sections: list[Section] = []
    name, header, entries = "", 0, list[Entry]()
    for number, content in _content_lines(text):
        if content.startswith("["):
            if header:
                sections.append(Section(name, header, len(sections) - 1, tuple(entries)))
            name, header, entries = _section_name(content, number), number, []
        elif not header:
            raise CfgError(f"line {number}: {content!r} stands before the first section; begin with [net]")
        else:
            entries.append(_entry(content, name, number))
    if not header:
        raise CfgError("the cfg holds no section; it must begin with [net]")
    sections.append(Section(name, header, len(sections) - 1, tuple(entries)))
    return sections


def _content_lines(text: str) -> Iterable[tuple[int, str]]:
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        content = line.split("#", 1)[0].split(";", 1)[0].strip()
        if content:
            yield number, content


def _section_name(content: str, number: int) -> str:
    if not content.endswith("]") or not content[1:-1].strip():
        raise CfgError(f"line {number}: {content!r} is not a section; write [name]")
    return content[1:-1].strip().lower()


def _entry(content: str, section: str, number: int) -> Entry:
    key, equals, value = (part.strip() for part in content.partition("="))
    if not equals or not key:
        raise CfgError(f"line {number}, [{section}]: {content!r} is neither a [section] nor key = value")
    return Entry(key, value, number)
