# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Two robots with one fleet file on one network; one is brought up and down by a lifecycle manager, in odd orders."""

import itertools

import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def test_two_robots_with_one_file_do_not_meet_and_come_up_and_down_in_any_order(nodes, tmp_path):
    from diagnostic_msgs.msg import DiagnosticArray
    from edge_dnn_partition.msg import Heartbeat, Result
    from lifecycle_manager import Manager
    from std_srvs.srv import Trigger
    from trial_fleet import check_frames, images, write_one_device_fleet

    from edge_dnn_partition.cli.running_fleet import CameraThread, running_fleet
    from edge_dnn_partition.nodes.core import qos

    file = write_one_device_fleet(tmp_path, 'left')
    runs = {'worker': {'profile_runs': 1}}  # as in the left fleet, whose profile is then taken
    for node in ('frame_source', 'worker'):
        nodes.start_node(node, '/right/pi', fleet_file=file, autostart=False, **runs.get(node, {}))
    nodes.start_node('scheduler', '/right', fleet_file=file, autostart=False)
    results, beats, hardware = [], [], set()
    with running_fleet(file, images()) as trial:
        client = trial.client
        client.node.create_subscription(Result, '/right/result', results.append, qos.RESULT)
        client.node.create_subscription(
            DiagnosticArray, '/diagnostics', lambda array: hardware.update(status.hardware_id for status in array.status), 10
        )
        for fleet in ('left', 'right'):
            client.node.create_subscription(Heartbeat, f'/{fleet}/heartbeat', beats.append, qos.heartbeat_reader())
        shots = ((0, image) for image in itertools.cycle(images()))
        camera = CameraThread(client.camera('/right/pi/image/compressed'), shots, 10.0)
        camera.start()
        manager = Manager(client, {'source': '/right/pi/frame_source', 'worker': '/right/pi/worker', 'scheduler': '/right/scheduler'})

        def more_results(count=5):
            begin = len(results)
            client.wait_for(lambda: len(results) >= begin + count, 30.0, "the right fleet's results")

        try:
            manager.go('source', 'configure', 'activate')
            manager.go('scheduler', 'configure', 'activate')
            manager.go('worker', 'configure', 'activate')
            more_results()
            for fleet, topic in itertools.product(('left', 'right'), ('tensors', 'results', 'receipts')):
                name = f'/{fleet}/pi/{topic}'
                ends = [*client.node.get_publishers_info_by_topic(name), *client.node.get_subscriptions_info_by_topic(name)]
                assert ends, name
                assert {end.node_namespace for end in ends} == {f'/{fleet}/pi'}, name
            assert {result.status for result in results} == {Result.OK}
            assert {beat.device for beat in beats} == {'pi'}
            assert not {beat.last_refusal for beat in beats if beat.refused}
            client.wait_for(lambda: len(hardware) == 4, 10.0, f'diagnostics of both, not {hardware}')
            assert hardware == {'left', 'left/pi', 'right', 'right/pi'}
            for folder, form in (('plans', '{}-pi-worker.plan'), ('frames', '{}-pi.journal'), ('scheduler', '{}.json')):
                assert all((tmp_path / 'cache' / folder / form.format(fleet)).exists() for fleet in ('left', 'right')), folder
            manager.go('worker', 'deactivate', 'cleanup')
            manager.go('scheduler', 'deactivate')
            answer = client.call(Trigger, '/right/replan')
            assert (answer.success, answer.message) == (False, 'scheduler is not active; activate it first')
            manager.go('scheduler', 'cleanup')
            manager.go('source', 'deactivate')
            manager.go('scheduler', 'configure')
            manager.go('worker', 'configure', 'activate')
            manager.go('source', 'activate')
            manager.go('scheduler', 'activate')
            more_results()
        finally:
            camera.stop()
            print(*(process.output for process in nodes.all), sep='\n')  # pytest shows it where the test fails
        trial.more_frames(5)
        trial.settle()
    check_frames(trial, tmp_path / 'left')
    for process in nodes.all:
        process.assert_clean_end()


def test_a_topic_is_remapped(nodes, context):
    from edge_dnn_partition.msg import Telemetry
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from support import ros_arguments, spin_until

    from edge_dnn_partition.nodes.core import qos

    heard = []
    node = Node('listener', context=context)
    node.create_subscription(Telemetry, '/elsewhere/telemetry', heard.append, qos.TELEMETRY)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    monitor = nodes.start(
        '-m', 'edge_dnn_partition.nodes', 'device_monitor', *ros_arguments('/lab/pi'),
        '-r', '/lab/telemetry:=/elsewhere/telemetry',
    )  # fmt: skip
    spin_until(executor, lambda: heard, 'telemetry under its new name', alive=[monitor])
    assert heard[0].device == 'pi'
    monitor.assert_clean_end()
    executor.shutdown()
    node.destroy_node()
