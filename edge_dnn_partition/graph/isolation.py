# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Native code on a file that nobody has checked runs in a process of its own, bounded in time and memory.

onnx's shape inference and onnxruntime's optimiser compute with whatever a file says: a damaged one can crash them, fold
a constant of a terabyte, or never end. Whoever loads the model, a node of a running fleet too, then gets an error.
"""

from __future__ import annotations

import importlib
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from edge_dnn_partition.errors import ModelError

MOST_SECONDS = 300.0
#: What a child may allocate if the machine says that it has less to spare.
_LEAST_BYTES = 1 << 29
_CHILD = (
    'import json, sys; request = json.load(sys.stdin); sys.path[:] = request["sys_path"]; '
    'from edge_dnn_partition.graph.isolation import answer; answer(request)'
)


def call_isolated(function: Callable[..., None], *, about: str, **arguments: Any) -> None:
    """Call a function of a module in a new Python process.

    :param function: at the top of its module; its result is what it writes to disk.
    :param about: the file that the errors name.
    :param arguments: what JSON can hold.
    :raises ModelError: what the function raises, and where it crashes, takes longer than ``MOST_SECONDS``, or needs more
        memory than this machine has to spare.
    :raises OSError: what the function raises.
    """
    request = {'sys_path': sys.path, 'module': function.__module__, 'name': function.__qualname__,
               'arguments': arguments, 'seconds': MOST_SECONDS}  # fmt: skip
    try:
        code, said, wrong = _run_child(json.dumps(request), MOST_SECONDS)
    except subprocess.TimeoutExpired:
        code, said, wrong = -signal.SIGXCPU, '', ''
    if code == 0:
        return
    try:
        outcome = json.loads(said)
    except ValueError:
        raise ModelError(_abrupt_end(about, code, wrong)) from None
    if 'errno' in outcome:
        raise OSError(outcome['errno'], outcome['error'], outcome['filename'])
    raise ModelError(outcome['error'])


def _run_child(request: str, most_seconds: float) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, '-c', _CHILD], input=request, capture_output=True, text=True, errors='replace',
                          check=False, timeout=most_seconds)  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def answer(request: dict[str, Any]) -> None:
    """Do in the child what was asked for, and say on stdout how it failed."""
    import psutil

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower_limit(resource.RLIMIT_CPU, int(request['seconds']) + 1)  # should the parent be gone
    _lower_limit(resource.RLIMIT_DATA, max(psutil.virtual_memory().available, _LEAST_BYTES))
    function = getattr(importlib.import_module(request['module']), request['name'])
    try:
        function(**request['arguments'])
    except ModelError as error:
        outcome: dict[str, Any] = {'error': str(error)}
    except OSError as error:
        outcome = {'errno': error.errno, 'error': error.strerror, 'filename': error.filename}
    else:
        return
    sys.stdout.write(json.dumps(outcome))
    sys.exit(1)


def _lower_limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _abrupt_end(about: str, code: int, wrong: str) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGALRM):
        return f'{about} is not prepared within {MOST_SECONDS:.0f} s: does it compute something huge from its constants?'
    if code == -signal.SIGKILL:
        return f'{about}: its preparation was killed, probably for want of memory; prepare it on a machine that has more'
    if code < 0:
        return (f'{about} makes onnx or onnxruntime crash ({signal.Signals(-code).name}): the file is damaged, or you have met a '
                'fault of theirs; export it again')  # fmt: skip
    last = (wrong.strip().splitlines() or [f'exit code {code}'])[-1]
    if 'MemoryError' in last:
        return f'{about} needs more memory than is free here: {last}'
    return f'{about} cannot be prepared: {last[:400]}; export it again'
