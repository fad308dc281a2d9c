# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""One stage of a model, loaded and ready to run: an onnxruntime session that times its runs."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from edge_dnn_partition.errors import DeviceError, ModelError, UserError, WireError
from edge_dnn_partition.graph.feeds import random_feeds
from edge_dnn_partition.graph.model import Model, TensorInfo
from edge_dnn_partition.graph.trial import ended_in_time
from edge_dnn_partition.sensing.power.reading import Processor

from .stage_cache import forget_optimised, optimised_file, weights_beside

_MAPPED_AT_LEAST: Final = 1024
"""Bytes of a weight that an optimised copy keeps beside it, where it is mapped and not read."""
CPU_PROVIDER: Final = 'CPUExecutionProvider'

_NO_MEMORY: Final = re.compile(r'alloc|out of memory', re.IGNORECASE)
_GPU_PROVIDERS: Final = frozenset(
    f'{name}ExecutionProvider' for name in ('CUDA', 'Tensorrt', 'NvTensorRTRTX', 'ROCM', 'MIGraphX', 'Dml', 'WebGpu')
)

#: onnxruntime's names of element types -> (TensorProto.DataType, numpy dtype)
_TYPES: Final[dict[str, tuple[int, np.dtype[Any]]]] = {
    'tensor(float)': (1, np.dtype(np.float32)),
    'tensor(uint8)': (2, np.dtype(np.uint8)),
    'tensor(int8)': (3, np.dtype(np.int8)),
    'tensor(uint16)': (4, np.dtype(np.uint16)),
    'tensor(int16)': (5, np.dtype(np.int16)),
    'tensor(int32)': (6, np.dtype(np.int32)),
    'tensor(int64)': (7, np.dtype(np.int64)),
    'tensor(bool)': (9, np.dtype(np.bool_)),
    'tensor(float16)': (10, np.dtype(np.float16)),
    'tensor(double)': (11, np.dtype(np.float64)),
    'tensor(uint32)': (12, np.dtype(np.uint32)),
    'tensor(uint64)': (13, np.dtype(np.uint64)),
}


_room = threading.Event()
"""Set when sessions have gone: the next run gives back what the arena holds for them."""


class RunTerminatedError(Exception):
    """A run that ``Engine.terminate`` ended before it was finished; it has no result."""


def processor_of(provider: str) -> Processor:
    """Return what an execution provider runs on; one that is not known to use a GPU counts as the CPU's."""
    return 'gpu' if provider in _GPU_PROVIDERS else 'cpu'


def available_providers() -> Sequence[str]:
    """Return the execution providers of this installation of onnxruntime."""
    found: Sequence[str] = onnxruntime.get_available_providers()
    return found


def check_providers(providers: Sequence[str]) -> None:
    """Refuse execution providers that this installation of onnxruntime lacks.

    :raises UserError: that names those which are there.
    """
    available = available_providers()
    if not providers:
        raise UserError(f'no execution provider given; available here: {", ".join(available)}')
    for provider in providers:
        if provider not in available:
            raise UserError(f'execution provider {provider!r} is not in this onnxruntime; '
                            f'available here: {", ".join(available)}')


@functools.cache
def _share_arena() -> None:
    """Register one arena for the tensors of all sessions in this process: by default each keeps what its runs needed at most."""
    memory = onnxruntime.OrtMemoryInfo('Cpu', onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT)
    with suppress(Exception):  # a build without arenas: its sessions then have what they had
        onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg({'arena_extend_strategy': 1}))  # as requested


def give_back() -> None:
    """Let the next run of any engine return to the system what the arena holds and no run needs any more."""
    _room.set()


