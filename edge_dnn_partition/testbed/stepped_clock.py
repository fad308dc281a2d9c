# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A wall clock that can be stepped for some processes, without a machine's own clock being touched."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_dnn_partition.errors import UserError

_SOURCE = Path(__file__).with_name('stepped_clock.c')


@contextmanager
def stepped_clock(folder: Path) -> Iterator[tuple[dict[str, str], Callable[[float], None]]]:
    """Build what steps the clock of the processes that are started with a certain environment.

    :param folder: of files that must outlive the processes.
    :returns: that environment, and what sets the step: seconds from the true time.
    :raises UserError: there is no C compiler.
    """
    compiler = shutil.which('cc')
    if compiler is None:
        raise UserError('a stepped clock needs a C compiler (Debian: apt install gcc)')
    library, file = folder / 'stepped_clock.so', folder / 'step'
    subprocess.run([compiler, '-shared', '-fPIC', '-o', library, _SOURCE, '-ldl'], check=True)
    file.write_bytes(bytes(8))
    environment = {'STEPPED_CLOCK': str(file), 'LD_PRELOAD': str(library)}
    with file.open('r+b') as opened, mmap.mmap(opened.fileno(), 8) as shared:
        yield environment, lambda seconds: struct.pack_into('<q', shared, 0, int(seconds * 1e9))
