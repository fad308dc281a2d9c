# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A program in a terminal of its own, for tests: what it draws, and keys for it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

ESCAPES = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]|\r')
PATIENCE_SECONDS = 30.0


class Terminal:
    """Runs a Python module's command line in a pseudo-terminal; a context manager.

    :param size: rows and columns.
    """

    def __init__(self, *arguments, size=(44, 150)):
        self._main, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack('HHHH', *size, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, '-m', *map(str, arguments)], stdin=follower, stdout=follower, stderr=follower, cwd='/',
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
            env=os.environ | {'TERM': 'xterm-256color', 'COLUMNS': str(size[1]), 'LINES': str(size[0])},
        )  # fmt: skip
        os.close(follower)
        self.raw = ''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._main)

    def _read(self, seconds):
        ready, _, _ = select.select([self._main], [], [], seconds)
        if ready:
            try:
                self.raw += os.read(self._main, 65536).decode(errors='replace')
            except OSError:  # the program has closed its end
                return False
        return True

    @property
    def words(self):
        """All that was drawn so far, without colours and movements."""
        return ESCAPES.sub('', self.raw)

    def wait_for(self, pattern):
        """Wait until something is drawn that was not there before the call."""
        deadline, begin = time.monotonic() + PATIENCE_SECONDS, len(self.raw)
        while not re.search(pattern, ESCAPES.sub('', self.raw[begin:])):
            assert time.monotonic() < deadline, f'{pattern!r} was not drawn: {self.words[-3000:]}'
            assert self._read(0.1), f'ended early: {self.words[-3000:]}'

    def press(self, keys):
        os.write(self._main, keys.encode())

    def end(self):
        """Wait for the end; return the exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._process.poll() is None:
            assert time.monotonic() < deadline, 'still running'
            self._read(0.1)
        while self._read(0.0) and select.select([self._main], [], [], 0.0)[0]:
            pass
        return self._process.returncode
