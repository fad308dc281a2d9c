# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Tensor fragments as bytes: written and read by hand against the generated message class; and what a fleet's key costs."""

from __future__ import annotations

import statistics
import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge_dnn_partition.cli.bench_report import BenchResult, Target
from edge_dnn_partition.transport.fragment_codec import decode, encode
from edge_dnn_partition.transport.fragments import FRAME, Address, Fragment, TensorMessage, in_packets
from edge_dnn_partition.transport.seals import SEAL_BYTES, Sealer
from edge_dnn_partition.transport.tensors import WireTensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ('ROS',)
SIZES = (in_packets(1), 28_000, 60_000)
_TOPIC = '/demo/jetson/tensors'


def _fragments(size: int) -> tuple[Fragment, Fragment]:
    """The first fragment of a message, which has a head, and the second, which has none."""
    total = 2 * size
    layout = (WireTensor('features', 1, (1, total // 4), 'raw', 0, total),)
    address = Address('0' * 64, 7, 1234, 0, 2)
    message = TensorMessage(FRAME, 'jetson', 99, address, 5, memoryview(bytes(total)), layout, fragment_bytes=size)
    return message.fragment(0, paced=True, sent_ns=1), message.fragment(1, paced=True, sent_ns=2)


def _generated(fragment: Fragment) -> Any:
    """The message as a node without the codec would fill it in."""
    from edge_dnn_partition.msg import FragmentHead, TensorFragment, TensorInfo

    message = TensorFragment(
        sender=fragment.sender, incarnation=fragment.incarnation, sent_ns=fragment.sent_ns, message=fragment.message,
        index=fragment.index,
        count=fragment.count, total=fragment.total, kind=fragment.kind, paced=fragment.paced,
    )  # fmt: skip
    data = array('B')
    data.frombytes(fragment.data)
    message.data = data
    if fragment.index == 0:
        message.head = [FragmentHead(
            model_sha256=fragment.address.model_sha256, frame_number=fragment.address.frame_number,
            plan_version=fragment.address.plan_version,
            attempt=fragment.address.attempt, from_stage=fragment.address.from_stage,
            tensors=[TensorInfo(name=t.name, dtype=t.dtype, shape=list(t.shape), encoding=t.encoding, offset=t.offset,
                                size=t.size) for t in fragment.layout],
        )]  # fmt: skip
    return message


def _microseconds(action: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(20):
            action()
        times.append((time.perf_counter() - begin) / 20)
    return statistics.median(times) * 1e6


def _seals(raw: bytes, rounds: int) -> dict[str, float]:
    """What it takes to seal a message of so many bytes as CDR, and to check that."""
    sealer = Sealer(bytes(range(32)), 7)
    unsealed = memoryview(raw)[:-4]
    sealed = sealer.seal(_TOPIC, unsealed)
    return {
        'seal_microseconds': _microseconds(lambda: sealer.seal(_TOPIC, unsealed), rounds),
        'check_microseconds': _microseconds(lambda: sealer.check(_TOPIC, sealed), rounds),
    }


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark (seconds)."""
    from edge_dnn_partition import ros_env

    ros_env.prepare()
    from edge_dnn_partition.msg import TensorFragment
    from rclpy.serialization import deserialize_message, serialize_message

    rounds = 20 if quick else 200
    results, targets = [], []
    for size in SIZES:
        for fragment in _fragments(size):
            raw = encode(fragment)
            found = {
                'bytes': size, 'head': fragment.index == 0, 'encoded_bytes': len(raw),
                'encode_microseconds': _microseconds(lambda fragment=fragment: encode(fragment), rounds),
                'decode_microseconds': _microseconds(lambda raw=raw: decode(raw), rounds),
                'generated_encode_microseconds': _microseconds(
                    lambda fragment=fragment: serialize_message(_generated(fragment)), rounds),
                'generated_decode_microseconds': _microseconds(lambda raw=raw: deserialize_message(raw, TensorFragment), rounds),
                **_seals(raw, rounds),
            }  # fmt: skip
            results.append(found)
            mine = found['encode_microseconds'] + found['decode_microseconds']
            theirs = found['generated_encode_microseconds'] + found['generated_decode_microseconds']
            name = f'write and read a fragment of {size} bytes {"with a head" if found["head"] else "without a head"}, times faster'
            targets.append(Target(name, '>= 1', theirs / mine, 'x', theirs >= mine))
            progress(f'{size} bytes: {mine:.1f} us, by the generated class {theirs:.1f} us')
    whole = next(row for row in results if row['bytes'] == SIZES[-1] and not row['head'])
    small = _seals(bytes(504), rounds)
    results.append({'message_bytes': 504, **small})
    a_message = small['seal_microseconds'] + small['check_microseconds']
    a_megabyte = (whole['seal_microseconds'] + whole['check_microseconds']) * 1e6 / SIZES[-1]
    targets.append(Target('seal and check a message of 500 bytes', '<= 50', a_message, 'us', a_message <= 50))
    targets.append(Target('seal and check a megabyte of fragments', '<= 10', a_megabyte / 1e3, 'ms', a_megabyte <= 10_000))
    progress(f'seals: {a_message:.1f} us for a message, {a_megabyte / 1e3:.2f} ms for a megabyte, at both ends together')
    faster = sorted(target.measured for target in targets if target.unit == 'x')
    conclusion = (
        f'Writing and reading a fragment by hand takes {1 / faster[-1]:.2f} to {1 / faster[0]:.2f} of the time that the generated '
        f'class takes. Where the fleet has a key, sealing and checking take {a_message:.0f} us for a message of 500 bytes and '
        f'{a_megabyte / 1e3:.1f} ms for a megabyte, both ends together, and {SEAL_BYTES} bytes of each message.'
    )
    return BenchResult(results, targets, lambda figure: _plot(figure, results), conclusion)


def _plot(figure: Figure, results: list[dict[str, Any]]) -> None:
    for axes, (action, seals) in zip(figure.subplots(1, 2), (('encode', 'seal'), ('decode', 'check')), strict=True):
        kinds = ((action, 'by hand'), (f'generated_{action}', 'generated class'), (seals, f'{seals}, with a key'))
        for key, label in ((f'{kind}_microseconds', label) for kind, label in kinds):
            rows = [row for row in results if row.get('head') is False]
            axes.plot([row['bytes'] for row in rows], [row[key] for row in rows], marker='o', label=label)
        axes.set(xlabel='bytes in a fragment', ylabel='µs', yscale='log', title=action)
        axes.legend()
