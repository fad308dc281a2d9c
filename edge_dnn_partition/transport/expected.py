# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a device accepts: the tensors that it waits for, as the model has them, and no larger than it can hold."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.graph.tensor_info import TensorInfo
from edge_dnn_partition.planning.plans.plan import is_image

from .fragments import Fragment
from .tensors import DTYPES, WireTensor, buffer_size, dtype_number
from .timing import HopTime, StageTime

_SHARE: Final = 4
"""One message may take a fourth of the device's memory, and so may all incomplete ones together."""
_LEAST_BYTES: Final = 64 << 20
_MOST_BYTES: Final = 1 << 30
_MOST_TIMINGS: Final = 1000
_BYTES: Final = dtype_number(DTYPES[2])
_LIMITS: Final = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')


def memory_bytes() -> int:
    """Return the memory that this process may use: the machine's, or its container's limit."""
    machine = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return min(machine, *filter(None, map(_number_in, _LIMITS)), machine)


def _number_in(path: str) -> int:
    try:
        return int(Path(path).read_text(encoding='ascii'))
    except (OSError, ValueError):
        return 0


def largest_message(memory: float | None = None) -> int:
    """Return how many bytes a message may have, and all incomplete ones together.

    :param memory: the device's, in bytes; None: `memory_bytes`.
    """
    whole = memory_bytes() if memory is None else min(memory, memory_bytes())
    return int(min(_MOST_BYTES, max(_LEAST_BYTES, whole / _SHARE)))


@dataclass(frozen=True)
class Expected:
    """The tensors of a model that may arrive, by name.

    :param tensors: their types and shapes; a shape that was only observed is open.
    :param image: cameras' images may arrive as well.
    :param kept: tensors that may come without values, since they stay where they were made.
    :param most_bytes: of a tensor whose shape is open, decoded; see `largest_message`.
    """

    tensors: Mapping[str, TensorInfo]
    image: bool
    most_bytes: int
    kept: Collection[str] = ()

    def check(self, fragment: Fragment) -> None:
        """Raise if a message's first fragment announces what is not expected.

        :raises WireError: with the first contradiction found.
        """
        for tensor in fragment.layout:
            self._check_tensor(tensor)
        if fragment.total != buffer_size(fragment.layout):
            raise WireError(f'message {fragment.message} of {fragment.sender}: {fragment.total} bytes do not match its tensors')
        check_timings(fragment.stages, fragment.hops, fragment.encode_seconds)

    def _check_tensor(self, tensor: WireTensor) -> None:
        known = self.tensors.get(tensor.name)
        size = math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
        if self.image and is_image(tensor.name):
            if tensor.dtype != _BYTES:
                raise WireError(f'an image of dtype number {tensor.dtype}; pixels are bytes')
        elif known is None:
            raise WireError(f'tensor {tensor.name[:80]!r} is not expected here')
        elif tensor.dtype != known.dtype or len(tensor.shape) != len(known.shape):
            raise WireError(f'tensor {tensor.name!r} has dtype {tensor.dtype} and shape {list(tensor.shape)}; {_words(known)}')
        elif tensor.shape != known.shape and not known.observed and (any(tensor.shape) or tensor.name not in self.kept):
            raise WireError(f'tensor {tensor.name!r} has shape {list(tensor.shape)}; {_words(known)}')
        if max(size, tensor.size) > self.most_bytes:
            raise WireError(
                f'tensor {tensor.name!r} of {max(size, tensor.size)} bytes is more than this device holds ({self.most_bytes})'
            )
        if tensor.size > size and not is_image(tensor.name):
            raise WireError(f'tensor {tensor.name!r} has {tensor.size} bytes as {tensor.encoding}, and {size} without that')


def check_timings(stages: Iterable[StageTime], hops: Iterable[HopTime], encode_seconds: float) -> None:
    """Raise if a frame's timing is impossible: the planner learns from it.

    :raises WireError: if a time is negative, infinite or no number, or energy is infinite; or there is far too much.
    """
    stages, hops = tuple(stages), tuple(hops)
    seconds = [encode_seconds, *(value for hop in hops for value in (hop.encode_seconds, hop.spread_seconds))]
    seconds += [v for one in stages for v in (one.queue_seconds, one.decode_seconds, one.run_seconds, one.cpu_seconds)]
    joules = [value for stage in stages for value in (stage.joules, stage.deviation_joules)]
    right = all(math.isfinite(value) and value >= 0 for value in seconds) and not any(map(math.isinf, joules))
    if not right or len(stages) + len(hops) > _MOST_TIMINGS:
        raise WireError("a message whose stages' or hops' figures cannot be")


def _words(tensor: TensorInfo) -> str:
    return f'in the model it has dtype {tensor.dtype} and shape {list(tensor.shape)}{" or another" if tensor.observed else ""}'
