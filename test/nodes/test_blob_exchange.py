# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Files by their hash from a device's monitor, over real DDS and sealed."""

import hashlib
import random
import time

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built: run make setup')

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from support import spin_until

from edge_dnn_partition.deployment.fleet_key import read_key
from edge_dnn_partition.nodes.core.seals import Seals, refuse_by
from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.nodes.transport.blob_client import BlobClient
from edge_dnn_partition.transport.blobs import BlobStore

FLEET = """\
fleet: files
source: pi
devices: {pi: {threads: 1}}
security: {key_file: key}
"""


def test_a_monitor_gives_what_its_device_has(nodes, context, tmp_path):
    (tmp_path / 'key').write_text('ab' * 32 + '\n')
    (tmp_path / 'key').chmod(0o600)
    (tmp_path / 'fleet.yaml').write_text(FLEET)
    there, here = BlobStore(tmp_path / 'cache' / 'blobs'), BlobStore(tmp_path / 'here')
    there.folder.mkdir(parents=True)
    here.folder.mkdir()
    content = random.Random(1).randbytes(2_000_000)
    sha256 = hashlib.sha256(content).hexdigest()
    (there.folder / sha256).write_bytes(content)
    monitor = nodes.start_node(
        'device_monitor', '/files/box', fleet_file=str(tmp_path / 'fleet.yaml'),
        environment={'EDGE_DNN_PARTITION_CACHE': str(tmp_path / 'cache')},
    )  # fmt: skip
    node = Node('asking', namespace='/files/pi', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    topics = Topics('files', 'pi')
    client = BlobClient(Seals(node, topics, read_key(tmp_path / 'key'), refuse_by(node.get_logger())), topics, here)
    node.create_timer(0.01, client.turn)
    ends, begun = [], time.monotonic()
    client.fetch(sha256, len(content), ends.append)
    spin_until(executor, lambda: ends, 'the file', alive=[monitor])
    assert ends[0].done
    assert here.find(sha256).path.read_bytes() == content
    assert client.idle
    assert time.monotonic() - begun < 10
    executor.shutdown()
    node.destroy_node()
    monitor.assert_clean_end()
