"""Writing YAML that every reader takes for the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

# Plain text that no version of YAML reads as a number, a date, a truth value or nothing.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_/.-]*( [A-Za-z0-9_/.-]+)*")
_WORDS = frozenset("y n yes no on off true false null none nan inf".split())


class _Writer(yaml.SafeDumper):
    """PyYAML's safe dumper: no anchors, and quotes around what readers differ about."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)


def _text(writer: _Writer, text: str) -> yaml.ScalarNode:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        style = None
    elif text.endswith("\n") and _is_block(text):
        style = "|"
    else:
        style = '"'
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_block(text: str) -> bool:
    lines = text.split("\n")
    return all(line.isprintable() and line == line.rstrip() for line in lines) and not text.startswith(
        (" ", "\n")
    )


_Writer.add_representer(str, _text)


def yaml_text(documents: Iterable[Any]) -> str:
    """Documents of plain data as YAML, one after another."""
    listed = list(documents)
    return yaml.dump_all(
        listed,
        Dumper=_Writer,
        sort_keys=False,
        allow_unicode=True,
        width=1000,
        explicit_start=len(listed) > 1,
    )
