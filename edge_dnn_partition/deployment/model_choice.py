# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The model that a fleet was given while it ran (`model push`), instead of the one in its file; kept on each device."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from edge_dnn_partition.cache import cache_dir, write_atomic
from edge_dnn_partition.errors import ModelError, PlanError, UserError
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.blobs import BlobStore

_SHA256: Final = re.compile(r'[0-9a-f]{64}')
SHOWN_DIGITS: Final = 12
"""Of a hash, for people."""
_SETTINGS: Final = ('shapes',)


@dataclass(frozen=True)
class ModelRef:
    """A model by its hash.

    :param name: of its file.
    :param settings: further keys of ``model`` in the fleet file.
    """

    sha256: str
    name: str
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        return f'{self.name} ({self.sha256[:SHOWN_DIGITS]}…)'

    def check(self) -> None:
        """Refuse what is no hash, no name of a file, or a setting that does not travel.

        :raises PlanError: with what is wrong.
        """
        if not _SHA256.fullmatch(self.sha256):
            raise PlanError('a model is named by its SHA-256, 64 hexadecimal digits')
        if PurePosixPath(self.name).name != self.name or self.name.startswith('.') or not self.name or '\0' in self.name:
            raise PlanError(f'{self.name[:80]!r} is no name of a file')
        if other := set(self.settings) - set(_SETTINGS):
            names = ', '.join(sorted(map(str, other)))
            raise PlanError(f'{names} cannot be changed with the model: only {", ".join(_SETTINGS)} can')


@dataclass(frozen=True)
class ModelChoice:
    """The model in force, and the one before it."""

    model: ModelRef
    earlier: ModelRef


def ref_of(fleet: Fleet, sha256: str) -> ModelRef:
    """Return the model that a fleet has, whose hash is known."""
    if fleet.model is None:
        raise PlanError('the fleet file names no model')
    settings = fleet.model.model_dump(mode='json', include=set(_SETTINGS), exclude_unset=True)
    return ModelRef(sha256, fleet.model.path.name, settings)


def chosen(fleet: str) -> ModelChoice | None:
    """Return what was chosen for a fleet of this name; None: nothing, or it cannot be read."""
    try:
        document = yaml.safe_load(_file(fleet).read_text(encoding='utf-8'))
        choice = ModelChoice(*(ModelRef(**document[key]) for key in ('model', 'earlier')))
        choice.model.check()
        choice.earlier.check()
    except (OSError, yaml.YAMLError, TypeError, KeyError, UserError):
        return None
    return choice


def choose(fleet: Fleet, choice: ModelChoice, store: BlobStore) -> None:
    """Let a fleet have another model on this device, from the next start of its nodes on; only it and the one before are kept.

    :raises UserError: if the model is not here, or nothing can be written.
    """
    if at_hand(fleet, choice.model.sha256) is None:
        store.place(choice.model.sha256, _model_file(fleet.fleet, choice.model))
    document = {key: {'sha256': ref.sha256, 'name': ref.name, 'settings': dict(ref.settings)}
                for key, ref in (('model', choice.model), ('earlier', choice.earlier))}  # fmt: skip
    try:
        write_atomic(_file(fleet.fleet), yaml.safe_dump(document).encode())
    except OSError as error:
        raise PlanError(f'{_file(fleet.fleet)} cannot be written ({error.strerror}): free some space') from None
    for folder in _folder(fleet.fleet).glob('*'):
        if folder.is_dir() and folder.name not in (choice.model.sha256, choice.earlier.sha256):
            shutil.rmtree(folder, ignore_errors=True)


def at_hand(fleet: Fleet, sha256: str) -> Path | None:
    """Return where a model lies on this device, its file or its parts, that the fleet's file names or that it was given before.

    :param fleet: as its file says.
    """
    from edge_dnn_partition.graph.by_hash import parts_sha256
    from edge_dnn_partition.graph.source import read_source

    given = sorted(_folder(fleet.fleet).glob(f'{sha256}/*'))
    if given:
        return given[0]
    try:
        if fleet.model is not None and read_source(fleet.model.path).sha256 == sha256:
            return fleet.model.path
    except ModelError:
        if fleet.model is not None and parts_sha256(fleet.model.path) == sha256:
            return fleet.model.path
    return None


def with_chosen_model(fleet: Fleet) -> Fleet:
    """Return a fleet with the model that was chosen for it, if one was and is here.

    :param fleet: as its file says.
    """
    choice = chosen(fleet.fleet)
    if choice is None:
        return fleet
    path = at_hand(fleet, choice.model.sha256)
    if path is None or (fleet.model is not None and path == fleet.model.path):
        return fleet
    return with_model(fleet, choice.model, path)


def with_model(fleet: Fleet, ref: ModelRef, path: Path) -> Fleet:
    """Return a fleet with another model.

    :raises PlanError: if its settings are no good.
    """
    from edge_dnn_partition.planning.fleet.fleet import ModelFile
    from edge_dnn_partition.schema import check

    given = {} if fleet.model is None else fleet.model.model_dump(exclude_unset=True, exclude=set(_SETTINGS))
    model = given | dict(ref.settings) | {'path': path}
    return fleet.model_copy(update={'model': check(ModelFile, model, what='the settings of the model')})


def _folder(fleet: str) -> Path:
    return cache_dir('pushed', fleet.replace('/', '-'))


def _file(fleet: str) -> Path:
    return _folder(fleet) / 'choice.yaml'


def _model_file(fleet: str, ref: ModelRef) -> Path:
    return _folder(fleet) / ref.sha256 / ref.name
