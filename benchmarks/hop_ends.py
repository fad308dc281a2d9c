# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The two ends of a hop as processes of their own, for bench_hop: ``python hop_ends.py PATH ROLE OPTIONS``.

Each end takes requests as JSON lines on standard input and answers on standard output, so that what is measured
does not share its way with what is said about it. A message begins with its number and the sender's steady clock,
which both ends share, since they are on one machine (in network namespaces or not).

PATH: ``own`` (this package's links, over DDS, or over Zenoh where the fleet has two sites), ``rclpy`` (a typed message, default
QoS), ``tcp``, ``zmq``, ``zenoh``.
Nothing here polls: who waits for a message is woken by it, so that what an end takes of the processor is what its path takes.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import threading
import time
from array import array
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from edge_dnn_partition.benchmarks.hop_counts import STAMP, Count, Log, Sending

PATIENCE_SECONDS: Final = 120.0


# This package --------------------------------------------------------------------------------------------------


def _link(node: Any, fleet: Any, where: Any, there: Count) -> Any:
    if where is None:
        from edge_dnn_partition.nodes.transport.dds_link import DdsLink

        return DdsLink(node, fleet, on_sent=lambda _: there.add())
    from edge_dnn_partition.nodes.transport.zenoh_link import ZenohLink
    from edge_dnn_partition.transport.zenoh_session import settings

    configuration = settings('client', connect=[where.router], tls=where.tls)
    return ZenohLink(where, configuration, node, fleet, on_sent=lambda _: there.add())


def _control(node: Any, where: Any, role: str, log: Log) -> None:
    """Send or take small messages, as a node's heartbeats go."""
    if where is None:
        from std_msgs.msg import UInt64

        from edge_dnn_partition.nodes.core import qos

        if role == 'receive':
            node.subscribe(UInt64, '/hop/control', lambda message: log.control(message.data), qos.HEARTBEAT)
            return
        control = node.advertise(UInt64, '/hop/control', qos.HEARTBEAT)
        node.every(0.05, lambda: control.publish(UInt64(data=time.monotonic_ns())))
        return
    from edge_dnn_partition.transport.zenoh_session import WideSession

    session = WideSession(where)
    _KEPT.append(session)
    if role == 'receive':
        session.subscribe('control', lambda raw: log.control(int.from_bytes(raw, 'little')))
        return
    wide = session.publisher('control')
    node.every(0.05, lambda: wide.put(time.monotonic_ns().to_bytes(8, 'little')))