class Engine:
    """One onnxruntime session of one stage file.

    ``run`` may be called from one thread at a time, ``terminate`` from any.

    :param path: the stage's ONNX file. It is opened by its path, never from bytes: that
        stalls the process's other Python threads for 5 ms instead of 69-82.
    :param providers: execution providers, the preferred one first.
    :param threads: threads of one operator; 1 runs everything on the calling thread.
    :param optimised_cache: keep a copy that was optimised on this machine and load it the
        next time, which takes about half as long or less; whatever fails there, the
        original file is loaded.
    :param log_severity: onnxruntime's level, 0 (verbose) to 4 (fatal).
    :param trace: a path's beginning; each run's operators are timed, until ``end_trace``.
    :raises UserError: if a provider is not available or ``threads`` is below 1.
    :raises ModelError: if the file cannot be read or run.
    """

    def __init__(self, path: str | Path, *, providers: Sequence[str] = (CPU_PROVIDER,), threads: int = 1,
                 optimised_cache: bool = False, log_severity: int = 3, trace: str = '') -> None:
        if threads < 1:
            raise UserError(f'threads: {threads} must be at least 1')
        check_providers(providers)
        self.path = Path(path)
        self.providers = tuple(providers)
        self.threads = threads
        self.last_seconds = 0.0
        self.last_cpu_seconds = 0.0
        self._log_severity = log_severity
        self._trace = trace
        self._lock = threading.Lock()
        self._options: onnxruntime.RunOptions | None = None
        if not self.path.is_file():
            raise ModelError(f'{self.path}: no such model file')
        session = self._open_optimised() if optimised_cache else None
        self.from_optimised = session is not None
        self._session = self._open(self.path) if session is None else session
        try:
            self.inputs = tuple(_tensor_info(value, self.path) for value in self._session.get_inputs())
            self.outputs = tuple(_tensor_info(value, self.path) for value in self._session.get_outputs())
        except KeyError as error:
            raise ModelError(f'{self.path}: values of type {error} cannot cross a stage boundary') from error
        self._dtypes = {value.name: _TYPES[value.type][1] for value in self._session.get_inputs()}
        self._output_names = [tensor.name for tensor in self.outputs]

    @property
    def last_busy_seconds(self) -> float:
        """What the last run cost the device, free of what other processes took from it.

        With one thread on the CPU that is the thread's CPU time. With more threads, or with
        another provider, the calling thread's CPU time is only a part: then it is wall time.
        """
        return self.last_cpu_seconds if self.measures_cpu_time else self.last_seconds

    @property
    def measures_cpu_time(self) -> bool:
        """Tell whether a run happens on the calling thread alone."""
        return self.threads == 1 and self.providers[0] == CPU_PROVIDER

    def run(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Run the stage once, and note its wall time and its CPU time in seconds.

        :param feeds: an array for each input, of its dtype and shape.
        :returns: an array for each output.
        :raises WireError: if an input is missing, unknown, or of another dtype or shape.
        :raises RunTerminatedError: if ``terminate`` was called meanwhile.
        :raises ModelError: if an operator refuses what it is given.
        :raises DeviceError: if the runtime fails otherwise, or that is not known.
        """
        self._check(feeds)
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4  # what goes wrong is raised
        if _room.is_set():
            _room.clear()
            options.add_run_config_entry('memory.enable_memory_arena_shrinkage', 'cpu:0')
        with self._lock:
            self._options = options
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            values = self._session.run(self._output_names, dict(feeds), options)
        except Exception as error:  # onnxruntime's exceptions share no other base
            if options.terminate:
                raise RunTerminatedError(f'{self.path.name}: the run was stopped') from error
            kind = ModelError if self._is_the_inputs_doing(error) else DeviceError
            raise kind(f'{self.path.name}: {_one_line(error)}') from error
        finally:
            self.last_cpu_seconds = time.thread_time() - cpu
            self.last_seconds = time.perf_counter() - wall
            with self._lock:
                self._options = None
        return dict(zip(self._output_names, values, strict=True))

    def _is_the_inputs_doing(self, error: Exception) -> bool:
        """Tell whether a run failed for what it was given, so that it would on any device.

        The CPU's operators say FAIL of a shape or a count that cannot be; other providers say it of their own troubles, too.
        """
        if _NO_MEMORY.search(str(error)):
            return False
        cpu = self.providers[0] == CPU_PROVIDER
        return type(error).__name__ == 'InvalidArgument' or (cpu and type(error).__name__ == 'Fail')

    def terminate(self) -> None:
        """End the run under way, if there is one, at its next operator; a later run is free."""
        with self._lock:
            if self._options is not None:
                self._options.terminate = True

    def end_trace(self) -> Path:
        """Stop timing operators and return the file with their times, in the format of Chrome's tracing."""
        return Path(self._session.end_profiling())

    def try_out(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Run as `run` does, on made-up input and so for a bounded time: a Loop may have no end.

        :raises ModelError: if the runtime fails, or does not end.
        """
        with ended_in_time(self.terminate, about=str(self.path)):
            return self.run(feeds)

    def warm_up(self, runs: int = 1, tensors: Mapping[str, TensorInfo] | None = None) -> None:
        """Run on made-up input so that the first frame does not pay for first touches.

        Inputs are ones, which are valid indices too. They may be refused where the stage reads sizes, indices or what has a
        size that depends on the data; then it stays cold.

        :param tensors: the model's, whose shapes count where the stage's are open.
        :raises ModelError: as `try_out` does.
        """
        feeds = self.made_up_feeds(tensors)
        may_refuse = any(-1 in tensor.shape or feeds[tensor.name].dtype in (np.int32, np.int64) for tensor in self.inputs)
        with ended_in_time(self.terminate, about=str(self.path)), suppress(ModelError) if may_refuse else nullcontext():
            for _ in range(runs):
                self.run(feeds)

    def made_up_feeds(self, tensors: Mapping[str, TensorInfo] | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """Return ones in the shape of each input; an open size is that of the model's tensor, 1 without."""
        feeds = {}
        for tensor in self.inputs:
            known = (tensors or {}).get(tensor.name, tensor).shape
            if len(known) != len(tensor.shape):
                known = tensor.shape
            shape = [abs(given) if size == -1 else size for size, given in zip(tensor.shape, known, strict=True)]
            feeds[tensor.name] = np.ones(shape, self._dtypes[tensor.name])
        return feeds

    def _check(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> None:
        for tensor in self.inputs:
            value = feeds.get(tensor.name)
            if value is None:
                raise WireError(f'{self.path.name}: input {tensor.name!r} is missing')
            expected = self._dtypes[tensor.name]
            if value.dtype != expected:
                raise WireError(f'{self.path.name}: input {tensor.name!r} is {value.dtype}, not {expected}')
            if len(value.shape) != len(tensor.shape) or any(
                    size not in (-1, given) for size, given in zip(tensor.shape, value.shape, strict=True)):
                raise WireError(f'{self.path.name}: input {tensor.name!r} has shape {list(value.shape)}, '
                                f'not {list(tensor.shape)}')
        if len(feeds) != len(self.inputs):
            unknown = sorted(set(feeds) - {tensor.name for tensor in self.inputs})
            raise WireError(f'{self.path.name}: this stage has no input {unknown[0]!r}')

    def _session_options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = self._log_severity
        # Spinning threads burn a CPU quota that the stages need.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        options.add_session_config_entry('session.inter_op.allow_spinning', '0')
        if self.providers == (CPU_PROVIDER,):
            _share_arena()
            options.add_session_config_entry('session.use_env_allocators', '1')
            options.add_session_config_entry('session.use_device_allocator_for_initializers', '1')  # they go with the session
        if self._trace:
            options.enable_profiling = True
            options.profile_file_prefix = self._trace
        return options

    def _open(self, path: Path, options: onnxruntime.SessionOptions | None = None
              ) -> onnxruntime.InferenceSession:
        try:
            return onnxruntime.InferenceSession(
                str(path), sess_options=options or self._session_options(), providers=list(self.providers))
        except Exception as error:  # onnxruntime's exceptions share no other base
            raise ModelError(f'{path}: {_one_line(error)}') from error

    def _open_optimised(self) -> onnxruntime.InferenceSession | None:
        def optimise(target: Path) -> None:
            options = self._session_options()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            options.optimized_model_filepath = str(target)
            # This session never runs; the weights in another order, for its kernels, would be in memory once more.
            options.add_session_config_entry('session.disable_prepacking', '1')
            entry = 'session.optimized_model_external_initializers'
            options.add_session_config_entry(f'{entry}_file_name', weights_beside(target).name)
            options.add_session_config_entry(f'{entry}_min_size_in_bytes', str(_MAPPED_AT_LEAST))
            self._open(self.path, options)

        path = optimised_file(self.path, self.providers, optimise)
        if path is None:
            return None
        options = self._session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return self._open(path, options)
        except ModelError:
            forget_optimised(path)
            return None


class StageInputs:
    """Inputs of a model's stages, one after another, so that each runs on what the stages before it computed.

    :param given: of the model's own inputs; the others are made up, of the kind on which its tensors have their sizes.
    """

    def __init__(self, model: Model, given: Mapping[str, np.ndarray[Any, Any]] | None = None) -> None:
        self._values = model_feeds(model, given or {})

    def feeds(self, engine: Engine) -> dict[str, np.ndarray[Any, Any]]:
        """Return what a stage reads, once `compute` has had the stages that make it."""
        return {tensor.name: self._values[tensor.name] for tensor in engine.inputs}

    def compute(self, engine: Engine) -> None:
        """Run a stage once and keep what it makes."""
        self._values |= engine.try_out(self.feeds(engine))

    def computed(self, names: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        """Return tensors that stages made."""
        return {name: self._values[name] for name in names}


def model_feeds(model: Model, given: Mapping[str, np.ndarray[Any, Any]], seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Return a model's inputs: what is given of them, by name, where it fits, else seeded values.

    :param given: `FIRST_INPUT` names the first.
    """
    values = random_feeds((model.tensors[name] for name in model.inputs), seed, model.example)
    for wanted, value in given.items():
        name = wanted or model.inputs[0]
        if name in values and (values[name].shape, values[name].dtype) == (value.shape, value.dtype):
            values[name] = value
    return values


def _tensor_info(value: Any, path: Path) -> TensorInfo:
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    if value.type not in _TYPES:
        raise KeyError(value.type)
    return TensorInfo(value.name, _TYPES[value.type][0], shape)


def _one_line(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return text if len(text) <= 300 else f'{text[:150]} … {text[-147:]}'  # which operator comes first, and what is wrong last
