# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of every node: what the nodes declare, what a fleet file may set, what docs/parameters.md lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge_dnn_partition.errors import PlanError, UserError, nearest
from edge_dnn_partition.planning.objectives import OBJECTIVES, summaries
from edge_dnn_partition.planning.plans.encodings import LOSSLESS, check_names

from .parameters import Parameter

_OF_ROS: Final = ('qos_overrides.', 'use_sim_time')
AUTOSTART: Final = Parameter(
    'autostart',
    True,
    'configure and activate at the start; false: wait for an external lifecycle manager',
    read_only=True,
)

ENERGY: Final[tuple[Parameter, ...]] = (
    Parameter('energy_hz', 4.0, 'readings of the power meters per second', minimum=0.5, maximum=20.0),
    Parameter(
        'power_topic', '', 'topic of a power meter of this device, std_msgs/Float32 in watts', read_only=True,
    ),
)  # fmt: skip

CAMERA: Final[tuple[Parameter, ...]] = (
    Parameter(
        'image_topic', '', "topic of the camera, over the fleet file's; relative to /<fleet>/<device>", read_only=True
    ),
    Parameter('compressed', True, 'the topic carries CompressedImage (else Image)', read_only=True),
    Parameter(
        'rate', 0.0, "images per second from a folder, video or camera; 0: the fleet file's", minimum=0.0, maximum=1000.0
    ),
    Parameter(
        'jpeg_quality', 90, 'of images from a video or camera; 0: send raw pixels', minimum=0, maximum=100, read_only=True
    ),
)

REPEATING: Final[tuple[Parameter, ...]] = (
    Parameter(
        'repeat_factor', 6.0,
        "a frame is sent again after so many times the plan's latency, or half as many times what its last frames took",
        minimum=2.0, maximum=100.0,
    ),
    Parameter('repeat_least', 3.0, '... but not before so many seconds', minimum=0.1, maximum=600.0),
    Parameter(
        'overtake', 1.5,
        'a frame of an earlier plan is sent again under the plan in force after so many times its usual latency; 0: never',
        minimum=0.0, maximum=100.0,
    ),
    Parameter(
        'heartbeat_timeout', 1.0, 'seconds without a sign of life after which a worker counts as gone', minimum=0.2,
        maximum=60.0,
    ),
)  # fmt: skip

HEDGING: Final[tuple[Parameter, ...]] = (
    Parameter(
        'hedge',
        False,
        'run a frame on the source, too, when its result is not expected within max_age; the first result counts',
    ),
    Parameter(
        'hedge_share', 0.5, "share of the source's time that hedges may take, over ten seconds", minimum=0.01, maximum=1.0
    ),
)

INFER: Final[tuple[Parameter, ...]] = (
    Parameter('calls', 32, 'calls of the service infer at a time; one more is refused', minimum=1, maximum=1000),
)

POLICY: Final[tuple[Parameter, ...]] = (
    Parameter(
        'objective',
        '',
        f"what to minimise; empty: the fleet file's; {summaries()}",
        choices=('', *OBJECTIVES),
    ),
    Parameter(
        'weights',
        [0.0, 0.0],
        "balanced: what latency and energy count, as [0.7, 0.3]; [0, 0]: the fleet file's, else half each",
        minimum=0.0,
        maximum=1e6,
    ),
    Parameter(
        'deadline',
        0.0,
        "deadline: the most latency, in seconds; 0: the fleet file's",
        minimum=0.0,
        maximum=3600.0,
    ),
    Parameter(
        'deadline_share',
        0.5,
        'deadline: share of the frames that must keep to it, by how devices and links have scattered; 0.5: the prediction must',
        minimum=0.5,
        maximum=0.999,
    ),
    Parameter(
        'policy',
        'auto',
        'exact: plan on the estimates; q_learning: learn what they miss (objective latency); auto: exact while its '
        'predictions hold, else q_learning; fixed: keep to fixed_plan while its devices are there',
        choices=('exact', 'q_learning', 'auto', 'fixed'),
    ),
    Parameter(
        'least_gain',
        0.08,
        'share by which another plan must be predicted to be better, until eight changes of plan say what share has paid',
        minimum=0.0,
        maximum=0.9,
    ),
    Parameter(
        'dwell_seconds', 2.0, 'how long a plan stays at least, unless it cannot go on or another saves half of what it costs; '
        'of moves that no step of an estimate explains there is one in 30 times as long',
        minimum=0.0, maximum=3600.0,
    ),
    Parameter('confirmations', 2, 'decisions on end that must name the better plan', minimum=1, maximum=100),
    Parameter(
        'takeover_threshold',
        0.15,
        'auto: q_learning takes over when predictions are off by this much (mean absolute logarithm) ...',
        minimum=0.01,
        maximum=2.0,
    ),
    Parameter('takeover_seconds', 1.5, '... for so long', minimum=0.1, maximum=600.0),
    Parameter(
        'exploration',
        0.02,
        'q_learning, auto: share of the frames that run once more under another plan, to learn of it; 0: none',
        minimum=0.0,
        maximum=0.5,
    ),
)

