# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet for a device that has nothing but this package: the fleet file, and what belongs to it by hash (FleetDescription)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from edge_dnn_partition.cache import write_atomic
from edge_dnn_partition.errors import PlanError, WireError
from edge_dnn_partition.graph.by_hash import offered, parts_folder
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.source import external_files, file_sha256
from edge_dnn_partition.planning.fleet.fleet import ANYBODY, Fleet, load_fleet
from edge_dnn_partition.planning.fleet.network import DEVICE, JOINED, Tls
from edge_dnn_partition.schema import check
from edge_dnn_partition.transport.blobs import Extent
from edge_dnn_partition.units import shortened
from edge_dnn_partition.yaml_file import read_yaml

FILE_NAME: Final = 'fleet.yaml'
MOST_FILES: Final = 256
OFFERED: Final = 'offered/'
"""How paths of files begin that every device is to have, since the fleet may need them soon."""
_SHA256: Final = re.compile(r'[0-9a-f]{64}')
_ELSEWHERE: Final = ('images', 'video', 'samples')
"""Keys of files that are needed on the source alone."""


@dataclass(frozen=True)
class FleetFile:
    """A file that belongs to a fleet.

    :param path: relative to the fleet file.
    :param whole: every device needs all of it; else a device fetches the weights of its stages, which are in it.
    """

    path: str
    sha256: str
    bytes: int
    whole: bool = True


@dataclass(frozen=True)
class FleetDescription:
    """What a device needs to know of a fleet.

    :param text: of the fleet file, without secrets and without what the source alone needs.
    :param files: that it names.
    """

    text: str
    files: tuple[FleetFile, ...]

    def check(self) -> None:
        """Refuse what would be written anywhere else than beside the fleet file.

        :raises WireError: with what is wrong.
        """
        if len(self.files) > MOST_FILES:
            raise WireError(f'the fleet describes itself by {len(self.files)} files; at most {MOST_FILES} are taken')
        for file in self.files:
            path = PurePosixPath(file.path)
            if path.is_absolute() or '..' in path.parts or '\0' in file.path or len(path.parts) < 2:
                raise WireError(f'the fleet has a file at {shortened(repr(file.path))}, which is outside its folder')
            if not _SHA256.fullmatch(file.sha256):
                raise WireError(f'the fleet names {shortened(repr(file.sha256))} as the hash of {shortened(file.path)}')


def describe(fleet: Fleet, model: Model | None = None) -> tuple[FleetDescription, dict[str, Extent]]:
    """Return a fleet's description, and where each file and weight lies here, by its hash.

    :param model: the fleet's; None: devices get its files whole.
    :raises UserError: if a file is missing or is no good.
    """
    document = fleet.model_dump(mode='json', exclude_unset=True, exclude_none=True, by_alias=True)
    anybody = document.pop(f'devices.{ANYBODY}', None)
    if anybody is not None:
        document['devices'][ANYBODY] = anybody
    document.pop('security', None)
    document.get('network', {}).pop('tls', None)
    document.get('model', {}).pop('postprocessing', None)
    files: list[FleetFile] = []
    places: dict[str, Extent] = {}

    def carry(path: Path, name: str, *, whole: bool = True) -> None:
        try:
            sha256, size = file_sha256(path), path.stat().st_size
        except OSError as error:
            raise PlanError(f'{path} cannot be read ({error.strerror}), so no device that joins can have it') from None
        files.append(FleetFile(name, sha256, size, whole))
        places[sha256] = Extent(path, 0, size)

    for number, (table, key) in enumerate(_named_files(document)):
        path = Path(table[key])
        table[key] = f'{number}/{path.name}'
        is_model = table is document.get('model') and key == 'path'
        carry(path, table[key], whole=not is_model or model is None)
        if is_model:
            for location, file in external_files(path).items():
                carry(file, f'{number}/{location}', whole=model is None)
            if model is not None:
                parts, weights = offered(model)
                for name, file in parts.items():
                    carry(file, f'{parts_folder(Path(table[key]))}/{name}')
                places |= {sha256: Extent(*place) for sha256, place in weights.items()}
    for table in (document.get('camera', {}), *document.get('inputs', {}).values()):
        for key in _ELSEWHERE:
            if table.get(key) is not None:
                table[key] = Path(table[key]).name
    return FleetDescription(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), tuple(files)), places


