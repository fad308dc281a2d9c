# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A camera that goes away is tried again: its thread does not end."""

import threading
from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

import cv2
import numpy as np
from support import wait_until

from edge_dnn_partition.nodes.frames import camera as module
from edge_dnn_partition.nodes.frames.camera import CameraReader
from edge_dnn_partition.planning.fleet.inputs import Camera


class Node:
    """As much of a frame source as the feed needs."""

    def __init__(self):
        self.active, self.ending, self.said = True, threading.Event(), []
        self.params = SimpleNamespace(text=lambda _: '', whole=lambda _: 90, number=lambda _: 0.0)
        self.repeats = SimpleNamespace(warning=lambda kind, text: self.said.append((kind, text)))


def test_images_that_go_away_and_come_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_FIRST_WAIT_SECONDS', 0.01)
    folder, node, offered = tmp_path / 'images', Node(), []
    feed = CameraReader(node, {'x': Camera(images=folder, rate=100.0)}, offered.append)
    feed.start()
    try:
        wait_until(lambda: len(node.said) > 1, 'two attempts')
        assert not offered
        assert all(kind == 'camera' and 'contains no image' in text for kind, text in node.said)
        folder.mkdir()
        partial = tmp_path / 'image.jpg'
        cv2.imwrite(str(partial), np.zeros((8, 8, 3), np.uint8))
        partial.rename(folder / 'image.jpg')
        wait_until(lambda: offered, 'the first image')
        (folder / 'image.jpg').unlink()
        before = len(node.said)
        wait_until(lambda: len(node.said) > before, 'the end of the images')
    finally:
        feed.stop()
