# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The user's ONNX file: reading it without its weights, and knowing it again."""

from __future__ import annotations

import functools
import hashlib
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_dnn_partition.cache import cache_dir, keep
from edge_dnn_partition.errors import ModelError

if TYPE_CHECKING:
    import onnx

_CHUNK_BYTES = 1 << 22
_REMEMBER_ABOVE_BYTES = 1 << 26


@dataclass(frozen=True, eq=False)
class Source:
    """A model as its user gave it; its weights stay in their files, those that the file itself holds too.

    A file that was found whole before, with all its weights in it, is read when ``proto`` is first asked for.

    :param external_bytes: in other files.
    """

    path: Path
    sha256: str
    external_bytes: int
    known_proto: onnx.ModelProto | None = None

    @functools.cached_property
    def proto(self) -> onnx.ModelProto:
        """The model's protobuf message.

        :raises ModelError: the file has been damaged since it was hashed.
        """
        return self.known_proto or _parse(self.path)

    def weights_at(self, location: str) -> Path:
        """Return the file of an external location."""
        return weights_file(self.path, location)


def read_source(path: str | os.PathLike[str]) -> Source:
    """Read an ONNX file and check that everything it refers to is there.

    ``sha256`` is the file's own where it holds its weights itself. With external
    weights it is the hash of the file's hash and, for each external file in the
    order of their names, the name, the size and the hash of the content. Hashes of
    large files are remembered while size and time of the file stay.

    :raises ModelError: the file is missing, is no ONNX file, or refers to files
        that are missing, too short, or outside the model's folder, also by a symbolic link.
    """
    path = Path(path)
    note = _note(path, 'complete')
    if note is not None and (known := _recall(note)):
        return Source(path=path, sha256=known, external_bytes=0)
    _check_file(path)
    sha256 = _hash(_chunks(path))
    whole = cache_dir('hashes') / f'complete-{sha256}'
    if whole.exists():
        return _whole(path, sha256, note)
    proto = _parse(path)
    files, external_bytes = _external_files(path, proto)
    if files:
        digest = hashlib.sha256(bytes.fromhex(sha256))
        for location in sorted(files):
            file = files[location]
            digest.update(f'\0{location}\0{file.stat().st_size}\0{file_sha256(file)}'.encode())
        sha256 = digest.hexdigest()
    else:
        keep(whole, b'')
        _whole(path, sha256, note)
    return Source(path=path, sha256=sha256, external_bytes=external_bytes, known_proto=proto)


def _whole(path: Path, sha256: str, note: Path | None) -> Source:
    """Return a model that holds its weights itself, as was found before, and remember its hash if it is large."""
    if note is not None:
        keep(note, sha256.encode())
    return Source(path=path, sha256=sha256, external_bytes=0)


def weights_file(path: Path, location: str) -> Path:
    """Return the file that a model keeps weights in: beside it, or beside what it links to."""
    beside, linked = path.parent / location, path.resolve().parent / location
    return linked if not beside.exists() and linked.exists() else beside


def external_files(path: Path) -> dict[str, Path]:
    """Return the files that a model keeps weights in, beside its own, by the names that it has for them.

    :raises ModelError: see `read_source`.
    """
    source = read_source(path)
    return _external_files(path, source.proto)[0] if source.external_bytes else {}


