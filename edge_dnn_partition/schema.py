# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the YAML files have in common: quantities with units, and one line about what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
)  # fmt: skip

from edge_dnn_partition.errors import PlanError, UserError, nearest
from edge_dnn_partition.units import is_number, parse, shortened, units_of

_UNITS: Final = {'rate': ('B/s', 'Mbit/s'), 'time': ('s', 'ms'), 'size': ('B', 'GiB'), 'power': ('W', 'W')}
"""Of each kind of quantity the base unit, in which it is written, and the one that people use most."""


def _read(kind: str) -> BeforeValidator:
    """Return what reads a quantity: text with a unit, or 0."""
    usual = _UNITS[kind][1]

    def read(value: Any) -> Any:
        if value is None:
            return None
        if is_number(value) and value != 0:
            some = ', '.join(units_of(kind))
            raise ValueError(f'{shortened(value)} has no unit; write {shortened(value)} {usual} if you mean that (units: {some})')
        try:
            return parse(kind, value)
        except UserError as error:
            raise ValueError(str(error).removeprefix('value: ')) from error

    return BeforeValidator(read)


def _write(kind: str) -> PlainSerializer:
    return PlainSerializer(lambda value: f'{value!r} {_UNITS[kind][0]}', when_used='json-unless-none')


Rate = Annotated[float, _read('rate'), Field(gt=0), _write('rate')]
Seconds = Annotated[float, _read('time'), _write('time')]
Bytes = Annotated[float, _read('size'), _write('size')]
Watts = Annotated[float, _read('power'), _write('power')]


def _is_path(value: Any) -> Any:
    if isinstance(value, str) and (not value.strip() or '\0' in value):
        raise ValueError(f'{value!r} is not a path; give the path of a file, or leave the key out')
    return value


def _absolute(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get('base')
    return path if base is None else base / path


FilePath = Annotated[Path, BeforeValidator(_is_path), AfterValidator(_absolute)]
"""A path; a relative one starts at the ``base`` that `check` is given."""


class Strict(BaseModel):
    """A table that knows all its keys, and does not change."""

    model_config = ConfigDict(extra='forbid', frozen=True, protected_namespaces=(), allow_inf_nan=False)


Table = TypeVar('Table', bound=Strict)


def check(schema: type[Table], document: Mapping[str, Any], *, what: str, base: Path | None = None) -> Table:
    """Return what a document says.

    :param what: what to call it in an error.
    :param base: the folder at which relative paths start; None: they stay relative.
    :raises PlanError: if a key is unknown or missing, or a value does not fit.
    """
    try:
        return schema.model_validate(dict(document), context={'base': base})
    except ValidationError as error:
        raise PlanError(f'{what}: {shortened(describe(error, schema), 500)}') from error


_KINDS: Final = {
    'string_type': 'a text', 'float_type': 'a number', 'int_type': 'a whole number', 'bool_type': 'true or false',
    'tuple_type': 'a list', 'dict_type': 'a table', 'model_type': 'a table', 'dataclass_type': 'a table', 'path_type': 'a path',
}  # fmt: skip


def describe(error: ValidationError, schema: type[BaseModel] | None = None) -> str:
    """Return the first thing that does not fit, with its place, in one line.

    :param schema: what was checked, for the nearest known key.
    """
    first = error.errors()[0]
    where, kind, given = '.'.join(str(part) for part in first['loc']), first['type'], first['input']
    if kind == 'extra_forbidden' and schema is not None:
        known = [field.alias or name for name, field in _table_at(schema, first['loc'][:-1]).model_fields.items()]
        return f'unknown key {where!r}{nearest(str(first["loc"][-1]), known)}'
    if kind == 'missing':
        return f'{where} is missing; add it'
    if kind == 'value_error':
        text = first['msg'].removeprefix('Value error, ')
        return f'{where}: {text}' if where else text
    if given is None or given == '' or kind == 'too_short':
        return f'{where} is empty; write its value, {{}} for a table of defaults, or leave the key out'
    if kind == 'string_type' and isinstance(given, (bool, int, float)):
        read = str(given).lower() if isinstance(given, bool) else 'a number'
        return f'{where} must be a text, but without quotes it is read as {read}; put it in quotes'
    if kind == 'too_long':
        return f'{where} has {len(given)} values; keep {first["ctx"]["max_length"]}'
    must = f'must be {_KINDS[kind]}' if kind in _KINDS else first['msg'].replace('Input should be', 'must be')
    field = _table_at(schema, first['loc'][:-1]).model_fields.get(str(first['loc'][-1])) if schema and where else None
    such = f' such as {field.examples[0]}' if field is not None and field.examples else ''
    return f'{where or "it"} {must}{such}, not {shortened(repr(given))}'


def _table_at(schema: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    """Return the table that stands at a place of the document."""
    for part in path:
        field = schema.model_fields.get(str(part))
        if field is not None:
            schema = next(_tables(field.annotation), schema)
    return schema


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _tables(argument)
