# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Images in encodings that only cv_bridge reads; a stand-in plays it, since it comes with a distribution's ROS alone."""

import sys

import numpy as np
import pytest

from edge_dnn_partition.errors import WireError

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

READS = """
import numpy as np
class CvBridge:
    def imgmsg_to_cv2(self, message, desired):
        if message.encoding != 'nv24' or desired != 'bgr8':
            raise RuntimeError('[%s] is not a color format' % message.encoding)
        return np.full((message.height, message.width, 3), 7, np.uint8)
"""


@pytest.fixture
def bridged(tmp_path, monkeypatch):
    from edge_dnn_partition.nodes.conversions import camera_messages

    def install(body):
        (tmp_path / 'cv_bridge.py').write_text(body)
        monkeypatch.delitem(sys.modules, 'cv_bridge', raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))
        camera_messages._bridge.cache_clear()
        return camera_messages.from_image_message

    yield install
    sys.modules.pop('cv_bridge', None)
    camera_messages._bridge.cache_clear()


def message(encoding, data=bytes(12)):
    from sensor_msgs.msg import Image

    return Image(encoding=encoding, width=2, height=2, step=6, data=data)


def test_cv_bridge_reads_what_this_package_does_not(bridged):
    read = bridged(READS)
    image = read(message('nv24'))
    assert image.encoding == 'bgr8'
    np.testing.assert_array_equal(image.pixels(), np.full((2, 2, 3), 7, np.uint8))
    assert not read(message('bgr8')).pixels().any(), 'what this package reads itself goes past it'


@pytest.mark.parametrize('body', [READS, 'raise ImportError("numpy.core.multiarray failed to import")'])
def test_an_encoding_that_nobody_reads_is_refused(bridged, body):
    read = bridged(body)
    with pytest.raises(WireError, match="'yuv9' is not supported; use"):
        read(message('yuv9'))