DERATING: Final[tuple[Parameter, ...]] = (
    Parameter('battery_weight', 1.0, "an empty battery's joule counts 1 + this times a full one's", 0.0, 100.0),
    Parameter('mains_weight', 1.0, "what a joule from the mains counts, times the fleet file's weight", 0.0, 100.0),
    Parameter('battery_limit', 20.0, 'percent of charge below which a device on battery is spared; 0: never', 0.0, 100.0),
    Parameter('spare_throttled', True, 'spare a device that throttles, until 30 s after'),
    Parameter(
        'most_slowdown', 2.0, 'how many times as long a frame may take for a device to be spared; below 1: never', 0.0, 100.0
    ),
)

ENCODING: Final[tuple[Parameter, ...]] = (
    Parameter(
        'encodings',
        list(LOSSLESS),
        'how tensors may be sent, each as is quickest: raw, zstd, lz4 (lossless), float16, int8 (lossy), jpeg (lossy; images '
        'that come as pixels)',
        validate=check_names,
    ),
    Parameter(
        'largest_error',
        0.02,
        "the most that a plan's lossy encodings may change the model's output, as a share of its range, as profiled",
        minimum=0.0,
        maximum=1.0,
    ),
)

PLOTS: Final[tuple[Parameter, ...]] = (
    Parameter('plot_hz', 2.0, 'how often figures are published under plot/, Hz; 0: never', minimum=0.0, maximum=20.0),
)

DEVICE_MONITOR: Final[tuple[Parameter, ...]] = (
    Parameter('fleet_file', '', "the fleet file, for the fleet's key; empty: the fleet has none", read_only=True),
    Parameter('rate_hz', 2.0, 'how often telemetry and heartbeat are published, Hz', 0.1, 50.0),
    Parameter(
        'power_topic', '', 'topic of a power meter of this device, std_msgs/Float32 in watts', read_only=True,
    ),
    Parameter(
        'battery_topic', '', 'topic of the battery that feeds this device, sensor_msgs/BatteryState', read_only=True,
    ),
)  # fmt: skip

WORKER: Final[tuple[Parameter, ...]] = (
    Parameter('fleet_file', '', 'the fleet file: devices, links, model', read_only=True),
    Parameter(
        'providers', [''], "onnxruntime's execution providers, best first; ['']: the fleet file's", read_only=True
    ),
    Parameter(
        'threads', 0, "threads of one operator, from the next prepared plan on; 0: the fleet file's", minimum=0, maximum=1024
    ),
    Parameter(
        'memory_budget', '', "for stages that no plan holds any more, such as 256 MiB, or bytes; empty: the fleet file's memory",
        quantity='size',
    ),
    Parameter(
        'probing_budget', 0.02,
        'share of an idle link that probes may take where a better plan could come of it, else a 20th of that; 0: none',
        minimum=0.0, maximum=1.0,
    ),
    Parameter('heartbeat_hz', 10.0, 'signs of life per second', minimum=1.0, maximum=100.0),
    Parameter(
        'probe_period', 1.0, 'seconds between probes of speed, and of idle links that no better plan needs',
        minimum=0.1, maximum=60.0,
    ),
    Parameter(
        'connect_timeout', 5.0, 'seconds to wait for the inboxes that a plan sends to', minimum=0.5, maximum=60.0
    ),
    Parameter(
        'drain_seconds', 3.0, 'when deactivated: how long to work on while the fleet moves to another plan',
        minimum=0.0, maximum=60.0
    ),
    Parameter('profile_runs', 5, 'timed rounds while profiling', minimum=1, maximum=1000, read_only=True),
    *ENERGY,
)

FRAME_SOURCE: Final[tuple[Parameter, ...]] = (
    Parameter('fleet_file', '', 'the fleet file: devices, links, model, camera', read_only=True),
    *CAMERA,
    Parameter(
        'max_in_flight', 0, 'frames under way at a time; 0: as many as the plan can use', minimum=0, maximum=1000
    ),
    Parameter(
        'waiting', 1, 'images that wait to be accepted; a newer one drops the oldest', minimum=1, maximum=1000,
        read_only=True,
    ),
    Parameter(
        'max_age', 0.0, 'a frame older than so many seconds gets the result EXPIRED; 0: never', minimum=0.0, maximum=3600.0
    ),
    Parameter(
        'journal',
        '',
        'folder for images that have no result yet, to send them again after this process was killed; empty: report '
        'them as lost then',
        read_only=True,
    ),
    Parameter(
        'drain_seconds', 0.6, 'how long to wait for the results of frames under way at the end, or at a deactivation',
        minimum=0.0, maximum=1.0,
    ),
    *REPEATING,
    *HEDGING,
    *INFER,
)

