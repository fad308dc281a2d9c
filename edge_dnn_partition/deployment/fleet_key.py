# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Files of secrets, for their owner alone to read: a fleet's key (64 hexadecimal digits), the dashboard's token."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.transport.seals import KEY_BYTES

if TYPE_CHECKING:
    from edge_dnn_partition.planning.fleet.fleet import Fleet

_LONGEST = 4096
TOKEN_VARIABLE: Final = 'EDGE_DNN_PARTITION_TOKEN'  # noqa: S105  the name of a variable
"""Where the dashboard's token may be; unlike a command line, others cannot read it."""


def write_key(path: Path) -> None:
    """Write a new key.

    :raises UserError: if there is a file already, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, 'w', encoding='ascii') as stream:
            stream.write(secrets.token_hex(KEY_BYTES) + '\n')
    except FileExistsError:
        raise UserError(f'{path} already exists; remove it or name another file') from None
    except OSError as error:
        raise UserError(f'{path}: the key cannot be written ({error.strerror}); name another file') from None


def read_key(path: Path) -> bytes:
    """Return the key in a file.

    :raises UserError: if it cannot be read, others may read it, or it holds no key.
    """
    advice = f'make one with `edge-dnn-partition keygen {path}`, or copy that of the other devices there'
    content = _read_secret(path, 'key', f"the fleet's key cannot be read ({{}}); {advice}")
    try:
        key = bytes.fromhex(content.decode('ascii'))
    except ValueError:
        key = b''
    if len(key) != KEY_BYTES:
        raise UserError(f'{path}: contains no key ({2 * KEY_BYTES} hexadecimal digits); make one with `edge-dnn-partition keygen`')
    return key


def read_token(path: str) -> str:
    """Return the dashboard's token: the file's first line, or without a file what `TOKEN_VARIABLE` holds.

    :param path: of the file; empty: there is none.
    :raises UserError: if it cannot be read, others may read it, or it holds no token.
    """
    if not path:
        return os.environ.get(TOKEN_VARIABLE, '')
    content = _read_secret(Path(path), 'token', 'the token cannot be read ({}); write a word of your own there')
    try:
        token = content.decode().split('\n', 1)[0].strip()
    except UnicodeDecodeError:
        token = ''
    if not token:
        raise UserError(f'{path}: contains no token; write one into its first line')
    return token


def _read_secret(path: Path, what: str, unreadable: str) -> bytes:
    try:
        with path.open('rb') as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            content = stream.read(_LONGEST)
    except OSError as error:
        raise UserError(f'{path}: {unreadable.format(error.strerror)}') from None
    if mode & 0o077:
        raise UserError(f'{path}: others may read the {what} (mode {mode:04o}); run `chmod 600 {path}`')
    return content


def fleet_key(fleet: Fleet) -> bytes | None:
    """Return a fleet's key; None if its file names none.

    :raises UserError: see `read_key`.
    """
    return None if fleet.security.key_file is None else read_key(fleet.security.key_file)
