# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What is kept on disk between runs: prepared models, stages, profiles, plans, what was learned.

All of it is an aid and none a condition. What cannot be written is done without (`keep`), or lies in a folder of this user
among the temporary files or in memory (`needed`). Which folders cannot be written, and why, is told once and listed in
`troubles`, until they can be written again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_dnn_partition.errors import UserError

_VARIABLE: Final = 'EDGE_DNN_PARTITION_CACHE'
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_PROBE_BYTES: Final = 512

_LARGE_BYTES: Final = 64 << 20
"""What is taken to be needed where that is not known."""
_MEMORY: Final = Path('/dev/shm')  # noqa: S108  another user's folder there is not taken
_FIRST_WAIT_SECONDS: Final = 5.0
_LONGEST_WAIT_SECONDS: Final = 60.0


@dataclass
class _Trouble:
    """A folder that could not be written: why, what did not fit, and when it is looked at again."""

    text: str
    size: int
    look_at: float
    wait_seconds: float = _FIRST_WAIT_SECONDS


_lock: Final = threading.RLock()
_troubles: dict[Path, _Trouble] = {}
_roots: dict[Path | None, Path] = {}
"""Where the cache is in truth, by where it was to be; None: no home folder is known."""


def _tell_on_stderr(text: str) -> None:
    sys.stderr.write(f'warning: {text}\n')


_tell: Callable[[str], None] = _tell_on_stderr


def tell_troubles(tell: Callable[[str], None] | None) -> None:
    """Say who takes a line when a folder cannot be written, and when it can again; None: stderr.

    :param tell: may be called from any thread.
    """
    global _tell  # noqa: PLW0603  one process has one log
    _tell = tell or _tell_on_stderr


def troubles() -> tuple[str, ...]:
    """Return why which folders cannot be written at present, a line each; now and then it looks whether they can again."""
    now = time.monotonic()
    with _lock:
        due = {folder: trouble for folder, trouble in _troubles.items() if now >= trouble.look_at}
        for trouble in due.values():
            trouble.wait_seconds = min(_LONGEST_WAIT_SECONDS, 2 * trouble.wait_seconds)
            trouble.look_at = now + trouble.wait_seconds
    for folder in due:
        with contextlib.suppress(OSError):
            check_writable(folder)
            can_write(folder, _PROBE_BYTES)
    with _lock:
        return tuple(trouble.text for trouble in _troubles.values())


def cannot_write(folder: Path, error: OSError, without: str, size: int = 0) -> None:
    """Note that a folder cannot be written, and tell it if it is news; those of the cache are one.

    :param without: what goes on without it, in words.
    :param size: bytes that were to be written.
    """
    folder, reason = _whole(folder), error.strerror or str(error)
    if error.errno in _FULL:
        advice = 'free some space there'
    elif error.errno == errno.EROFS:
        advice = 'make it writable, or name another folder'
    else:
        advice = 'let this user write there, or name another folder'
    text = f'{folder} cannot be written ({reason}): {without}; {advice}'
    with _lock:
        known = _troubles.get(folder)
        if known is None:
            _troubles[folder] = _Trouble(text, size, time.monotonic() + _FIRST_WAIT_SECONDS)
        else:
            known.size = max(size, known.size)
    if known is None:
        _tell(text)


def can_write(folder: Path, size: int) -> None:
    """Note that so many bytes were written to a folder, and tell it if what did not fit would fit now."""
    folder = _whole(folder)
    with _lock:
        trouble = _troubles.get(folder)
        if trouble is None or (size < trouble.size and _free_bytes(folder) < 2 * trouble.size):
            return
        del _troubles[folder]
        _roots.pop(folder, None)  # it is used again, if another was meanwhile
    _tell(f'{folder} can be written again')


def _whole(folder: Path) -> Path:
    """Return the cache's root for a folder of it."""
    with _lock:
        return next((root for root in _roots.values() if folder.is_relative_to(root)), folder)


def _free_bytes(folder: Path) -> int:
    try:
        status = os.statvfs(folder)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


def cache_root() -> Path:
    """Return where the cache is to be; it is not made.

    That is ``$EDGE_DNN_PARTITION_CACHE``, else ``$XDG_CACHE_HOME/edge_dnn_partition``, else ``~/.cache/edge_dnn_partition``.
    """
    return _given_root() or _spare_roots()[0]


def cache_dir(*parts: str) -> Path:
    """Return a folder of the cache, which is made if it is missing; where its root cannot be made or written, of `spare_dir`.

    :raises UserError: if no folder at all can be written.
    """
    given = _given_root()
    with _lock:
        root = _roots.get(given)
        if root is None:
            root = _roots[given] = _usable_root(given)
    folder = root.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cannot_write(root, error, 'what would be kept there is not')
        folder = spare_dir(*parts)
    return folder


def spare_dir(*parts: str) -> Path:
    """Return a folder among the temporary files, or in memory, that only this user may enter.

    Its processes share it until the next boot.

    :raises UserError: if there is nowhere to write.
    """
    tried: list[str] = []
    for folder in _spare_dirs(parts, tried):
        try:
            check_writable(folder)
        except OSError as error:  # noqa: PERF203
            tried.append(f'{folder}: {error.strerror or error}')
        else:
            return folder
    raise UserError(f'no folder is writable ({"; ".join(tried)}): set {_VARIABLE} to one that this user may write to')


