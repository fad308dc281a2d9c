# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the YAML files have in common: quantities with units, and one line about what does not fit."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.units import parse


def _quantity(kind: str) -> BeforeValidator:
    def read(value: Any) -> Any:
        if value is None:
            return None
        try:
            return parse(kind, value)
        except UserError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(read)


Rate = Annotated[float, _quantity('rate'), Field(gt=0)]
Seconds = Annotated[float, _quantity('time')]
Bytes = Annotated[float, _quantity('size')]
Watts = Annotated[float, _quantity('power')]


class Strict(BaseModel):
    """A table that knows all its keys, and does not change."""

    model_config = ConfigDict(extra='forbid', frozen=True, protected_namespaces=())


Table = TypeVar('Table', bound=Strict)


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the end of a sentence about an unknown name: the known one that is meant, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f'; did you mean {close[0]!r}?' if close else f'; known are {", ".join(known)}'


def check(schema: type[Table], document: Mapping[str, Any], *, what: str) -> Table:
    """Return what a document says.

    :param what: what to call it in an error.
    :raises PlanError: if a key is unknown or missing, or a value does not fit.
    """
    try:
        return schema.model_validate(dict(document))
    except ValidationError as error:
        raise PlanError(f'{what}: {_describe(schema, error)}') from error


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    :raises PlanError: if it cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise PlanError(f'{path}: cannot be read ({error.strerror}); give the path of a fleet file') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = ' '.join(str(error).split())
        raise PlanError(f'{path}: is no valid YAML: {line}') from error


def _describe(schema: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    where = '.'.join(str(part) for part in first['loc'])
    if first['type'] == 'extra_forbidden':
        known = _table_at(schema, first['loc'][:-1]).model_fields
        return f'unknown key {where!r}{nearest(str(first["loc"][-1]), list(known))}'
    if first['type'] == 'missing':
        return f'{where} is missing'
    text = first['msg'].removeprefix('Value error, ')
    return f'{where}: {text}' if where else text


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
