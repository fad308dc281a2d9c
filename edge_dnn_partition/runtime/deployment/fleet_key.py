# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The file of a fleet's key: 32 random bytes as 64 hexadecimal digits, for its owner alone to read."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.runtime.transport.seals import KEY_BYTES

if TYPE_CHECKING:
    from edge_dnn_partition.planning.fleet_state.fleet import Fleet

_LONGEST = 4096


def write_key(path: Path) -> None:
    """Write a new key.

    :raises UserError: if there is a file already, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, 'w', encoding='ascii') as stream:
            stream.write(secrets.token_hex(KEY_BYTES) + '\n')
    except FileExistsError:
        raise UserError(f'{path} is there already, and a key that is overwritten is gone; remove it or name another file') from None
    except OSError as error:
        raise UserError(f'{path}: the key cannot be written ({error.strerror}); name another file') from None


def read_key(path: Path) -> bytes:
    """Return the key in a file.

    :raises UserError: if it cannot be read, others may read it, or it holds no key.
    """
    try:
        with path.open('rb') as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            content = stream.read(_LONGEST)
    except OSError as error:
        raise UserError(
            f"{path}: the fleet's key cannot be read ({error.strerror}); make one with `edge-dnn-partition keygen {path}`, or copy "
            'that of the other devices there'
        ) from None
    if mode & 0o077:
        raise UserError(f'{path}: others may read the key (mode {mode:04o}); run `chmod 600 {path}`')
    try:
        key = bytes.fromhex(content.decode('ascii'))
    except ValueError:
        key = b''
    if len(key) != KEY_BYTES:
        raise UserError(f'{path}: holds no key ({2 * KEY_BYTES} hexadecimal digits); make one with `edge-dnn-partition keygen`')
    return key


def fleet_key(fleet: Fleet) -> bytes | None:
    """Return a fleet's key; None if its file names none.

    :raises UserError: see `read_key`.
    """
    return None if fleet.security.key_file is None else read_key(fleet.security.key_file)