def _named_files(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the tables and keys that name files which every device needs."""
    tables = [(document.get('model', {}), ('path', 'preprocessing'))]
    tables += [(table, ('preprocessing', 'file')) for table in document.get('inputs', {}).values()]
    for table, keys in tables:
        yield from ((table, key) for key in keys if table.get(key) is not None)


@dataclass(frozen=True)
class Means:
    """What a device that joins was given by hand: its secrets, and the way to the fleet if that is elsewhere.

    :param key_file: of the fleet's key; None: it has none.
    :param certificates: folder of the CA's certificate ``ca.pem``, and of the device's own with its key, ``NAME.pem`` and
        ``NAME.key``; None: the fleet is within one network.
    :param router: between the fleet's sites; empty: the device is where the source is.
    :param site: that it is in, which the fleet file may name or not.
    """

    key_file: Path | None = None
    certificates: Path | None = None
    router: str = ''
    site: str = ''

    @property
    def tls(self) -> Tls | None:
        """The files of its certificate, if the router asks for one.

        :raises PlanError: if it does and they were not given.
        """
        if not self.router or self.router.startswith('tcp/'):
            return None
        return check(Tls, _certificates(self.certificates), what='certificates')


NOTHING_GIVEN: Final = Means()


def write_fleet(description: FleetDescription, folder: Path, name: str, device: str, means: Means = NOTHING_GIVEN) -> Fleet:
    """Write the file of a described fleet, `FILE_NAME`, into a folder, and return the fleet; its files are not there yet.

    :param name: the fleet's.
    :param device: the one that joins.
    :raises UserError: if the description or what it was given are no good, or the folder cannot be written.
    """
    description.check()
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, description.text.encode())
        document = read_yaml(path)
        if not isinstance(document, dict):
            raise WireError('the fleet describes itself by what is no fleet file')
        _add(document, device, means)
        write_atomic(path, yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        raise PlanError(f'{folder} cannot be written ({error.strerror}): free some space, or set the cache elsewhere') from None
    fleet = load_fleet(path, name)
    listed = {folder / file.path for file in description.files}
    for path in _files_of(fleet):
        if path not in listed:
            raise WireError(f'the fleet names the file {shortened(str(path))}, but does not say where it is to come from')
    return fleet


def _add(document: dict[str, Any], device: str, means: Means) -> None:
    """Write where this device and its secrets are into its fleet file."""
    if means.key_file is not None:
        document['security'] = {'key_file': str(means.key_file.resolve())}
    network = document.get('network')
    if not isinstance(network, dict):
        return
    if means.router:
        network['router'] = means.router
        sites = network.setdefault('sites', {})
        if not any(device in members for members in sites.values()):
            sites.setdefault(means.site if means.site in sites else f'{JOINED}{means.site}', []).append(device)
    if not str(network.get('router', 'tcp/')).startswith('tcp/'):
        network['tls'] = _certificates(means.certificates)


def _certificates(folder: Path | None) -> dict[str, str]:
    if folder is None:
        raise PlanError(
            'the fleet has a router between its sites, which lets nobody in without a certificate: have one made where its CA is '
            '(keygen --wan FLEET.yaml --device NAME), copy ca.pem, NAME.pem and NAME.key here, and give --certificates FOLDER'
        )
    files = {'ca': 'ca.pem', 'certificate': f'{DEVICE}.pem', 'key': f'{DEVICE}.key'}
    return {key: str(folder.resolve() / file) for key, file in files.items()}


def _files_of(fleet: Fleet) -> Iterator[Path]:
    given = [] if fleet.model is None else [fleet.model.path, fleet.model.preprocessing]
    given += [getattr(entry, key, None) for entry in fleet.inputs.values() for key in ('preprocessing', 'file')]
    yield from (path for path in given if path is not None)


def missing_files(description: FleetDescription, folder: Path) -> Sequence[FleetFile]:
    """Return the files that are not there yet, or are others by now; those that are not needed whole are deleted then.

    :raises PlanError: if one cannot be deleted.
    """
    missing = [file for file in description.files if not _is_there(folder / file.path, file)]
    for file in missing:
        if not file.whole:
            _delete(folder / file.path)
    return [file for file in missing if file.whole]


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise PlanError(f'{path} is of another model and cannot be deleted ({error.strerror})') from None


def _is_there(path: Path, file: FleetFile) -> bool:
    try:
        return path.stat().st_size == file.bytes and file_sha256(path) == file.sha256
    except OSError:
        return False
