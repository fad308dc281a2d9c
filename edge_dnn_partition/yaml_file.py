# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Reads YAML files written by people: returns the document, or raises an error of one line that says what to do.

The document is built from the parser's events, without recursion. It is YAML 1.1 as in ROS (``no`` and ``on`` are
booleans), except that numbers follow YAML 1.2 (``1e-3`` is one, ``1:30`` and ``2026-11-01`` are texts).
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from edge_dnn_partition.errors import PlanError

MOST_BYTES: Final = 1 << 20
MOST_DEPTH: Final = 32
MOST_VALUES: Final = 200_000
"""Values in a document, those of an alias counted each time that it is used."""
MOST_DIGITS: Final = 300
"""Digits of a whole number; a double holds 308."""

_PARSER: Final = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_SCALARS: Final[tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]] = (
    (re.compile(r'(?:~|null|Null|NULL|)'), lambda _: None),
    (re.compile(r'(?:yes|Yes|YES|true|True|TRUE|on|On|ON)'), lambda _: True),
    (re.compile(r'(?:no|No|NO|false|False|FALSE|off|Off|OFF)'), lambda _: False),
    (re.compile(r'[-+]?[0-9]+'), int),
    (re.compile(r'0x[0-9a-fA-F]+'), lambda text: int(text, 16)),
    (re.compile(r'[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?'), float),
    (re.compile(r'[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)'), lambda text: float(text.replace('.', ''))),
)


class _RefusedError(Exception):
    """An error without the file's name."""


def read_yaml(path: Path, *, kind: str = 'fleet file') -> Any:
    """Return what a YAML file holds.

    :param kind: what the file should be, for the error's advice.
    :raises PlanError: if it cannot be read, or is not YAML that this package accepts.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _RefusedError(f'is not a regular file; give the path of a {kind}')
        with path.open('rb') as stream:
            content = stream.read(MOST_BYTES + 1)
        return parse_yaml(content)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PlanError(f'{path}: cannot be read ({reason}); give the path of a {kind}') from error
    except _RefusedError as error:
        raise PlanError(f'{path}: {error}') from error


def parse_yaml(content: bytes) -> Any:
    """Return what the bytes of a YAML file say."""
    if len(content) > MOST_BYTES:
        raise _RefusedError(f'is larger than {MOST_BYTES >> 20} MiB; give the right path')
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise _RefusedError(f'line {line}: byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8 text') from None
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_PARSER):
            builder.on_event(event)
    except yaml.MarkedYAMLError as error:
        line = mark.line + 1 if (mark := error.problem_mark or error.context_mark) else 1
        tab = '\t' in ''.join(text.splitlines()[line - 1 : line])
        advice = '; indent with spaces, not with tabs' if tab else ''
        raise _RefusedError(f'line {line}: is not valid YAML: {error.problem}{advice}') from None
    except yaml.YAMLError as error:
        raise _RefusedError(f'is not valid YAML: {" ".join(str(error).split())}') from None
    return builder.document


@dataclass
class _Open:
    """A table or list that is not closed yet."""

    value: dict[str, Any] | list[Any]
    line: int
    anchor: str | None
    values: int = 1
    key: str | None = None
    lines: dict[str, int] = field(default_factory=dict)
    merged: list[Any] = field(default_factory=list)


class _Builder:
    """Builds a document from the parser's events."""

    def __init__(self) -> None:
        self.document: Any = None
        self._documents = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}

    def on_event(self, event: Any) -> None:
        """Add one event."""
        line = event.start_mark.line + 1
        if getattr(event, 'tag', None) not in (None, '!'):
            _refuse(line, f'the tag {event.tag!r} is not supported; remove it')
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    _refuse(line, 'a second document begins (---); keep one')
            case yaml.MappingStartEvent():
                self._begin({}, event.anchor, line)
            case yaml.SequenceStartEvent():
                self._begin([], event.anchor, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.ScalarEvent():
                plain = event.style in (None, '') and event.implicit[0]
                self._scalar(event.value, plain, event.anchor, line)
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    _refuse(line, f'*{event.anchor} refers to no anchor above; mark the value with &{event.anchor}')
                self._put(*self._anchors[event.anchor], line)

    def _begin(self, value: dict[str, Any] | list[Any], anchor: str | None, line: int) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            _refuse(line, 'a table or list is used as a key; use a name')
        if len(self._open) >= MOST_DEPTH:
            _refuse(line, f'brackets or indents are nested more than {MOST_DEPTH} deep; close the earlier ones')
        self._open.append(_Open(value, line, anchor))

    def _end(self) -> None:
        done = self._open.pop()
        if isinstance(done.value, dict):
            for other in done.merged:
                for key, value in other.items():
                    done.value.setdefault(key, value)
        if done.anchor:
            self._anchors[done.anchor] = done.value, done.values
        self._put(done.value, done.values, done.line)

    def _scalar(self, text: str, plain: bool, anchor: str | None, line: int) -> None:
        parent = self._open[-1] if self._open else None
        value: Any = _value(text, line) if plain else text
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            if not isinstance(value, str):
                read = 'nothing' if value is None else str(value).lower()
                _refuse(line, f'the key {_short(text)} is read as {read} in YAML; put it in quotes: {_short(text)!r}')
            if value in parent.lines:
                _refuse(line, f'the key {_short(value)!r} is in line {parent.lines[value]} already; keep one')
            parent.key, parent.lines[value] = value, line
            return
        if anchor:
            self._anchors[anchor] = value, 1
        self._put(value, 1, line)

    def _put(self, value: Any, values: int, line: int) -> None:
        if not self._open:
            self.document = value
            return
        parent = self._open[-1]
        parent.values += values
        if parent.values > MOST_VALUES:
            _refuse(line, f'more than {MOST_VALUES} values, each use of an alias counted; use fewer aliases')
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is None:
            _refuse(line, 'an alias is used as a key; use a name')
        elif parent.key == '<<':
            tables = value if isinstance(value, list) else [value]
            if not all(isinstance(table, dict) for table in tables):
                _refuse(line, '<< takes a table or a list of tables, such as <<: *other')
            parent.merged += tables
            parent.key = None
        else:
            parent.value[parent.key] = value
            parent.key = None


def _value(text: str, line: int) -> Any:
    for pattern, make in _SCALARS:
        if pattern.fullmatch(text):
            if len(text) > MOST_DIGITS:
                _refuse(line, f'a number of {len(text)} digits; write one of at most {MOST_DIGITS}')
            return make(text)
    return text


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + '…'


def _refuse(line: int, reason: str) -> NoReturn:
    raise _RefusedError(f'line {line}: {reason}')