def _parse(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from edge_dnn_partition.graph.outline import outline
    from edge_dnn_partition.graph.validate import check_proto

    _check_file(path)
    proto = onnx.ModelProto()
    try:
        with path.open('rb') as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                proto.ParseFromString(outline(content, path.name))
            except (ValueError, DecodeError):
                proto.ParseFromString(content[:])
    except OSError as error:
        raise ModelError(f'{path} cannot be read: {error.strerror}') from None
    except DecodeError:
        raise ModelError(f'{path} is not an ONNX file, or is cut off: export or copy it again') from None
    if not proto.ir_version or not proto.HasField('graph'):
        raise ModelError(f'{path} holds no ONNX graph: export or copy it again')
    if not proto.graph.node:
        raise ModelError(f'{path} has no operators, so there is nothing to split')
    check_proto(proto, path)
    return proto


def _check_file(path: Path) -> None:
    if not path.exists():
        raise ModelError(f'{path} does not exist: give the path of an ONNX file')
    if path.is_dir():
        raise ModelError(f'{path} is a folder: give the path of the ONNX file in it')
    try:
        with path.open('rb') as stream:
            content = stream.read(64)
    except OSError as error:
        raise ModelError(f'{path} cannot be read: {error.strerror}') from None
    if not content:
        raise ModelError(f'{path} is empty: export or copy it again')
    if content.startswith(b'version https://git-lfs'):
        raise ModelError(f"{path} is a Git LFS pointer and not the model: run 'git lfs pull' where it came from")


def _external_files(path: Path, proto: onnx.ModelProto) -> tuple[dict[str, Path], int]:
    """Return the external files by location and the bytes of all values in them, without the model's file itself."""
    from edge_dnn_partition.graph import protos

    files: dict[str, Path] = {}
    total = 0
    for tensor in protos.all_tensors(proto.graph):
        if not protos.is_external(tensor):
            continue
        try:
            location, offset, length = protos.external_entry(tensor)
        except ValueError:
            raise ModelError(f'{path}: offset and length of the external data of {tensor.name} are no numbers: '
                             'export the model again') from None
        if location not in files:
            files[location] = _external_file(path, location)
        if offset < 0 or length < 0 or offset + length > files[location].stat().st_size:
            raise ModelError(
                f'{files[location]} is too short: {tensor.name} of {path.name} should lie at bytes '
                f'{offset} to {offset + length}; copy the file again')
        if length != protos.initializer_bytes(tensor):
            raise ModelError(f'{path}: the data of {tensor.name} has {length} bytes where its shape '
                             f'needs {protos.initializer_bytes(tensor)}; export the model again')
        total += length if location != path.name else 0
    files.pop(path.name, None)
    return files, total


def _external_file(path: Path, location: str) -> Path:
    relative = Path(location)
    if not location or relative.is_absolute() or '..' in relative.parts:
        raise ModelError(f'{path} keeps weights at {location!r}, outside its own folder: '
                         'save it with its external data beside it')
    file = path.parent / relative
    try:
        file = weights_file(path, location)
        is_there = file.is_file()
    except (OSError, ValueError):  # a name of 5000 letters, or with a NUL in it
        is_there = False
    if not is_there:
        raise ModelError(f'{path} keeps weights in {location!r}, which is missing: '
                         f'put that file into {path.parent}')
    # A hub's cache links both files to a folder of its own. onnxruntime follows a link by the same rule.
    if not any(file.resolve().is_relative_to(folder) for folder in (path.parent.resolve(), path.resolve().parent)):
        raise ModelError(f'{path} keeps weights in {location!r}, a link to outside its own folder: '
                         'save it with its external data beside it')
    return file


def file_sha256(path: Path) -> str:
    """Return the hash of a file's content; that of a large one is remembered while its size and time stay."""
    note = _note(path, 'content')
    known = note and _recall(note)
    if known:
        return known
    sha256 = _hash(_chunks(path))
    if note is not None:
        keep(note, sha256.encode())
    return sha256


def _note(path: Path, purpose: str) -> Path | None:
    """Return where the hash of a large file is remembered; none for a small or missing file."""
    try:
        status = path.stat()
    except OSError:
        return None
    if status.st_size < _REMEMBER_ABOVE_BYTES:
        return None
    identity = f'{purpose}\0{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}'
    return cache_dir('hashes') / hashlib.sha256(identity.encode()).hexdigest()


def _recall(note: Path) -> str:
    try:
        known = note.read_text()
    except OSError:
        return ''
    return known if len(known) == hashlib.sha256().digest_size * 2 else ''


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open('rb') as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def _hash(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
