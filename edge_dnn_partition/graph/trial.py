# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Running a model of onnxruntime on made-up input, which may never end by itself, without its weights in memory."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from edge_dnn_partition.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

    from edge_dnn_partition.graph import protos

#: One run; a Loop whose condition stays true would go on for ever.
MOST_SECONDS = 120.0


def open_session(
    proto: ModelProto, weights_at: protos.Locate, level: ort.GraphOptimizationLevel = ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    options: ort.SessionOptions | None = None, *, repack: bool = False, **arguments: Any,
) -> ort.InferenceSession:  # fmt: skip
    """Open a model whose external weights are mapped from their files.

    :param proto: is left as it is.
    :param repack: order weights anew for the kernels, as onnxruntime does by default; without it they are in memory no
        second time, and the last bits of products may differ.
    :param options: further ones.
    :raises Exception: what onnxruntime raises.
    """
    from edge_dnn_partition.graph.weights import map_weights

    options = options or ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    options.add_session_config_entry('session.disable_prepacking', str(int(not repack)))
    mapped = type(proto)()
    mapped.CopyFrom(proto)
    options.add_session_config_entry('session.model_external_initializers_file_folder_path', map_weights(mapped, weights_at))
    return ort.InferenceSession(mapped.SerializeToString(), options, providers=['CPUExecutionProvider'], **arguments)


def onnxruntime_message(error: Exception) -> str:
    """Return onnxruntime's complaint as one line without its preamble."""
    text = ' '.join(str(error).split())
    text = re.sub(r'^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ', '', text)
    return re.sub(r'(/\S*)?onnxruntime/\S+ \S.*?\) ', '', text).strip()


def run_once(session: ort.InferenceSession, outputs: Sequence[str], feeds: Mapping[str, np.ndarray], *, about: str) -> list[Any]:
    """Run a session and return the outputs of the given names.

    :param feeds: the inputs; those that the session does not have are left out.
    :param about: the file that an error names.
    :raises ModelError: the run takes longer than ``MOST_SECONDS``.
    :raises Exception: what onnxruntime raises.
    """
    options = ort.RunOptions()
    options.log_severity_level = 4
    accepted = {value.name for value in session.get_inputs()}
    with ended_in_time(lambda: setattr(options, 'terminate', True), about=about):
        found: list[Any] = session.run(list(outputs), {name: value for name, value in feeds.items() if name in accepted}, options)
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
