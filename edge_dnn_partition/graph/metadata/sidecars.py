# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The files that hubs and exporters put beside a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from edge_dnn_partition.errors import ModelError, UserError
from edge_dnn_partition.yaml_file import read_yaml

_MOST_BYTES: Final = 16 << 20
_SUBFOLDER: Final = 'onnx'
"""Where hubs keep the ONNX files of a model, below its other files."""


def model_file(path: Path) -> Path:
    """Return the ONNX file that a path names: itself, or the one in a folder as hubs have it.

    :raises ModelError: if there is none, or no one is the model.
    """
    if not path.is_dir():
        return path
    for folder in (path, path / _SUBFOLDER):
        found = sorted(folder.glob('*.onnx'))
        plain = [file for file in found if file.stem in ('model', 'inference')] or found
        if len(plain) == 1:
            return plain[0]
        if plain:
            raise ModelError(f'{folder} has several models; give one: {", ".join(file.name for file in plain[:8])}')
    raise ModelError(f'{path} has no ONNX file, nor has {_SUBFOLDER}/ in it; export the model to ONNX first')


def beside(model: Path, *names: str) -> Iterator[Path]:
    """Yield the files of some names that belong to a model: beside it, or above the folder ``onnx`` that it is in."""
    folders = (model.parent, *((model.resolve().parent.parent,) if model.resolve().parent.name == _SUBFOLDER else ()))
    yield from (folder / name for folder in folders for name in names if (folder / name).is_file())


def read_table(path: Path) -> Mapping[str, Any]:
    """Return the table in a JSON or YAML file.

    :raises UserError: if it holds none.
    """
    if path.suffix != '.json':
        value = read_yaml(path, kind='file that belongs to the model')
    else:
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise UserError(f'{path} is too large to be the description of a model; move it away')
            value = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise UserError(f'{path} cannot be read as JSON ({error}); download it again, or move it away') from error
    if not isinstance(value, Mapping):
        raise UserError(f'{path} holds no table; download it again, or move it away')
    return value
