# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A whole small fleet in real processes, with a camera and a watcher, for tests."""

import itertools
import os
from contextlib import contextmanager

import cv2
import numpy as np
import yaml

from edge_dnn_partition.cli.demo_run import CameraThread
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.nodes.fleet_client import FleetClient
from edge_dnn_partition.planning.fleet import load_fleet
from edge_dnn_partition.runtime.engine import Engine
from edge_dnn_partition.runtime.ledger import Picture
from edge_dnn_partition.runtime.preprocess import Preprocessing
from edge_dnn_partition.runtime.processes import fleet_processes
from edge_dnn_partition.runtime.supervisor import Supervisor
from edge_dnn_partition.testbed import demo_model

DEVICES = ('pi', 'jetson', 'cloud')


def document(model, preprocessing):
    """Return the fleet file: three emulated devices, as fast as this machine, on fast links."""
    return {
        'fleet': 'trial', 'source': 'pi', 'model': {'path': str(model), 'preprocessing': str(preprocessing)},
        'devices': {name: {'emulate': {'slowdown': 1.0}} for name in DEVICES},
        'links': [{'between': list(pair), 'rate': '400 Mbit/s', 'delay': '1 ms', 'emulate': True}
                  for pair in itertools.combinations(DEVICES, 2)],
        'camera': {'topic': 'image/compressed'}, 'parameters': {'worker': {'profile_runs': 1}},
    }  # fmt: skip


def write_fleet(folder):
    """Write the fleet file with its preprocessing; return its path."""
    settings = folder / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing('tiny')))
    path = folder / 'fleet.yaml'
    path.write_text(yaml.safe_dump(document(demo_model.cached('tiny'), settings)))
    return path


def pictures(count=4):
    """Return seeded JPEG pictures."""
    random = np.random.default_rng(5)
    small = (random.integers(0, 256, (6, 8, 3)).astype(np.uint8) for _ in range(count))
    return [Picture(cv2.imencode('.jpg', cv2.resize(pixels, (160, 120)))[1].reshape(-1), 'jpeg') for pixels in small]


class TrialFleet:
    """A fleet whose stream runs."""

    def __init__(self, fleet_file, supervisor, client, log):
        self.fleet = client.fleet
        self.model = load_model(self.fleet.model.path)
        self.supervisor, self.client, self.log = supervisor, client, log
        self.news = client.news
        self.kept = pictures()
        stream = ((i % len(self.kept), self.kept[i % len(self.kept)]) for i in itertools.count())
        self.camera = CameraThread(client.camera('/trial/pi/image/compressed'), stream, 10.0)
        self._settings = fleet_file.parent / 'preprocessing.yaml'

    def more_frames(self, count=5, version=0):
        """Wait for so many new results of a plan or later ones."""
        begin = len(self.news.frames)
        self.client.wait_for(
            lambda: sum(f.plan_version >= version for f in self.news.frames[begin:]) >= count,
            30.0, f'frames of plan {version} or later: {self.log[-15:]}')  # fmt: skip

    def follow(self, label):
        """Make the fleet follow a plan, and wait until it does."""
        self.client.set_scheduler({'policy': 'fixed', 'fixed_plan': label})
        wanted = label.replace('end', str(len(self.model.layers)))
        self.client.wait_for(lambda: self.client.plan.label() == wanted, 20.0, label)
        self.more_frames(version=self.client.plan.version)

    def settle(self):
        """Stop the camera and wait for the last results; return the source's books."""
        self.camera.stop()

        def settled():
            status = self.news.status
            return status is not None and status.in_flight == 0 and status.delivered == len(self.news.frames)

        self.client.wait_for(settled, 20.0, 'the last frames')
        return self.news.status

    def check_frames(self):
        """Assert that nothing was lost, doubled or out of order, and that results equal the whole model's."""
        status = self.news.status
        assert (status.lost, status.accepted) == (0, status.delivered + status.in_flight)
        numbers = [frame.frame_id for frame in self.news.frames]
        assert numbers and numbers == sorted(set(numbers)), 'a frame came twice or out of order'
        engine, preprocessing = Engine(self.fleet.model.path), Preprocessing.from_yaml(self._settings)
        entry = self.model.inputs[0]
        whole = [engine.run({entry: preprocessing.apply(p.data, p.encoding)}) for p in self.kept]
        for frame in self.news.frames:
            for name, expected in whole[self.camera.shown[frame.stamp_ns]].items():
                np.testing.assert_allclose(frame.outputs[name], expected, rtol=1e-4, atol=1e-4)


@contextmanager
def trial_fleet(folder):
    """Run a fleet in real processes; its camera is on and its first results are there."""
    fleet_file = write_fleet(folder)
    fleet, log = load_fleet(fleet_file), []
    with Supervisor(dict(os.environ), lambda *line: log.append(line)) as supervisor:
        for process in fleet_processes(fleet, fleet_file):
            supervisor.start(process)
        with FleetClient(fleet, name='watcher', keep_outputs=True) as client:
            trial = TrialFleet(fleet_file, supervisor, client, log)
            trial.camera.start()
            try:
                trial.more_frames()
                yield trial
            finally:
                trial.camera.stop()
