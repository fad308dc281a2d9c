# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of every node: what the nodes declare, what a fleet file may set, what docs/parameters.md lists."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_dnn_partition.errors import PlanError, UserError, nearest
from edge_dnn_partition.graph.states import STATE_INTERVAL
from edge_dnn_partition.planning.fleet.inputs import check_topic
from edge_dnn_partition.planning.objectives import OBJECTIVES, summaries
from edge_dnn_partition.planning.plans.encodings import LOSSLESS, check_names
from edge_dnn_partition.units import parse

Value = Any
"""bool, int, float, str, or a list of one of them."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    :param name: as in ``ros2 param``; parts may be separated by dots.
    :param default: its type is the parameter's type. Where it is a float (or a list of floats), whole numbers
        are taken as well: ``ros2 param set`` sends ``5`` as an integer.
    :param description: one line, with the unit.
    :param minimum: least allowed number (of a list: of each element).
    :param maximum: largest allowed number.
    :param choices: the allowed values, if they can be listed.
    :param read_only: whether it can be set at the start only.
    :param quantity: of a text: ``size``, ``time``, ``rate`` or ``power``, a number with or without its unit (see `units`), or
        nothing. A number is taken as well.
    :param validate: raises `UserError` with the reason if a value is no good; called after the other checks.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Value, ...] = ()
    read_only: bool = False
    quantity: str = ''
    validate: Callable[[Value], None] | None = None

    def coerce(self, value: Value) -> Value:
        """Return ``value`` as the parameter's type, checked.

        :raises UserError: with the reason.
        """
        if isinstance(self.default, (list, tuple)):
            if isinstance(value, str) or not hasattr(value, '__iter__'):
                raise UserError(f'{self.name} must be a list, not {value!r}')
            model = self.default[0] if self.default else None
            result: Value = [self._coerce_one(item, model) for item in value]
        else:
            result = self._coerce_one(value, self.default)
        if self.quantity and result:
            parse(self.quantity, result, what=self.name)
        if self.validate is not None:
            self.validate(result)
        return result

    def _coerce_one(self, value: Value, model: Value) -> Value:
        if self.quantity and isinstance(value, (int, float)) and not isinstance(value, bool):
            value = f'{value}'
        if isinstance(value, int) and abs(value) >= _MOST:
            raise UserError(f'{self.name} is too large for ROS; write a smaller number')
        if isinstance(model, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if model is not None and type(value) is not type(model):
            raise UserError(f'{self.name} must be {_KINDS[type(model)]}, not {value!r}')
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f'{self.name} must be a finite number, not {value!r}')
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if self.minimum is not None and value < self.minimum:
                raise UserError(f'{self.name} must be at least {self.minimum:g}, not {value:g}')
            if self.maximum is not None and value > self.maximum:
                raise UserError(f'{self.name} must be at most {self.maximum:g}, not {value:g}')
        if self.choices and value not in self.choices:
            allowed = ', '.join(str(choice) or "'' (empty)" for choice in self.choices)
            raise UserError(f'{self.name} must be one of {allowed}, not {value!r}')
        return value


_MOST = 1 << 63
_KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text'}

_OF_ROS: Final = ('qos_overrides.', 'use_sim_time')
AUTOSTART: Final = Parameter(
    'autostart', True, 'configure and activate at startup; false: wait for a lifecycle manager', read_only=True
)


def _check_topic(given: Value) -> None:
    if given:
        try:
            check_topic(given)
        except ValueError as error:
            raise UserError(str(error)) from None


_FLEET_FILE: Final = Parameter('fleet_file', '', 'path of the fleet file', read_only=True)
_KEY_FILE: Final = Parameter(
    'fleet_file', '', "path of the fleet file, for the fleet's key, sites and models; empty: none", read_only=True
)
_BESIDE: Final = Parameter(
    'device', '', 'the device that it runs beside, of a fleet of several sites; empty: the one whose key lies here, or the source',
    read_only=True,
)  # fmt: skip
_POWER_TOPIC: Final = Parameter(
    'power_topic', '', 'topic of a power meter on this device, std_msgs/Float32 in watts; empty: none', read_only=True,
    validate=_check_topic,
)
_HEARTBEAT_TIMEOUT: Final = Parameter(
    'heartbeat_timeout', 1.0, 'seconds without a heartbeat after which a worker counts as dead', 0.2, 60.0
)

ENERGY: Final[tuple[Parameter, ...]] = (
    Parameter('energy_hz', 4.0, 'readings of the power meters per second', 0.5, 20.0),
    _POWER_TOPIC,
)

CAMERA: Final[tuple[Parameter, ...]] = (
    Parameter(
        'image_topic', '', "camera topic, relative to /<fleet>/<device>; empty: the fleet file's", read_only=True,
        validate=_check_topic,
    ),
    Parameter('compressed', True, 'the camera topic carries CompressedImage; false: Image', read_only=True),
    Parameter('rate', 0.0, "images per second from a folder, video or camera; 0: the fleet file's", 0.0, 1000.0),
    Parameter('jpeg_quality', 90, 'JPEG quality of images from a video or camera; 0: raw pixels', 0, 100, read_only=True),
)

REPEATING: Final[tuple[Parameter, ...]] = (
    Parameter(
        'repeat_factor', 6.0,
        "resend a frame after this many times the plan's latency, or half as many times the recent frames' latency", 2.0, 100.0,
    ),
    Parameter('repeat_least', 3.0, 'but no sooner than this many seconds', 0.1, 600.0),
    Parameter(
        'overtake', 1.5,
        'resend a frame of an earlier plan under the plan in force after this many times its usual latency; 0: never', 0.0, 100.0,
    ),
    _HEARTBEAT_TIMEOUT,
)  # fmt: skip

HEDGING: Final[tuple[Parameter, ...]] = (
    Parameter(
        'hedge', False, 'also run a frame on the source when its result is not expected within max_age; the first result counts'
    ),
    Parameter('hedge_share', 0.5, "share of the source's time that hedges may use, averaged over ten seconds", 0.01, 1.0),
)

INFER: Final[tuple[Parameter, ...]] = (
    Parameter('calls', 32, 'concurrent calls of the service infer; further calls are refused', 1, 1000),
)

POLICY: Final[tuple[Parameter, ...]] = (
    Parameter(
        'objective',
        '',
        f"what to minimise; empty: the fleet file's; {summaries()}",
        choices=('', *OBJECTIVES),
    ),
    Parameter(
        'weights', [0.0, 0.0], "balanced: weights of latency and energy, such as [0.7, 0.3]; [0, 0]: the fleet file's, else equal",
        0.0, 1e6,
    ),
    Parameter('deadline', 0.0, "deadline: the latency limit in seconds; 0: the fleet file's", 0.0, 3600.0),
    Parameter(
        'deadline_share', 0.5,
        'deadline: share of frames that must meet it, given how devices and links have scattered; 0.5: the prediction must',
        0.5, 0.999,
    ),
    Parameter(
        'policy', 'auto',
        'exact: plan on the estimates; q_learning: learn what they miss (objective latency); auto: exact while its '
        'predictions hold, else q_learning; fixed: keep fixed_plan while its devices are up',
        choices=('exact', 'q_learning', 'auto', 'fixed'),
    ),
    Parameter(
        'least_gain', 0.08,
        'predicted gain, as a share, that a move needs until eight moves have shown what share pays off', 0.0, 0.9,
    ),
    Parameter(
        'dwell_seconds', 2.0,
        'minimum time in a plan, unless it cannot continue or another one halves its cost; moves that no step of an estimate '
        'explains are limited to one in 30 times as long', 0.0, 3600.0,
    ),
    Parameter('confirmations', 2, 'consecutive decisions that must name the better plan', 1, 100),
    Parameter(
        'takeover_threshold', 0.15,
        'auto: q_learning takes over once the mean absolute logarithm of actual over predicted latency exceeds this', 0.01, 2.0,
    ),
    Parameter('takeover_seconds', 1.5, 'for this many seconds', 0.1, 600.0),
    Parameter(
        'exploration', 0.02,
        'q_learning, auto: share of frames that also run under another plan, to learn about it; 0: none', 0.0, 0.5,
    ),
)  # fmt: skip

DERATING: Final[tuple[Parameter, ...]] = (
    Parameter('battery_weight', 1.0, 'a joule from an empty battery counts 1 + this times one from a full battery', 0.0, 100.0),
    Parameter('mains_weight', 1.0, "weight of a joule from the mains, times the fleet file's weight", 0.0, 100.0),
    Parameter('battery_limit', 20.0, 'charge in percent below which a device on battery is spared; 0: never', 0.0, 100.0),
    Parameter('spare_throttled', True, 'spare a device while it throttles, and for 30 s after'),
    Parameter(
        'most_slowdown', 2.0, 'spare a device only if a frame takes at most this many times as long; below 1: never', 0.0, 100.0
    ),
)

ENCODING: Final[tuple[Parameter, ...]] = (
    Parameter(
        'encodings', list(LOSSLESS),
        'encodings to choose the quickest from for each tensor: raw, zstd, lz4 (lossless), float16, int8 (lossy), jpeg (lossy, '
        'for images that arrive as pixels)',
        validate=check_names,
    ),
    Parameter(
        'largest_error', 0.02,
        "limit on how much a plan's lossy encodings may change the model's output, as a share of its range, as profiled", 0.0, 1.0,
    ),
)  # fmt: skip

PLOTS: Final[tuple[Parameter, ...]] = (
    Parameter('plot_hz', 2.0, 'rate of the figures under plot/, Hz; 0: none', 0.0, 20.0),
)

DEVICE_MONITOR: Final[tuple[Parameter, ...]] = (
    _KEY_FILE,
    Parameter('rate_hz', 2.0, 'rate of telemetry and heartbeats, Hz', 0.1, 50.0),
    _POWER_TOPIC,
    Parameter(
        'battery_topic', '', "topic of this device's battery, sensor_msgs/BatteryState; empty: none", read_only=True,
        validate=_check_topic,
    ),
)

WORKER: Final[tuple[Parameter, ...]] = (
    _FLEET_FILE,
    Parameter('providers', [''], "onnxruntime execution providers, best first; ['']: the fleet file's", read_only=True),
    Parameter('threads', 0, "threads per operator, from the next prepared plan on; 0: the fleet file's", 0, 1024),
    Parameter(
        'memory_budget', '', "memory for stages that no plan uses any more, such as 256 MiB, or bytes; empty: the fleet file's",
        quantity='size',
    ),
    Parameter(
        'probing_budget', 0.02, 'share of an idle link that probes may use if they could lead to a better plan, else a 20th of '
        'that; 0: none', 0.0, 1.0,
    ),
    Parameter('heartbeat_hz', 10.0, 'heartbeats per second', 1.0, 100.0),
    Parameter(
        'rest_heartbeat_hz', 4.0, "the same while no frame comes; keep three of them within the scheduler's heartbeat_timeout",
        1.0, 100.0,
    ),
    Parameter('probe_period', 1.0, 'seconds between probes of speed, and of idle links that no better plan needs', 0.1, 60.0),
    Parameter('connect_timeout', 5.0, 'seconds to wait for the inboxes that a plan sends to', 0.5, 60.0),
    Parameter(
        'drain_seconds', 3.0, 'how long a deactivated worker keeps working while the fleet moves to another plan', 0.0, 60.0
    ),
    Parameter('profile_runs', 5, 'timed rounds while profiling', 1, 1000, read_only=True),
    *ENERGY,
)  # fmt: skip

FRAME_SOURCE: Final[tuple[Parameter, ...]] = (
    _FLEET_FILE,
    *CAMERA,
    Parameter('max_in_flight', 0, 'frames in flight at a time; 0: as many as the plan can use', 0, 1000),
    Parameter('waiting', 1, 'images waiting to be accepted; a newer one drops the oldest', 1, 1000, read_only=True),
    Parameter(
        'state_interval', STATE_INTERVAL,
        'of a model that carries state: frames between two copies of its state that come to the source; as many run again '
        'where the state is lost', 1, 10_000,
    ),
    Parameter('max_age', 0.0, 'age in seconds after which a frame gets the result EXPIRED; 0: never', 0.0, 3600.0),
    Parameter(
        'journal', '',
        'folder for images without a result, to resend them after this process was killed; empty: they are reported as lost',
        read_only=True,
    ),
    Parameter(
        'drain_seconds', 0.6, 'how long to wait for results of frames in flight at shutdown or deactivation', 0.0, 1.0
    ),
    *REPEATING,
    *HEDGING,
    *INFER,
)  # fmt: skip

SCHEDULER: Final[tuple[Parameter, ...]] = (
    _FLEET_FILE,
    _BESIDE,
    Parameter('fixed_plan', '', "the plan of the policy fixed, such as 'pi:pre-3 cloud:3-end'"),
    Parameter(
        'decision_period', 0.25, 'seconds between decisions; a large change of a device or link triggers one at once', 0.05, 60.0
    ),
    _HEARTBEAT_TIMEOUT,
    Parameter('prepare_timeout', 20.0, 'seconds that the workers get to prepare a plan', 1.0, 600.0),
    Parameter('settle_seconds', 1.5, 'seconds to wait at startup for devices other than the source', 0.0, 60.0),
    Parameter('input_bytes', 150_000.0, 'assumed size of a camera image until one has arrived', 1.0, 1e9),
    *POLICY,
    *DERATING,
    *ENCODING,
    *PLOTS,
)

DASHBOARD: Final[tuple[Parameter, ...]] = (
    Parameter(
        'fleet_file', '', "path of the fleet file, for the names of layers and the fleet's key; empty: the page does without",
        read_only=True,
    ),
    _BESIDE,
    Parameter(
        'more_fleets', '',
        'further fleets on the same page, separated by commas: fleet files, or names of fleets that are as fleet_file says, '
        'with the name for {fleet}',
        read_only=True,
    ),
    Parameter('host', '127.0.0.1', "address to listen on; 0.0.0.0: all of this machine's", read_only=True),
    Parameter('port', 8765, 'TCP port of the page; 0: a free one', 0, 65535, read_only=True),
    Parameter(
        'token_file', '',
        'file whose first line is the token that lets a page do what tell does; empty: '
        '$EDGE_DNN_PARTITION_TOKEN, else nobody may',
        read_only=True,
    ),
)  # fmt: skip

ROUTER: Final[tuple[Parameter, ...]] = (
    _FLEET_FILE,
    Parameter('fleets', (), 'names of further fleets that have the same file and go through this router', read_only=True),
)

VISUALISATION: Final[tuple[Parameter, ...]] = (
    _KEY_FILE,
    _BESIDE,
    Parameter('frame', 'map', 'frame of reference of the markers; the fleet is drawn around its origin'),
)

NODE_PARAMETERS: Final[Mapping[str, tuple[Parameter, ...]]] = {
    'device_monitor': DEVICE_MONITOR,
    'worker': WORKER,
    'frame_source': FRAME_SOURCE,
    'scheduler': SCHEDULER,
    'dashboard': DASHBOARD,
    'router': ROUTER,
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
            raise PlanError(f'parameters.{node}.fleet_file: that is this file; remove the key')
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
