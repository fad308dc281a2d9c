# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A whole small fleet in real processes, with a camera and a watcher, for tests."""

import itertools
from contextlib import contextmanager

import cv2
import numpy as np
import yaml

from edge_dnn_partition.cli.running_fleet import RunningFleet, running_fleet
from edge_dnn_partition.execution.stages.engine import Engine
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.testbed import demo_model

DEVICES = ('pi', 'jetson', 'cloud')


def document(model, preprocessing, parameters, slowdown, power=None, camera=None, postprocessing=None, key=None, processes='one'):
    """Return the fleet file: three emulated devices on fast links."""
    return {
        'fleet': 'trial', 'source': 'pi', 'processes': processes,
        'model': {'path': str(model), 'preprocessing': str(preprocessing), 'postprocessing': postprocessing},
        'devices': {name: {'emulate': {'slowdown': slowdown}, 'power': (power or {}).get(name, {})} for name in DEVICES},
        'links': [{'between': list(pair), 'rate': '400 Mbit/s', 'delay': '1 ms', 'emulate': True}
                  for pair in itertools.combinations(DEVICES, 2)],
        'camera': camera or {'topic': 'image/compressed'}, 'parameters': {'worker': {'profile_runs': 1}, **parameters},
        'security': {'key_file': None if key is None else str(key)},
    }  # fmt: skip


def write_fleet(folder, parameters=None, slowdown=1.0, model=None, **more):
    """Write the fleet file with its preprocessing; return its path."""
    settings = folder / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing('tiny')))
    path = folder / 'fleet.yaml'
    model = model or demo_model.cached('tiny')
    path.write_text(yaml.safe_dump(document(model, settings, parameters or {}, slowdown, **more)))
    return path


def write_one_device_fleet(folder, name):
    """Write the file of a fleet of one device, in a folder of its name."""
    (folder / name).mkdir()
    path = write_fleet(folder / name)
    whole = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(whole | {'fleet': name, 'devices': {'pi': whole['devices']['pi']}, 'links': []}))
    return path


def images(count=4):
    """Return seeded JPEG images."""
    random = np.random.default_rng(5)
    small = (random.integers(0, 256, (6, 8, 3)).astype(np.uint8) for _ in range(count))
    return [CameraImage(cv2.imencode('.jpg', cv2.resize(pixels, (160, 120)))[1].reshape(-1), 'jpeg') for pixels in small]


@contextmanager
def trial_fleet(
    folder, *, parameters=None, slowdown=1.0, power=None, camera=None, shown=None, postprocessing=None, key=None, model=None,
    profiled=True, processes='one',
):  # fmt: skip
    """Run a fleet in real processes; its camera is on and its first results are there.

    :param parameters: by node, over those in the file.
    :param slowdown: of every device.
    :param power: figures by device.
    :param camera: as in the fleet file; a topic.
    :param shown: its images.
    :param postprocessing: as in the fleet file.
    :param key: the file of the fleet's key.
    :param model: None: the demo's, tiny.
    :param profiled: wait until its devices are profiled, too.
    :param processes: as in the fleet file.
    """
    file = write_fleet(
        folder, parameters, slowdown, model, power=power, camera=camera, postprocessing=postprocessing, key=key, processes=processes
    )
    with running_fleet(file, shown or images(), profiled=profiled) as trial:
        try:
            yield trial
        finally:  # pytest shows it where the test fails
            print(*(f'{label}: {line}' for label, line in trial.log), sep='\n')


def check_frames(trial: RunningFleet, folder):
    """Assert that nothing was lost, doubled or out of order, and that results equal the whole model's."""
    status = trial.news.status
    assert (status.lost, status.accepted) == (0, status.delivered + status.in_flight)
    numbers = [frame.frame_number for frame in trial.news.frames]
    assert numbers and numbers == sorted(set(numbers)), 'a frame came twice or out of order'
    engine, preprocessing = Engine(trial.fleet.model.path), Preprocessing.from_yaml(folder / 'preprocessing.yaml')
    entry = trial.model.inputs[0]
    whole = [engine.run({entry: preprocessing.apply(p.data, p.encoding)}) for p in images()]
    for frame in trial.news.frames:
        for name, expected in whole[trial.camera.shown[frame.stamp_ns]].items():
            np.testing.assert_allclose(frame.outputs[name], expected, rtol=1e-4, atol=1e-4)
