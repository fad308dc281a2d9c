# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What an idle node has loaded: a library of many megabytes that none of its functions has called is not in its memory."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip('rclpy')

HEAVY = {
    'PIL', 'aiohttp', 'asyncio', 'cv2', 'google.protobuf', 'lz4', 'matplotlib', 'ml_dtypes', 'numpy.ma', 'onnx', 'onnxruntime',
    'psutil', 'pydantic', 'rich', 'scipy', 'sklearn', 'torch', 'unittest', 'zstandard',
}  # fmt: skip
"""What took more than a megabyte, or half a tenth of a second, to import."""

FEW = {'pydantic'}
"""Reads the fleet file."""
NODES = {
    'device_monitor': FEW, 'visualisation': FEW, 'dashboard': FEW, 'scheduler': FEW, 'frame_source': FEW,
    'worker': FEW | {'onnxruntime', 'psutil'},
}  # fmt: skip
READERS = ('dashboard', 'scheduler', 'frame_source', 'worker')
"""They read the fleet's model, which was prepared before."""

_START = """
import json, sys
from importlib import import_module
import_module('edge_dnn_partition.nodes.' + sys.argv[1])
if sys.argv[2]:
    from edge_dnn_partition.graph.model import load_model
    from edge_dnn_partition.inputs.preprocess import Preprocessing
    model = load_model(sys.argv[2])
    Preprocessing.from_yaml(sys.argv[3]).check(model.tensors[model.inputs[0]])
print(json.dumps([name for name in json.loads(sys.argv[4]) if name in sys.modules]))
"""


def loaded(node, *files):
    """Return which heavy modules a process holds that has started a node as far as it can without a network."""
    command = [sys.executable, '-c', _START, node, *map(str, files or ('', '')), json.dumps(sorted(HEAVY))]
    environment = os.environ | {'PYTHONSAFEPATH': '1'}
    return set(json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout))


def test_an_idle_node_has_loaded_what_it_uses(tmp_path):
    import yaml

    from edge_dnn_partition.graph.model import load_model
    from edge_dnn_partition.testbed import demo_model

    model = load_model(demo_model.cached('tiny'))
    preprocessing = tmp_path / 'preprocessing.yaml'
    preprocessing.write_text(yaml.safe_dump(demo_model.preprocessing('tiny')))
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(NODES, pool.map(
            lambda node: loaded(node, *((model.source_path, preprocessing) if node in READERS else ())), NODES), strict=True))  # fmt: skip
    assert found == NODES
