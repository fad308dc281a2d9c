# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Links that are far or lossy, for bench_hop: this package over DDS and over Zenoh (TCP, TLS, QUIC), and a TCP socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from edge_dnn_partition.testbed.namespaces import Namespaces, Shape

from .hop_delay import delay, lose
from .hop_pair import ZENOH, Pair

PATHS: Final = ('own', 'tcp', *ZENOH)
SIZES: Final = (64_000, 600_000)
CONDITIONS: Final = ((0.0, 0), (0.02, 0), (0.1, 0), (0.0, 1), (0.0, 5), (0.02, 1))
"""Seconds of delay each way, and percent of the packets lost each way."""
QUEUE_SECONDS: Final = 0.05
_COUNT: Final = 8
_WARM: Final = 4


def far_links(*, quick: bool, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield what messages of two sizes take on each path under each condition."""
    for rate in (40,) if quick else (6, 40):
        for seconds, percent in CONDITIONS:
            for path in PATHS:
                case = {'case': 'far', 'path': path, 'megabits': rate, 'delay_seconds': seconds, 'lost_percent': percent}
                shape = Shape(rate * 1e6, QUEUE_SECONDS)
                with Namespaces(['a', 'b'], {('a', 'b'): shape, ('b', 'a'): shape}) as network:
                    try:
                        for sender, receiver in (('a', 'b'), ('b', 'a')):
                            if seconds:
                                delay(network, sender, receiver, seconds)
                            if percent:
                                lose(network, receiver, percent)
                        with Pair(path, network=network) as pair:
                            yield from _sizes(case, pair, seconds, say)
                    except RuntimeError as error:
                        yield case | {'bytes': SIZES[0], 'failed': str(error)}


def _sizes(case: dict[str, Any], pair: Pair, seconds: float, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for size in SIZES:
        ideal = size * 8 / (case['megabits'] * 1e6) + seconds
        patience = 10.0 + 20 * ideal
        found = pair.stream(size, _WARM, gap=0.02, patience=patience)
        if 'failed' not in found:
            found = pair.stream(size, _COUNT, gap=0.02, patience=patience)
        if 'failed' not in found:
            found |= {'over_ideal': found['p50_seconds'] / ideal, 'p95_over_ideal': found['p95_seconds'] / ideal}
        words = f'{found["over_ideal"]:.2f} of the ideal' if 'failed' not in found else found['failed']
        say(f'{case["megabits"]} Mbit/s, {seconds * 1e3:g} ms, {case["lost_percent"]} % lost, {pair.path}, {size} bytes: {words}')
        yield case | {'bytes': size} | found
        if 'failed' in found:
            return
