# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Several benchmarks one after the other, each in a process of its own, and a report of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

SUITE: Final = ('testbed', 'overhead', 'pipeline', 'switch', 'scale', 'grid', 'corners', 'trace', 'recovery')
"""What compares the system with what people would use instead; the others measure its parts."""


def run(
    names: Collection[str], out: Path, *, quick: bool, say: Callable[[str], None], start: Callable[..., int] = subprocess.call
) -> dict[str, int]:
    """Run benchmarks; one that fails does not keep the others from running.

    :param start: runs a command and returns its exit code.
    :return: their exit codes: 0, 1 for a missed target, or of a benchmark that could not run.
    """
    codes = {}
    for name in names:
        say(f'bench {name}')
        begin = time.monotonic()
        command = [sys.executable, '-m', 'edge_dnn_partition.cli', 'bench', name, '--out', str(out)]
        # Else `python -m` would take the package from a checkout in the current folder, which has no messages built.
        environment = {**os.environ, 'PYTHONSAFEPATH': '1'}
        codes[name] = start([*command, '--quick'] if quick else command, env=environment)
        say(f'bench {name}: {_words(codes[name])} after {(time.monotonic() - begin) / 60:.1f} min')
    return codes


def _words(code: int) -> str:
    return {0: 'done', 1: 'done, a target was missed'}.get(code, f'failed with exit code {code}')
