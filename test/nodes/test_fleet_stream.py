# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A whole fleet in real processes: frames, results, plan switches, a killed worker, a refused plan, a clean end."""

import itertools
import os
import signal

import cv2
import numpy as np
import pytest
import yaml


def document(model, preprocessing):
    devices = ('pi', 'jetson', 'cloud')
    return {
        'fleet': 'trial', 'source': 'pi', 'model': {'path': str(model), 'preprocessing': str(preprocessing)},
        'devices': {name: {'emulate': {'slowdown': 1.0}} for name in devices},
        'links': [{'between': list(pair), 'rate': '400 Mbit/s', 'delay': '1 ms', 'emulate': True}
                  for pair in itertools.combinations(devices, 2)],
        'camera': {'topic': 'image/compressed'}, 'parameters': {'worker': {'profile_runs': 1}},
    }  # fmt: skip


def test_a_stream_survives_switches_and_a_killed_worker(ros_domain, tmp_path, monkeypatch):
    pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')
    from edge_dnn_partition.cli.demo_run import CameraThread
    from edge_dnn_partition.errors import UserError
    from edge_dnn_partition.graph.model import load_model
    from edge_dnn_partition.nodes.fleet_client import FleetClient
    from edge_dnn_partition.planning.fleet import load_fleet
    from edge_dnn_partition.runtime.engine import Engine
    from edge_dnn_partition.runtime.ledger import Picture
    from edge_dnn_partition.runtime.preprocess import Preprocessing
    from edge_dnn_partition.runtime.processes import fleet_processes
    from edge_dnn_partition.runtime.supervisor import Supervisor
    from edge_dnn_partition.testbed import demo_model

    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    model_path, settings = demo_model.cached('tiny'), tmp_path / 'preprocessing.yaml'
    settings.write_text(yaml.safe_dump(demo_model.preprocessing('tiny')))
    fleet_file = tmp_path / 'fleet.yaml'
    fleet_file.write_text(yaml.safe_dump(document(model_path, settings)))
    fleet, model = load_fleet(fleet_file), load_model(model_path)
    random = np.random.default_rng(5)
    kept = []
    for _ in range(4):
        pixels = cv2.resize(random.integers(0, 256, (6, 8, 3)).astype(np.uint8), (160, 120))
        kept.append(Picture(cv2.imencode('.jpg', pixels)[1].reshape(-1), 'jpeg'))
    half = len(model.layers) // 2
    first, second = f'pi:pre-{half} cloud:{half}-end', f'jetson:pre-{half} cloud:{half}-end'
    log = []
    with Supervisor(dict(os.environ), lambda *line: log.append(line)) as supervisor:
        processes = fleet_processes(fleet, fleet_file)
        for process in processes:
            supervisor.start(process)
        with FleetClient(fleet, name='watcher', keep_outputs=True) as client:
            camera = CameraThread(
                client.camera('/trial/pi/image/compressed'), ((i % 4, kept[i % 4]) for i in itertools.count()), 10.0
            )
            camera.start()
            news = client.news

            def more_frames(count=5, version=0):
                begin = len(news.frames)
                client.wait_for(
                    lambda: sum(f.plan_version >= version for f in news.frames[begin:]) >= count,
                    30.0, f'frames of plan {version} or later: {log[-15:]}')  # fmt: skip

            try:
                more_frames()
                for label in (first, second):
                    client.set_scheduler({'policy': 'fixed', 'fixed_plan': label})
                    wanted = label.replace('end', str(len(model.layers)))
                    client.wait_for(lambda wanted=wanted: client.plan.label() == wanted, 20.0, label)
                    more_frames(version=client.plan.version)
                with pytest.raises(UserError, match='fixed_plan|plan'):
                    client.set_scheduler({'fixed_plan': 'pi:pre-1 nowhere:1-end'})
                more_frames()
                victim = 'cloud/worker'
                supervisor.signal(victim, signal.SIGKILL)
                client.wait_for(lambda: 'cloud' not in client.plan.devices, 20.0, 'a plan without the dead worker')
                more_frames(version=client.plan.version)
            finally:
                camera.stop()

            def settled():
                status = news.status
                return status is not None and status.in_flight == 0 and status.delivered == len(news.frames)

            client.wait_for(settled, 20.0, 'the last frames')
            status, frames = news.status, list(news.frames)
        codes = {**supervisor.ended(), **supervisor.stop()}
    assert status.accepted == status.delivered + status.in_flight
    assert status.lost == 0
    numbers = [frame.frame_id for frame in frames]
    assert numbers == sorted(set(numbers)), 'a frame came twice or out of order'
    assert codes.pop(victim) == -signal.SIGKILL
    assert set(codes.values()) == {0}, (codes, log[-30:])
    assert len(codes) == len(processes) - 1
    engine, preprocessing = Engine(model_path), Preprocessing.from_yaml(settings)
    whole = [engine.run({model.inputs[0]: preprocessing.apply(p.data, p.encoding)}) for p in kept]
    for frame in frames:
        for name, expected in whole[camera.shown[frame.stamp_ns]].items():
            np.testing.assert_allclose(frame.outputs[name], expected, rtol=1e-4, atol=1e-4)
    assert len({plan.version for _, plan in news.plans}) >= 3
