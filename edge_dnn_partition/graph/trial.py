# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Running a model of onnxruntime on made-up input, which may never end by itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from edge_dnn_partition.errors import ModelError

#: One run; a Loop whose condition stays true would go on for ever.
MOST_SECONDS = 120.0


def run_once(session: ort.InferenceSession, outputs: Sequence[str], feeds: Mapping[str, np.ndarray], *, about: str) -> list[Any]:
    """Run a session and return the outputs of the given names.

    :param about: the file that an error names.
    :raises ModelError: the run takes longer than ``MOST_SECONDS``.
    :raises Exception: what onnxruntime raises.
    """
    options = ort.RunOptions()
    options.log_severity_level = 4
    with ended_in_time(lambda: setattr(options, 'terminate', True), about=about):
        found: list[Any] = session.run(list(outputs), dict(feeds), options)
    return found


@contextlib.contextmanager
def ended_in_time(terminate: Callable[[], None], *, about: str) -> Iterator[None]:
    """End a run that takes longer than ``MOST_SECONDS``.

    :param terminate: makes the run raise soon; called from another thread.
    :param about: the file that the error names.
    :raises ModelError: the run was ended.
    """
    too_long = threading.Event()

    def end() -> None:
        too_long.set()
        terminate()

    timer = threading.Timer(MOST_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if too_long.is_set():
            raise ModelError(f'{about} does not end within {MOST_SECONDS:.0f} s on made-up input: '
                             'a Loop in it may have no end; export the model again') from None  # fmt: skip
        raise
    finally:
        timer.cancel()
