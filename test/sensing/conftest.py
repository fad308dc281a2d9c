# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of sensing share: trees of proc and sysfs as devices have them, in trees.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # trees.py

from trees import DEVICES, write_tree


@pytest.fixture
def device(tmp_path):
    """Return a function that writes a device's tree, changed by further files, and returns its root."""

    def make(name, **changes):
        more = {path.replace('__', '/'): text for path, text in changes.items()}
        return write_tree(tmp_path / name, DEVICES[name] | more)

    return make