SCHEDULER: Final[tuple[Parameter, ...]] = (
    Parameter('fleet_file', '', 'the fleet file: devices, links, model', read_only=True),
    Parameter('fixed_plan', '', "for the policy fixed, such as 'pi:pre-3 cloud:3-end'"),
    Parameter(
        'decision_period', 0.25, 'seconds between decisions; they come sooner where devices or links have changed by much',
        minimum=0.05, maximum=60.0,
    ),
    Parameter(
        'heartbeat_timeout', 1.0, 'seconds without a sign of life after which a worker counts as gone', minimum=0.2,
        maximum=60.0,
    ),
    Parameter('prepare_timeout', 20.0, 'seconds for the workers to prepare a plan', minimum=1.0, maximum=600.0),
    Parameter(
        'settle_seconds', 1.5, 'seconds to wait at the start for more devices than the source', minimum=0.0, maximum=60.0
    ),
    Parameter('input_bytes', 150_000.0, 'size of a camera image until one was seen', minimum=1.0, maximum=1e9),
    *POLICY,
    *DERATING,
    *ENCODING,
    *PLOTS,
)

DASHBOARD: Final[tuple[Parameter, ...]] = (
    Parameter(
        'fleet_file', '', "the fleet file, for the layers' names and the fleet's key; empty: the page does without", read_only=True
    ),
    Parameter('host', '127.0.0.1', 'address to listen at; 0.0.0.0: every one of this machine', read_only=True),
    Parameter('port', 8765, 'TCP port of the page; 0: a free one', minimum=0, maximum=65535, read_only=True),
    Parameter(
        'token_file', '',
        'file whose first line is the token: who gives that to the page may change the objective and pin a plan; empty: '
        '$EDGE_DNN_PARTITION_TOKEN, else nobody',
        read_only=True,
    ),
)

VISUALISATION: Final[tuple[Parameter, ...]] = (
    Parameter('fleet_file', '', "the fleet file, for the fleet's key; empty: the fleet has none", read_only=True),
    Parameter('frame', 'map', 'frame of reference of the markers; the fleet stands around its origin'),
)

NODE_PARAMETERS: Final[Mapping[str, tuple[Parameter, ...]]] = {
    'device_monitor': DEVICE_MONITOR,
    'worker': WORKER,
    'frame_source': FRAME_SOURCE,
    'scheduler': SCHEDULER,
    'dashboard': DASHBOARD,
    'visualisation': VISUALISATION,
}
"""Of each node; `AUTOSTART` is every node's."""


def check_hedge(values: Mapping[str, Any]) -> None:
    """Refuse hedges without an age to make; ``values`` are a frame source's."""
    if values['hedge'] and not values['max_age'] > 0:
        raise PlanError('hedge needs max_age: set max_age to the seconds after which a result is worth nothing')


def parameters_of(given: Mapping[str, Any], node: str) -> dict[str, Any]:
    """Return all parameters of a node: what the fleet file says of them, checked, over their defaults.

    :param given: what stands under ``parameters`` in the fleet file.
    :raises UserError: for one that the node does not have, or a value that it refuses.
    """
    table = {parameter.name: parameter for parameter in (AUTOSTART, *NODE_PARAMETERS[node])}
    values = {name: parameter.default for name, parameter in table.items()}
    for name, value in given.get(node, {}).items():
        if name == 'fleet_file':
            raise PlanError(f'parameters.{node}.fleet_file: that is this file; leave it out')
        if name in table:
            try:
                values[name] = table[name].coerce(value)
            except UserError as error:
                raise PlanError(f'parameters.{node}: {error}') from error
        elif not name.startswith(_OF_ROS):
            raise PlanError(f'parameters.{node}: there is no {name!r}{nearest(name, list(table))}')
    if node == 'frame_source':
        check_hedge(values)
    return values


def check_parameters(given: Mapping[str, Any]) -> None:
    """Refuse parameters that a fleet file sets and no node has, and values that the nodes refuse.

    :raises UserError: with the nearest one that there is.
    """
    for node in given:
        if node not in NODE_PARAMETERS:
            raise PlanError(f'parameters: there is no node {node!r}{nearest(node, list(NODE_PARAMETERS))}')
        parameters_of(given, node)
