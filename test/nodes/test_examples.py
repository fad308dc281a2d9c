# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The example packages: built by colcon, their fleets played on this machine with small models, their nodes beside them."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

EXAMPLES = Path(__file__).parents[2] / 'examples'
FLEETS = {
    'detector_pi_jetson': ('detector_small', 64), 'vit_robot_cloud': ('vit_small', 32), 'battery_saver': ('mobilenetv2_small', 64),
    'policy_arm': ('act_small', 64),
}  # fmt: skip
JOINTS = ['shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'gripper']


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """The example packages, built in a workspace of their own; its folder."""
    pytest.importorskip('colcon_core', reason='colcon is not installed')
    folder = tmp_path_factory.mktemp('examples')
    for name in FLEETS:
        shutil.copytree(EXAMPLES / name, folder / 'src' / name)
    build = [sys.executable, '-m', 'colcon', '--log-base', 'log', 'build']
    environment = os.environ | {'COLCON_HOME': str(folder), 'PYTHONPATH': ''}
    done = subprocess.run(build, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@contextmanager
def node(built, package, name, **parameters):
    """Run a node of a package that was built, as `ros2 run` does."""
    run = f'source install/setup.bash && exec install/{package}/lib/{package}/{name} "$@"'
    arguments = [word for key, value in parameters.items() for word in ('-p', f'{key}:={value}')]
    process = subprocess.Popen(
        ['bash', '-c', run, name, '--ros-args', *arguments], cwd=built, env=os.environ | {'PYTHONPATH': ''},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield process
        assert process.poll() is None, process.stdout.read()
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=10)[0]
        assert process.returncode == 0 and 'Traceback' not in text, text
    finally:
        process.kill()
        process.wait()


@contextmanager
def fleet(built, package, **changes):
    """Play a package's fleet on this machine with a small model in place of the full-size one."""
    pytest.importorskip('torch', reason='torch is not installed')
    from edge_dnn_partition.cli.running_fleet import running_fleet
    from edge_dnn_partition.inputs.frame import CameraImage

    model, side = FLEETS[package]
    folder = built / f'fleet_{package}'
    shutil.copytree(built / 'install' / package / 'share' / package / 'config', folder)
    subprocess.run([sys.executable, EXAMPLES / 'make_model.py', model, folder / 'model.onnx'], check=True, timeout=200)
    for name, values in {'preprocessing.yaml': {'width': side, 'height': side}, 'one_machine.yaml': changes}.items():
        document = yaml.safe_load((folder / name).read_text())
        (folder / name).write_text(yaml.safe_dump(document | values))
    pixels = np.random.default_rng(5).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    shown = [] if package == 'policy_arm' else [CameraImage(cv2.imencode('.jpg', cv2.resize(pixels, (640, 480)))[1].reshape(-1), 'jpeg')]
    with running_fleet(folder / 'one_machine.yaml', shown) as running:
        try:
            yield running
            status = running.settle()
            assert (status.lost, status.accepted) == (0, status.delivered + status.expired)
        finally:
            print(*(f'{label}: {line}' for label, line in running.log), sep='\n')


@pytest.mark.parametrize('package', FLEETS)
def test_its_fleet_files_fit_each_other(package):
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    real, played = (load_fleet(EXAMPLES / package / 'config' / name) for name in ('robot.yaml', 'one_machine.yaml'))
    assert list(real.devices) == list(played.devices) and played.emulated and not real.emulated
    assert (real.source, real.objective, real.constraints) == (played.source, played.objective, played.constraints)
    assert (real.model.postprocessing, real.inputs) == (played.model.postprocessing, played.inputs)


@pytest.mark.parametrize('package', ['detector_pi_jetson', 'policy_arm'])
def test_the_launch_file_hands_on_what_the_included_one_asks_for(package):
    """The `launch` package does not look at the arguments of whoever includes a file."""
    text = (EXAMPLES / package / 'launch' / 'robot.launch.py').read_text()
    root = EXAMPLES.parent
    included = (root / 'launch' / 'device.launch.py').read_text()
    shared = (root / 'edge_dnn_partition' / 'nodes' / 'launching.py').read_text().partition('def tool_arguments')[0]
    to_join = {'key_file', 'certificates', 'router', 'site'}  # of use without a fleet file, which the examples have
    asked = set(re.findall(r"DeclareLaunchArgument\(\s*'(\w+)'", included + shared)) - to_join
    assert asked >= {'fleet_file', 'device', 'scheduler', 'respawn'}
    assert asked == set(re.findall(r"\('(\w+)', LaunchConfiguration\(", text))
    assert 'generate_launch_description' in {part.name for part in ast.parse(text).body if isinstance(part, ast.FunctionDef)}


def test_the_detectors_boxes_turn_the_robot(ros_domain, built):
    from edge_dnn_partition.msg import Detections
    from geometry_msgs.msg import Twist

    with fleet(built, 'detector_pi_jetson') as running, node(built, 'detector_pi_jetson', 'steer', gain=2.0):
        boxes, turns = [], []
        running.client.node.create_subscription(Detections, '/robot/detections', lambda m: boxes.append(m.detections), 1)
        running.client.node.create_subscription(Twist, '/cmd_vel', lambda m: turns.append(m.angular.z), 1)
        running.client.wait_for(lambda: turns and boxes and boxes[-1], 40.0, 'a box and a turn')
        best = boxes[-1][0]
        expected = 2.0 * (320 - (best.left + best.right) / 2) / 320
        running.client.wait_for(lambda: any(abs(turn - expected) < 1e-6 for turn in turns), 20.0, f'a turn of {expected:.3f} rad/s')
        assert best.what.score >= 0.25


def test_no_image_leaves_the_robot_for_the_transformer(ros_domain, built):
    with fleet(built, 'vit_robot_cloud') as running:
        assert running.client.plan.stages[0].preprocess and running.client.plan.stages[0].device == 'robot'
        found = []
        from edge_dnn_partition.msg import Classification

        running.client.node.create_subscription(Classification, '/robot/classification', found.append, 1)
        running.client.wait_for(lambda: found, 20.0, 'a classification')
        assert len(found[0].classes) == 3


def test_a_battery_that_runs_low_spares_the_rover(ros_domain, built):
    with fleet(built, 'battery_saver') as running:
        running.follow('rover:pre-end')
        running.client.set_scheduler({'policy': 'auto', 'fixed_plan': '', 'most_slowdown': 100.0})
        with node(built, 'battery_saver', 'play_battery', begin=60.0, end=5.0, seconds=2.0):
            running.client.wait_for(lambda: 'rover' not in running.client.plan.devices, 40.0, 'a plan without the rover')
        assert any('battery' in plan.reason for _, plan in running.news.plans)


def test_a_policy_moves_the_arm_and_goes_on_without_its_server(ros_domain, built):
    from sensor_msgs.msg import JointState
    from trajectory_msgs.msg import JointTrajectory

    def seconds(part):
        return part.sec + part.nanosec * 1e-9

    with node(built, 'policy_arm', 'play_arm'), fleet(built, 'policy_arm') as running:
        client, trajectories, states = running.client, [], []
        client.node.create_subscription(JointTrajectory, '/policy/actions', lambda m: trajectories.append((m, time.time())), 10)
        client.node.create_subscription(JointState, '/joint_states', lambda m: states.append(list(m.position)), 10)
        client.wait_for(lambda: len(trajectories) >= 10, 30.0, 'trajectories')
        for message, at in trajectories:
            age, first, last = at - seconds(message.header.stamp), *(seconds(message.points[n].time_from_start) for n in (0, -1))
            assert message.joint_names == JOINTS and 0 < age < 1.7 and last == pytest.approx(49 / 30)
            assert first < age + 1 / 30 + 0.01 and len(message.points) == round((last - first) * 30) + 1
        client.wait_for(lambda: np.abs(states[-1]).max() > 0.05, 20.0, 'a movement')
        assert np.abs(np.diff(states, axis=0)).max() < 0.1
        client.emulate({}, {('arm', 'server'): (100.0, 0.005)})
        cut = time.time()
        client.wait_for(
            lambda: sum(seconds(m.header.stamp) > cut + 1.0 for m, _ in trajectories) >= 10, 30.0, 'trajectories without the server'
        )
        client.emulate({}, {('arm', 'server'): (5e6, 0.005)})