def _spare_dirs(parts: Sequence[str], tried: list[str]) -> Iterator[Path]:
    """Yield the folders that may stand in, best first; why one may not is added to ``tried``."""
    for root in _spare_roots():
        try:
            folder = private_dir(root).joinpath(*parts)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:  # noqa: PERF203
            tried.append(f'{root}: {error.strerror or error}')
        else:
            yield folder


def _spare_roots() -> list[Path]:
    bases = [_MEMORY]
    with contextlib.suppress(OSError):  # none of its candidates can be written
        bases.insert(0, Path(tempfile.gettempdir()))
    return [base / f'edge_dnn_partition-{os.getuid()}' for base in dict.fromkeys(bases)]


def places(*parts: str) -> list[Path]:
    """Return where a folder of the cache lies or would lie, what stands in for it included; no stand-in is made."""
    return list(dict.fromkeys((cache_dir(*parts), *(root.joinpath(*parts) for root in _spare_roots()))))


def private_dir(path: Path) -> Path:
    """Make a folder that only this user may enter, or check that it is such a one.

    Its name may be known to others, who may have put something of theirs there.

    :raises OSError: if it is a link, or another user's, or others may enter it.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.ENOTDIR, 'is there and no folder')
    if status.st_uid != os.getuid():
        raise OSError(errno.EPERM, f"is there and another user's ({status.st_uid})")
    if status.st_mode & 0o077:
        raise OSError(errno.EPERM, 'is there and others may enter it')
    return path


def open_private(path: Path) -> int:
    """Open a file that this user's processes share, for reading and writing, or make it; return its descriptor.

    Its name may be known to others, who may have put something of theirs there.

    :raises OSError: if it is a link, another user's, no plain file, or others may write it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022 and status.st_nlink == 1:
        os.fchmod(descriptor, 0o600)  # earlier releases let others read it
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EPERM, "is there and another user's, or others may write it: delete it")


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    :raises OSError: if it cannot be written; for what goes on without it there is `keep`.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def keep(path: Path, content: bytes) -> bool:
    """Write a file that is an aid for later, see `write_atomic`; return whether it could be written."""
    try:
        write_atomic(path, content)
    except OSError as error:
        cannot_write(path.parent, error, 'what would be kept there is not', len(content))
        return False
    can_write(path.parent, len(content))
    return True


def needed(make: Callable[[Path], None], *parts: str) -> Path:
    """Return the path of something in the cache that has to be there, a file or a folder.

    :param make: makes it at the path that it is given, if it is nowhere; a reader never sees a part.
    :param parts: the names of the folders, and its own.
    :raises UserError: if it can be written nowhere.
    """
    *folders, name = parts
    given = _given_root()
    if given is not None and (path := given.joinpath(*parts)).exists():
        return path  # even where the cache may not be written
    path = cache_dir(*folders) / name
    if path.exists():
        return path
    try:
        make(path)
    except OSError as error:
        root = path.parents[len(folders)]
        if isinstance(error, FileNotFoundError) or not Path(error.filename or root).is_relative_to(root):
            raise  # what it is made of cannot be read
        cannot_write(path.parent, error, 'a temporary folder is used instead', _LARGE_BYTES)
    else:
        can_write(path.parent, _LARGE_BYTES)
        return path
    tried: list[str] = []
    for folder in _spare_dirs(folders, tried):
        try:
            if not (path := folder / name).exists():
                make(path)
        except OSError as error:  # noqa: PERF203
            tried.append(f'{folder}: {error.strerror or error}')
        else:
            return path
    raise UserError(f'{name} cannot be written anywhere ({"; ".join(tried)}): free some space, or set {_VARIABLE}')


def check_room(folder: Path, needed_bytes: int) -> None:
    """Check after a failure whether a disk that was too small was its cause: not every library says so.

    :param folder: what was written lies in it.
    :param needed_bytes: of all that was to be written there.
    :raises OSError: if it was.
    """
    written = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    if _free_bytes(folder) + written < needed_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def check_writable(folder: Path) -> None:
    """Make a folder if it is missing, and check that files can be written there.

    :raises OSError: if not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(dir=folder, prefix='.probe-')
    try:
        os.write(handle, bytes(_PROBE_BYTES))
    finally:
        os.close(handle)
        os.unlink(path)


def _given_root() -> Path | None:
    own = os.environ.get(_VARIABLE)
    if own:
        return Path(own)
    base = os.environ.get('XDG_CACHE_HOME')
    try:
        return (Path(base) if base else Path.home() / '.cache') / 'edge_dnn_partition'
    except RuntimeError:
        return None


def _usable_root(given: Path | None) -> Path:
    """Return where the cache is to be; a disk that is full now may have room later, and is left what it is."""
    if given is None:
        spare = spare_dir()
        _tell(f'this user has no home folder; {spare} is used. Set {_VARIABLE} to a folder to keep models between boots')
        return spare
    try:
        check_writable(given)
    except OSError as error:
        if error.errno in _FULL and given.is_dir():
            return given
        spare = spare_dir()
        cannot_write(given, error, f'{spare} is used, until the next boot')
        return spare
    return given
