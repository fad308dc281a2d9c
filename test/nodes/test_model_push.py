# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet gets another model while it streams, and the one before back; what cannot be is refused and changes nothing."""

import re

import numpy as np
import onnx
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built: run make setup')

from onnx import numpy_helper
from trial_fleet import images, trial_fleet

from edge_dnn_partition.cli.main import main
from edge_dnn_partition.execution.stages.engine import Engine
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.testbed import demo_model


def with_other_weights(path):
    model = onnx.load(demo_model.cached('tiny'))
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.size > 1:
            tensor.CopyFrom(numpy_helper.from_array(value * np.float32(0.9), tensor.name))
    onnx.save(model, path)


@pytest.mark.usefixtures('ros_domain')
def test_another_model_comes_into_force_and_goes_again(tmp_path, capfd):
    with_other_weights(tmp_path / 'other.onnx')
    (tmp_path / 'broken.onnx').write_bytes(b'no model')
    with trial_fleet(tmp_path, profiled=False) as trial:
        file = str(tmp_path / 'fleet.yaml')
        preprocessing, entry = Preprocessing.from_yaml(tmp_path / 'preprocessing.yaml'), trial.model.inputs[0]
        values = [{entry: preprocessing.apply(image.data, image.encoding)} for image in images()]

        def latest_is_of(model):
            trial.more_frames(2)
            frame = trial.news.frames[-1]
            expected = Engine(model).run(values[trial.camera.shown[frame.stamp_ns]])
            return all(np.allclose(frame.outputs[name], value, rtol=1e-4, atol=1e-4) for name, value in expected.items())

        first = trial.fleet.model.path
        assert latest_is_of(first)
        assert main(['model', 'push', str(tmp_path / 'broken.onnx'), '--fleet', file]) == 1
        assert 'is not an ONNX file' in capfd.readouterr().out
        assert main(['model', 'push', str(tmp_path / 'other.onnx'), '--fleet', file]) == 0
        assert re.search(r'^other.onnx \(\w{12}…\) comes into force$', capfd.readouterr().out, re.MULTILINE)
        trial.client.wait_for(lambda: latest_is_of(tmp_path / 'other.onnx'), 30.0, 'results of the new model')
        assert main(['model', 'push', '--back', '--fleet', file]) == 0
        trial.client.wait_for(lambda: latest_is_of(first), 30.0, 'results of the model before')
        numbers = [frame.frame_number for frame in trial.news.frames]
        assert numbers == sorted(set(numbers))
        assert all(frame.delivered for frame in trial.news.frames)
