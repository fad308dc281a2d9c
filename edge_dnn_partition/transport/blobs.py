# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Files and weights by their hash: what is asked for, what is answered, and where they lie on a device that fetched them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_dnn_partition.cache import cache_dir, cannot_write
from edge_dnn_partition.cache_limit import limit_bytes, limit_cache
from edge_dnn_partition.errors import UserError, WireError

BLOCK_BYTES: Final = 48_000
"""Of one answer at most: a large `publish` holds Python's lock."""
MOST_ASKED: Final = 8 * BLOCK_BYTES
"""Of one question at most: so much is answered at once."""
_SHA256: Final = re.compile(r'[0-9a-f]{64}')
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class BlobAsk:
    """A question for a part of a blob, by its hash.

    :param holder: the device that is asked; empty: whoever has it says so.
    :param size: bytes that are wanted from ``offset`` on; 0: only who has it.
    """

    holder: str
    sha256: str
    offset: int = 0
    size: int = 0


@dataclass(frozen=True)
class BlobPart:
    """An answer: a part of a blob, or that the holder does not have it.

    :param holder: the device that answers.
    :param total: bytes of the whole blob.
    """

    holder: str
    sha256: str
    total: int
    offset: int = 0
    data: bytes = b''
    missing: bool = False


@dataclass(frozen=True)
class Extent:
    """Where a blob lies: ``size`` bytes of a file, from ``offset`` on."""

    path: Path
    offset: int
    size: int


Find = Callable[[str], Extent | None]
"""Returns where the blob of a hash lies on this device; None: it is not here."""


def answer(ask: BlobAsk, device: str, find: Find) -> list[BlobPart]:
    """Return what a device answers to a question: the blocks asked for, or one without data.

    Who is not asked by name and does not have it says nothing.

    :raises WireError: if the question is none, or asks for too much at once.
    """
    if not _SHA256.fullmatch(ask.sha256) or ask.size > MOST_ASKED:
        raise WireError(f'a question for {ask.size} bytes of {ask.sha256[:64]!r}: at most {MOST_ASKED} of a hash at once')
    if ask.holder not in ('', device):
        return []
    extent = find(ask.sha256)
    if extent is None:
        return [BlobPart(device, ask.sha256, 0, missing=True)] if ask.holder else []
    if not ask.holder or not ask.size or ask.offset >= extent.size:
        return [BlobPart(device, ask.sha256, extent.size)]
    try:
        with extent.path.open('rb') as stream:
            stream.seek(extent.offset + ask.offset)
            content = stream.read(min(ask.size, extent.size - ask.offset))
    except OSError:  # deleted meanwhile
        return [BlobPart(device, ask.sha256, 0, missing=True)]
    starts = range(0, len(content), BLOCK_BYTES)
    return [
        BlobPart(device, ask.sha256, extent.size, ask.offset + at, content[at : at + BLOCK_BYTES]) for at in starts
    ]


class BlobStore:
    """What a device has fetched, in the cache and within the cache's limit; processes may share it.

    What is fetched in part is kept from one process to the next.

    :param folder: None: the cache's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where the blobs lie."""
        return self._folder or cache_dir('blobs')

    def find(self, sha256: str) -> Extent | None:
        """Return where a whole blob lies; see `Find`."""
        path = self.folder / sha256
        try:
            extent = Extent(path, 0, path.stat().st_size)
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return extent

    def place(self, sha256: str, path: Path) -> None:
        """Put a blob at a path, where it stays when the store lets it go.

        :raises UserError: if it is not there, or the path cannot be written.
        """
        extent = self.find(sha256)
        if extent is None:
            raise UserError(f'the file {sha256[:12]}… is not in the cache any more: fetch it again')
        temporary = path.with_name(f'.{path.name}.{os.getpid()}')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(extent.path, temporary)
            except OSError:  # on another disk, or one without links
                shutil.copyfile(extent.path, temporary)
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(f'{path} cannot be written ({error.strerror}): free some space, or use another folder') from None

    def open_part(self, sha256: str) -> PartialBlob:
        """Return what is here of a blob that is being fetched.

        :raises UserError: if it cannot be written.
        """
        return PartialBlob(self.folder, sha256)


class PartialBlob:
    """A blob as far as it has come, from its begin on: on disk, so that a break or a restart loses nothing.

    :raises UserError: if it cannot be read or written.
    """

    def __init__(self, folder: Path, sha256: str) -> None:
        self._path, self._whole, self.sha256 = folder / f'.{sha256}.part', folder / sha256, sha256
        self._digest = hashlib.sha256()
        self.size = 0
        """Bytes that are here."""
        try:
            self._stream = self._path.open('a+b')
            try:
                fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # another process fetches it, too
                self._stream.close()
                self._path = folder / f'.{sha256}.{os.getpid()}.part'
                self._stream = self._path.open('a+b')
            self._stream.seek(0)
            while content := self._stream.read(_READ_BYTES):
                self._digest.update(content)
                self.size += len(content)
        except OSError as error:
            raise self._trouble(error) from None

    def append(self, data: bytes) -> None:
        """Take the next bytes.

        :raises UserError: if they cannot be written.
        """
        try:
            self._stream.write(data)
            self._stream.flush()
        except OSError as error:
            raise self._trouble(error) from None
        self._digest.update(data)
        self.size += len(data)

    def finish(self) -> bool:
        """Make the blob whole if its hash is right, else throw it away; return whether it was.

        :raises UserError: if it cannot be written.
        """
        self._stream.close()
        if self._digest.hexdigest() != self.sha256:
            self._path.unlink(missing_ok=True)
            return False
        try:
            os.replace(self._path, self._whole)
        except OSError as error:
            if not self._whole.exists():  # else another process was faster
                raise self._trouble(error) from None
        limit_cache()
        return True

    def close(self) -> None:
        """Leave it as it is, for later."""
        self._stream.close()

    def _trouble(self, error: OSError) -> UserError:
        cannot_write(self._path.parent, error, 'no files are fetched')
        return UserError(f'{self._path.parent} cannot be written ({error.strerror}): free some space, or set the cache elsewhere')


def fits(size: int) -> bool:
    """Return whether a blob of so many bytes may be kept in the cache at all."""
    return 0 <= size <= limit_bytes()


def file_sha256(path: Path) -> str:
    """Return a file's hash.

    :raises UserError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open('rb') as stream:
            while content := stream.read(_READ_BYTES):
                digest.update(content)
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror or errno.errorcode.get(error.errno or 0, "?")})') from None
    return digest.hexdigest()
