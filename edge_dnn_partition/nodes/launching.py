# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What this package's launch files share: their arguments, and a fleet's processes as launch actions.

Only launch files import this: the `launch` and `launch_ros` packages come with a distribution's ROS.
"""

import functools
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from launch.actions import DeclareLaunchArgument, EmitEvent
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.logging import get_logger
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

from edge_dnn_partition.deployment.processes import TOOLS, NodeProcess
from edge_dnn_partition.deployment.upkeep import REFUSED
from edge_dnn_partition.deployment.watchdog import Watchdog
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.nodes.core.topics import NAME_VARIABLE
from edge_dnn_partition.planning.fleet.fleet import Fleet, load_fleet
from launch import LaunchContext

_RESPAWN_SECONDS = 2.0
_LOOK_SECONDS = 0.5
_SWITCH = ('true', 'false')


def file_argument() -> DeclareLaunchArgument:
    """Return the argument for the fleet file, where there must be one."""
    return DeclareLaunchArgument('fleet_file', description='the fleet file: devices, links, model')


def fleet_arguments() -> list[DeclareLaunchArgument]:
    """Return what every launch file asks for, beside the fleet file."""
    return [
        DeclareLaunchArgument(
            'fleet', default_value=EnvironmentVariable(NAME_VARIABLE, default_value=''),
            description="the fleet's name, instead of the file's: many robots have one file",
        ),
        DeclareLaunchArgument(
            'params_file', default_value='', description="a ROS parameter file; it outweighs the fleet file's parameters"
        ),
        DeclareLaunchArgument(
            'autostart', default_value='true', choices=_SWITCH,
            description='the nodes become active by themselves; false: a lifecycle manager or `ros2 lifecycle set` does it',
        ),
        DeclareLaunchArgument(
            'respawn', default_value='false', choices=_SWITCH,
            description='start a process anew, after 2 s, that has ended or hangs',
        ),
        DeclareLaunchArgument('log_level', default_value='info', description='debug, info, warn, error or fatal'),
    ]  # fmt: skip


def named_fleet(context: LaunchContext, path: str) -> Fleet:
    """Return the fleet of a file under the name that it is to have: the argument ``fleet``'s, or its own, in the namespace that
    the launch files around this one have pushed.

    :raises UserError: if the file or the name is no good.
    """
    name = LaunchConfiguration('fleet').perform(context).strip('/')
    pushed = context.launch_configurations.get('ros_namespace', '').strip('/')
    return load_fleet(path, '/'.join(filter(None, (pushed, name or load_fleet(path).fleet))) if pushed else name)


def device_fleet(context: LaunchContext, device: str) -> tuple[Fleet, str]:
    """Return the fleet of a device and the file of it: the argument's, or that of the running fleet that it joins.

    :raises UserError: if the file or the name is no good, or the fleet cannot be joined.
    """
    path = LaunchConfiguration('fleet_file').perform(context)
    if path:
        return named_fleet(context, path), path
    from edge_dnn_partition.deployment.fleet_description import Means
    from edge_dnn_partition.nodes.clients.joining import join_fleet

    fleet_name = LaunchConfiguration('fleet').perform(context).strip('/')
    if not fleet_name:
        raise UserError('give fleet_file:=FLEET.yaml, or the name of a running fleet that this device joins, fleet:=NAME')
    pushed = context.launch_configurations.get('ros_namespace', '').strip('/')
    given = {name: LaunchConfiguration(name).perform(context) for name in ('key_file', 'certificates', 'router', 'site')}
    key_file, certificates = (Path(path) if (path := given[name]) else None for name in ('key_file', 'certificates'))
    means = Means(key_file, certificates, given['router'], given['site'])
    fleet, joined = join_fleet('/'.join(filter(None, (pushed, fleet_name))), device, means=means)
    return fleet, str(joined)


def tool_arguments() -> list[DeclareLaunchArgument]:
    """Return what the launch files ask for that start the tools of a whole fleet."""
    return [
        DeclareLaunchArgument('dashboard', default_value='false', choices=_SWITCH, description='the web dashboard as well'),
        DeclareLaunchArgument(
            'visualisation', default_value='false', choices=_SWITCH, description='markers for rviz as well'
        ),
    ]  # fmt: skip


def is_true(context: LaunchContext, argument: str) -> bool:
    """Return what an argument says that is ``true`` or ``false``."""
    return str(LaunchConfiguration(argument).perform(context)).lower() == 'true'


def tools(context: LaunchContext) -> list[str]:
    """Return the names of the tools that are asked for."""
    return [tool for tool in TOOLS if is_true(context, tool)]


def node_actions(context: LaunchContext, processes: Iterable[NodeProcess]) -> list[Node]:
    """Return the actions that start the processes, as the arguments of `fleet_arguments` say."""
    respawn = is_true(context, 'respawn')
    watched = _watchdog().environment if respawn else {}
    params_file = LaunchConfiguration('params_file').perform(context)
    over = [params_file] if params_file else []
    if not is_true(context, 'autostart'):
        over.append({'autostart': False})
    return [
        Node(
            package='edge_dnn_partition',
            executable=process.node,
            arguments=[*process.more],
            namespace=process.namespace,
            parameters=[process.given, *over],
            additional_env={**process.environment(), **watched},
            ros_arguments=['--log-level', LaunchConfiguration('log_level')],
            respawn=respawn,
            respawn_delay=_RESPAWN_SECONDS,
            on_exit=_end_refused,
            output='screen',
        )
        for process in processes
    ]


def _end_refused(event: ProcessExited, _: LaunchContext) -> list[EmitEvent]:
    """Have a process not started anew that rejected its input: it would do so for ever."""
    if event.returncode != REFUSED:
        return []
    return [EmitEvent(event=ShutdownProcess(process_matcher=matches_action(event.action)))]


@functools.cache
def _watchdog() -> Watchdog:
    """Return the watchdog of this launch process, which ends what hangs; launch then starts it anew."""
    watchdog, logger = Watchdog(), get_logger('watchdog')

    def watch() -> None:
        while True:
            for pid, line in watchdog.look().items():
                logger.error(f'process {pid} {line}')  # noqa: G004  launch's logger fills nothing in
            time.sleep(_LOOK_SECONDS)

    threading.Thread(target=watch, name='watchdog', daemon=True).start()
    return watchdog
