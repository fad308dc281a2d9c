# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet without a camera, driven by calls alone: those of the example package, built by colcon, and of a script."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / 'examples' / 'my_robot_node'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('own')


@pytest.fixture(scope='module')
def fleet(ros_domain, folder):
    """A watcher of a fleet whose file names no camera, and its processes."""
    from trial_fleet import write_fleet

    from edge_dnn_partition.deployment.processes import fleet_processes
    from edge_dnn_partition.deployment.supervisor import Supervisor
    from edge_dnn_partition.nodes.clients.fleet_client import FleetClient
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder / 'cache'))
        (folder / 'labels.txt').write_text('\n'.join(f'thing {index}' for index in range(8)))
        settings = {'kind': 'classification', 'labels': 'labels.txt', 'top': 1}
        file = write_fleet(folder, camera={'compressed': False}, postprocessing=settings, processes='each')
        loaded, log = load_fleet(file), []
        with Supervisor(dict(os.environ), lambda *line: log.append(line)) as supervisor:
            for process in fleet_processes(loaded, file):
                supervisor.start(process)
            with FleetClient(loaded, name='watcher', keep_outputs=True) as client:
                client.supervisor = supervisor
                client.wait_for(lambda: client.plan is not None, 60.0, 'the first plan')
                yield client
            print(*(f'{label}: {line}' for label, line in log), sep='\n')


@pytest.fixture(scope='module')
def asker(fleet):
    from edge_dnn_partition.client import InferenceClient

    return InferenceClient(fleet.node, fleet='trial')  # spun by an executor that takes no coroutines


def image():
    return np.random.default_rng(3).integers(0, 256, (90, 120, 3)).astype(np.uint8)


def test_the_example_package_says_what_it_sees(fleet, folder):
    """Built and sourced as in a workspace of its own."""
    pytest.importorskip('colcon_core', reason='colcon is not installed')
    cv2.imwrite(str(folder / 'photo.png'), image())
    build = [sys.executable, '-m', 'colcon', '--log-base', 'log', 'build', '--paths', str(EXAMPLE)]
    environment = os.environ | {'COLCON_HOME': str(folder), 'PYTHONPATH': ''}
    done = subprocess.run(build, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = 'source install/setup.bash && exec install/my_robot_node/lib/my_robot_node/look "$@"'
    arguments = ['--ros-args', '-p', 'fleet:=trial', '-p', f'image:={folder}/photo.png', '-p', 'period:=0.1']
    output = folder / 'look.log'
    with output.open('wb') as stream:
        look = subprocess.Popen(['bash', '-c', run, 'look', *arguments], cwd=folder, env=environment, stdout=stream, stderr=stream)
    try:
        fleet.wait_for(lambda: output.read_text().count(']: frame ') > 2 or look.poll() is not None, 60.0, 'what it sees')
        look.send_signal(signal.SIGINT)
        look.wait(10.0)
    finally:
        look.kill()
    text = output.read_text()
    assert "['thing " in text and 'plan ' in text and 'no result' not in text, text
    assert look.returncode == 0 and 'Traceback' not in text, text
    assert not list(EXAMPLE.rglob('*.egg-info')), 'the checkout stays as it is'


def test_the_readmes_node_asks_about_what_it_sees(fleet, folder):
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from edge_dnn_partition.nodes.conversions.camera_messages import image_message

    (code,) = [block for block in re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL) if 'MyNode' in block]
    said = []
    names = {'print': lambda *words: said.append(words)}
    exec(code.replace("fleet='robot'", "fleet='trial'"), names)
    node, executor = names['MyNode'](), SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        publisher = fleet.node.create_publisher(Image, '/gripper/image_raw', 1)
        fleet.wait_for(lambda: publisher.get_subscription_count() > 0, 20.0, 'its subscription')
        publisher.publish(image_message(image(), 'rgb8', Header()))
        fleet.wait_for(lambda: said, 30.0, 'what it says')
    finally:
        executor.shutdown()
        thread.join(5.0)
        node.destroy_node()
    classes, detections, outputs, latency = said[0]
    assert classes[0].label.startswith('thing ') and detections == () and sorted(outputs) == ['map', 'scores'] and latency > 0


def test_calls_alone_drive_the_fleet(fleet, asker):
    from edge_dnn_partition.execution.stages.engine import Engine
    from edge_dnn_partition.inputs.preprocess import Preprocessing

    model = fleet.fleet.model
    results = [asker.infer_and_wait(image()) for _ in range(3)]
    engine, preprocessing = Engine(model.path), Preprocessing.from_yaml(model.preprocessing)
    whole = engine.run({engine.inputs[0].name: preprocessing.apply(image(), 'rgb8')})
    for result in results:
        for name, value in whole.items():
            np.testing.assert_allclose(result.outputs[name], value, rtol=1e-4, atol=1e-4)
    fleet.wait_for(lambda: fleet.news.status.image_encoding == 'rgb8' and not fleet.news.status.in_flight, 20.0, 'the books')
    status = fleet.news.status
    assert (status.lost, status.accepted, status.image_bytes) == (0, status.delivered, image().nbytes)


def test_a_source_that_is_deactivated_refuses_and_goes_on_afterwards(fleet, asker):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    from edge_dnn_partition.client import InferenceRefusedError

    def change(number):
        request = ChangeState.Request(transition=Transition(id=number))
        assert fleet.call(ChangeState, '/trial/pi/frame_source/change_state', request).success

    change(Transition.TRANSITION_DEACTIVATE)
    with pytest.raises(InferenceRefusedError, match='frame_source is not active; activate it first'):
        asker.infer_and_wait(image())
    change(Transition.TRANSITION_ACTIVATE)
    assert asker.infer_and_wait(image()).frame_number


def test_a_source_that_says_nothing(fleet, asker):
    from edge_dnn_partition.client import InferenceTimeoutError

    fleet.supervisor.signal('pi/frame_source', signal.SIGSTOP)
    try:
        with pytest.raises(InferenceTimeoutError, match='no answer of /trial/infer within 0.3 s'):
            asker.infer_and_wait(image(), timeout=0.3)
    finally:
        fleet.supervisor.signal('pi/frame_source', signal.SIGCONT)
    assert asker.infer_and_wait(image()).frame_number


def test_a_source_that_ends_answers_those_who_wait(fleet, asker):
    from edge_dnn_partition.client import InferenceLostError, InferenceRefusedError

    labels = [label for label in fleet.supervisor.running if label.endswith('/worker')]
    call = asker.infer_and_wait(image())
    fleet.wait_for(lambda: fleet.news.frames[-1].frame_number >= call.frame_number and not fleet.news.status.in_flight, 20.0, 'quiet')
    begin = fleet.news.status.stamp
    for label in labels:
        fleet.supervisor.signal(label, signal.SIGSTOP)
    try:
        calls = [asker.begin(image(), timeout=30.0) for _ in range(6)]
        fleet.wait_for(lambda: fleet.news.status.stamp != begin and fleet.news.status.in_flight, 20.0, 'a frame under way')
        fleet.supervisor.stop(['pi/frame_source'])
        fleet.wait_for(lambda: all(call.done() for call in calls), 40.0, 'every answer')
    finally:
        for label in labels:
            fleet.supervisor.signal(label, signal.SIGCONT)
    kinds = [type(call.exception()) for call in calls]
    assert set(kinds) == {InferenceLostError, InferenceRefusedError}, kinds
    assert any('the frame source is being stopped' in str(call.exception()) for call in calls)