def _own(role: str, options: dict[str, Any], log: Log) -> Sending | None:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from edge_dnn_partition.nodes.core.base import FleetNode
    from edge_dnn_partition.nodes.core.process import Spinner
    from edge_dnn_partition.planning.fleet.fleet import Fleet
    from edge_dnn_partition.transport.fragments import Address
    from edge_dnn_partition.transport.sites import place

    fleet = Fleet.model_validate(options['fleet'])
    here = fleet.source if role == 'send' else options['peer']
    where, there = place(fleet, here), Count()
    if where is not None and role != 'send':
        from edge_dnn_partition.transport.zenoh_router import open_router, router_settings

        _KEPT.append(open_router(router_settings([fleet])))

    class Node(FleetNode):
        def setup(self) -> None:
            self.link = _link(self, fleet, where, there)
            if options['control']:
                _control(self, where, role, log)
            if role == 'send':
                self.link.connect((options['peer'], False))
            else:
                self.link.listen(False, self.take)

        def take(self, received: Any, _hop: Any) -> None:
            data = received.views()[0]['tensor']
            log.add(data.data)

        def teardown(self) -> None:
            self.link.stop()

    rclpy.init(args=['--ros-args', '-r', f'__ns:=/hop/{here}'], signal_handler_options=SignalHandlerOptions.NO)
    node = Node(f'end_{role}')
    spinner = Spinner(node, first=node.autostart)
    spinner.start()
    if role != 'send':
        return None

    class End:
        def __init__(self) -> None:
            self.sent = 0
            self.there = there

        def send(self, payload: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
            address = Address('m', 1, self.sent, 0, -1)
            self.sent += 1
            node.link.send((options['peer'], False), address, {'tensor': payload}, {})

        def publishing(self) -> dict[str, float]:
            if where is not None:
                return {}
            return {
                'longest_publish_seconds': node.link.longest_publish_seconds,
                'longest_publish_cpu_seconds': node.link.longest_publish_cpu_seconds,
            }

    _wait(lambda: node.active and node.link.connected((options['peer'], False)), 'the inbox')
    return End()


# What people would use instead ----------------------------------------------------------------------------------


def _rclpy(role: str, _options: dict[str, Any], log: Log) -> Sending | None:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from std_msgs.msg import UInt8MultiArray, UInt64

    rclpy.init()
    node = rclpy.create_node(f'plain_{role}')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    if role == 'receive':
        acks = node.create_publisher(UInt64, '/hop/ack', 100)

        def take(message: Any) -> None:
            log.add(message.data)
            acks.publish(UInt64(data=1))

        node.create_subscription(UInt8MultiArray, '/hop/data', take, 10)
        threading.Thread(target=executor.spin, daemon=True).start()
        return None
    publisher = node.create_publisher(UInt8MultiArray, '/hop/data', 10)

    class End:
        def __init__(self) -> None:
            self.there = Count()

        def send(self, payload: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
            message = UInt8MultiArray()
            data = array('B')
            data.frombytes(payload.data)
            message.data = data
            publisher.publish(message)

        def heard(self, message: Any) -> None:
            self.there.add(message.data)

    end = End()
    node.create_subscription(UInt64, '/hop/ack', end.heard, 100)
    threading.Thread(target=executor.spin, daemon=True).start()
    _wait(lambda: publisher.get_subscription_count() and node.count_publishers('/hop/ack'), 'the subscription')
    return end


def _tcp(role: str, options: dict[str, Any], log: Log) -> Sending | None:
    if role == 'receive':
        listener = socket.create_server((options['address'], options['port']))

        def serve() -> None:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = bytearray(8)
            buffer = memoryview(bytearray(1))
            while _fill(connection, memoryview(head)):
                size = int.from_bytes(head, 'little')
                if len(buffer) < size:
                    buffer = memoryview(bytearray(size))
                if not _fill(connection, buffer[:size]):
                    return
                log.add(buffer)
                connection.sendall(b'\1')

        threading.Thread(target=serve, daemon=True).start()
        return None
    connection = _connect(options['address'], options['port'])

    class End:
        def __init__(self) -> None:
            self.there = Count()

        def send(self, payload: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
            connection.sendall(payload.nbytes.to_bytes(8, 'little'))
            connection.sendall(payload.data)

        def listen(self) -> None:
            while data := connection.recv(64):
                self.there.add(len(data))

    end = End()
    threading.Thread(target=end.listen, daemon=True).start()
    return end


def _zmq(role: str, options: dict[str, Any], log: Log) -> Sending | None:
    import zmq

    context = zmq.Context()
    where = f'tcp://{options["address"]}:{{}}'
    if role == 'receive':
        source, back = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        source.bind(where.format(options['port']))
        back.bind(where.format(options['port'] + 1))

        def serve() -> None:
            while True:
                frame = source.recv(copy=False)
                log.add(frame.buffer)
                back.send(b'\1')

        threading.Thread(target=serve, daemon=True).start()
        return None
    sink, acks = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    sink.connect(where.format(options['port']))
    acks.connect(where.format(options['port'] + 1))

    class End:
        def __init__(self) -> None:
            self.there = Count()

        def send(self, payload: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
            sink.send(payload, copy=payload.nbytes < 65536)

        def listen(self) -> None:
            while acks.recv():
                self.there.add()

    end = End()
    threading.Thread(target=end.listen, daemon=True).start()
    return end


def _zenoh(role: str, options: dict[str, Any], log: Log) -> Sending | None:
    import zenoh

    config, where = zenoh.Config(), f'tcp/{options["address"]}:{options["port"]}'
    config.insert_json5('scouting/multicast/enabled', 'false')
    config.insert_json5('listen/endpoints' if role == 'receive' else 'connect/endpoints', json.dumps([where]))
    if role == 'send':
        config.insert_json5('listen/endpoints', '[]')
    session = zenoh.open(config)
    if role == 'receive':
        acks = session.declare_publisher('hop/ack', express=True)

        def take(sample: Any) -> None:
            log.add(sample.payload.to_bytes())
            acks.put(b'\1')

        _KEPT.append((session, acks, session.declare_subscriber('hop/data', take)))
        return None
    sink = session.declare_publisher('hop/data', congestion_control=zenoh.CongestionControl.BLOCK, express=True)

    class End:
        def __init__(self) -> None:
            self.there = Count()

        def send(self, payload: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
            sink.put(payload.tobytes())

    end = End()
    _KEPT.append((session, sink, session.declare_subscriber('hop/ack', lambda _: end.there.add())))
    _wait(lambda: sink.matching_status.matching, 'the subscriber')
    return end


_KEPT: Final[list[Any]] = []
"""Sessions end when nobody has them."""

PATHS: Final[dict[str, Callable[[str, dict[str, Any], Log], Sending | None]]] = {
    'own': _own, 'rclpy': _rclpy, 'tcp': _tcp, 'zmq': _zmq, 'zenoh': _zenoh,
}  # fmt: skip


def _fill(connection: socket.socket, buffer: memoryview) -> bool:
    while len(buffer):
        count = connection.recv_into(buffer)
        if count == 0:
            return False
        buffer = buffer[count:]
    return True


def _connect(address: str, port: int) -> socket.socket:
    connection = socket.create_connection((address, port), timeout=PATIENCE_SECONDS)  # the receiver listens already
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _wait(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f'{what} did not come within {seconds:g} s')
        time.sleep(0.02)


# The conversation with bench_hop ---------------------------------------------------------------------------------


def _usage() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open('/proc/self/status', encoding='ascii') as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith('VmHWM'))
    return {'cpu_seconds': used.ru_utime + used.ru_stime, 'peak_bytes': peak * 1024.0}


def _send(end: Sending, request: dict[str, Any]) -> dict[str, Any]:
    """Send ``count`` messages of ``bytes``, with ``in_flight`` at most under way.

    ``gap`` seconds after each; where it is one at a time, after its answer.
    """
    count, size, patience = request['count'], request['bytes'], request['patience']
    random = np.random.default_rng(1)
    payloads = [random.integers(0, 256, size, dtype=np.uint8) for _ in range(2)]
    before = end.there.value
    for number in range(count):
        end.there.wait(before + number - request['in_flight'] + 1, f'message {number}', patience)
        payload = payloads[number % 2].copy()
        STAMP.pack_into(payload.data, 0, number, time.monotonic_ns())
        end.send(payload)
        if request['gap'] > 0:
            if request['in_flight'] == 1:
                end.there.wait(before + number + 1, f'message {number}', patience)
            time.sleep(request['gap'])
    end.there.wait(before + count, 'the last message', patience)
    return {}


def main() -> int:
    """Serve one end until standard input is closed."""
    path, role, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    if path in ('own', 'rclpy'):
        from edge_dnn_partition import ros_env

        ros_env.prepare()
    log = Log()
    end = PATHS[path](role, options, log)
    say = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)
    say.write('{"ready": true}\n')
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if request['do'] == 'send' and end is not None:
            try:
                answer = _send(end, request)
            except TimeoutError as error:
                answer = {'failed': str(error)}
        elif request['do'] == 'report':
            with log.lock:
                answer = {'arrivals': log.arrivals, 'controls': log.controls}
                log.clear()
        publishing = getattr(end, 'publishing', dict)()
        say.write(json.dumps(answer | _usage() | publishing) + '\n')
    from edge_dnn_partition.transport.shared_memory import remove_own

    remove_own()
    os._exit(0)  # a listening thread of a socket or of zmq would keep the process


if __name__ == '__main__':
    sys.exit(main())
