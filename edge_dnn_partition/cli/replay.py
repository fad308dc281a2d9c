# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition replay``: a recorded fleet's decisions, then and now."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_dnn_partition.cli.fleet_name import add_fleet_name
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.planning.objectives import OBJECTIVES, Goal

if TYPE_CHECKING:
    from edge_dnn_partition.control.scheduling.replay import ReplayResult, Step
    from edge_dnn_partition.control.scheduling.settings import SchedulerSettings
    from edge_dnn_partition.planning.fleet.fleet import Fleet

KINDS = ('heartbeat', 'telemetry', 'profile', 'energy', 'source_status', 'frame_report', 'plan')

EPILOG = f"""
record, while the fleet runs (its name here is robot):
  ros2 bag record -o drive {' '.join(f'/robot/{kind}' for kind in KINDS)}

examples:
  edge-dnn-partition replay drive --fleet robot.yaml
  edge-dnn-partition replay drive --fleet robot.yaml --policy exact --objective energy
  edge-dnn-partition replay drive --fleet robot.yaml --least-gain 0.2 --dwell-seconds 10

Feeds the recorded messages to the scheduler's own code at the bag's times, and shows what was decided then, what would be
decided now, and why. Needs no ROS. Not replayed: shadow frames, changes of encoding alone, and the time that a move takes.
"""


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        'replay', description="Show what a scheduler would decide on a bag of a fleet's topics.", epilog=EPILOG
    )  # fmt: skip
    parser.add_argument('bag', metavar='BAG', help='the folder of a rosbag2 bag (sqlite3 or mcap)')
    parser.add_argument('--fleet', required=True, metavar='FLEET.yaml', help='the fleet file that the fleet was started with')
    parser.add_argument('--policy', choices=('exact', 'q_learning', 'auto'), help="default: the fleet file's, else auto")
    parser.add_argument('--objective', choices=tuple(OBJECTIVES),
                        help="what to minimise; default: the fleet file's")  # fmt: skip
    parser.add_argument('--deadline', type=float, metavar='SECONDS', help="for the objective deadline; default: the fleet file's")
    parser.add_argument('--least-gain', type=float, metavar='SHARE', help='as the scheduler parameter')
    parser.add_argument('--dwell-seconds', type=float, metavar='SECONDS', help='as the scheduler parameter')
    parser.add_argument('--confirmations', type=int, metavar='N', help='as the scheduler parameter')
    parser.add_argument('--json', action='store_true', help='print one JSON document instead of the table')
    add_fleet_name(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay the bag and print what came of it."""
    from edge_dnn_partition.control.scheduling.replay import Replay
    from edge_dnn_partition.deployment.start_checks import model_of
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    fleet = load_fleet(args.fleet, args.fleet_name)
    if fleet.model is None:
        raise UserError(f'{args.fleet} names no model; add model: {{path: …}}')
    settings = _settings(args, fleet)
    replay = Replay(model_of(fleet), fleet, settings)
    for kind, message, seconds in _records(Path(args.bag), fleet.fleet):
        replay.on_record(kind, message, seconds)
    result = replay.result
    if not result.decisions:
        why = result.refused[0] if result.refused else 'it holds no profile and heartbeats of the source'
        raise UserError(f'{args.bag}: no decision was possible: {why}; record all of {", ".join(KINDS)} from the start')
    if args.json:
        described = {'bag': args.bag, 'policy': settings.policy, 'objective': settings.decide.goal.name}
        print(json.dumps(described | result.to_json(), allow_nan=False))
    else:
        _show(result)
    return 0


def _settings(args: argparse.Namespace, fleet: Fleet) -> SchedulerSettings:
    """Return what the options say, else the fleet file, else the defaults.

    :raises PlanError: if objective and deadline do not fit each other.
    """
    from edge_dnn_partition.control.decision.hysteresis import Settings
    from edge_dnn_partition.control.scheduling.settings import SchedulerSettings
    from edge_dnn_partition.control.state.derating import DeratingSettings
    from edge_dnn_partition.planning.plans.encodings import Permitted

    given = dict(fleet.parameters.get('scheduler', {}))
    given |= {name: value for name in ('policy', 'objective', 'deadline', 'least_gain', 'dwell_seconds', 'confirmations')
              if (value := getattr(args, name)) is not None}  # fmt: skip
    goal = Goal(
        given.get('objective') or fleet.objective, tuple(given.get('weights') or fleet.weights),
        given.get('deadline') or fleet.deadline or math.inf, given.get('deadline_share', 0.5),
    )  # fmt: skip
    policy = given.get('policy', SchedulerSettings.policy)
    decide = {name: given[name] for name in ('least_gain', 'dwell_seconds', 'confirmations') if name in given}
    same = {'decision_period', 'heartbeat_timeout', 'settle_seconds', 'input_bytes'}
    derating = {field.name: given[field.name] for field in dataclasses.fields(DeratingSettings) if field.name in given}
    if 'spare_throttled' in given:
        derating['throttling'] = given['spare_throttled']
    permitted = Permitted()
    return SchedulerSettings(
        policy='auto' if policy == 'fixed' else policy, decide=Settings(goal, **decide), derating=DeratingSettings(**derating),
        permitted=Permitted(tuple(given.get('encodings', permitted.names)), given.get('largest_error', permitted.largest_error)),
        **{name: given[name] for name in same if name in given},
    )  # fmt: skip


def _records(bag: Path, fleet: str) -> Iterator[tuple[str, Any, float]]:
    """Yield what the scheduler would have heard: kind, message, time in seconds.

    :raises UserError: if the bag cannot be read, or holds nothing of the fleet.
    """
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
        from rosbags.typesys import Stores, get_typestore
    except ModuleNotFoundError as error:
        raise UserError(
            f'`replay` needs the Python package `rosbags` ({error.name} is missing): pip install rosbags'
        ) from error
    if not bag.exists():
        raise UserError(f'{bag} does not exist; give the folder of a bag')
    try:
        reader = AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except (AnyReaderError, OSError, ValueError) as error:
        raise UserError(f'{bag} cannot be read as a bag: {error}') from error
    try:
        topics = {f'/{fleet}/{kind}': kind for kind in KINDS}
        connections = [c for c in reader.connections if c.topic in topics]
        if not connections:
            found = ', '.join(sorted({c.topic for c in reader.connections})[:6]) or 'nothing'
            raise UserError(f'{bag} contains no topic of the fleet {fleet!r} ({", ".join(topics)}); it holds {found}')
        unknown = [c.msgtype for c in connections if c.msgtype not in reader.typestore.fielddefs]
        if unknown:
            raise UserError(f'{bag} does not define {unknown[0]}: record it with the rosbag2 of Jazzy or newer')
        for connection, nanoseconds, data in reader.messages(connections=connections):
            yield topics[connection.topic], reader.deserialize(data, connection.msgtype), nanoseconds * 1e-9
    finally:
        reader.close()


def _show(result: ReplayResult) -> None:
    from rich.table import Table

    from edge_dnn_partition.cli.console import console as open_console

    console = open_console()
    table = Table(box=None, padding=(0, 2))
    table.add_column('at', justify='right')
    table.add_column('who')
    table.add_column('plan')
    table.add_column(f'predicted{f", {result.unit}" if result.unit else ""}', justify='right')
    table.add_column('why', overflow='fold')
    rows: list[tuple[float, str, Step]] = [
        *((step.seconds, 'then', step) for step in result.then), *((step.seconds, 'now', step) for step in result.now),
    ]  # fmt: skip
    for seconds, who, step in sorted(rows, key=lambda row: row[:2]):
        value = '–' if math.isnan(step.value) else f'{step.value:.4g}'
        table.add_row(f'{seconds:.2f} s', who, step.plan, value, step.text or step.reason)
    console.print(table)
    loss = '' if math.isnan(result.mean_loss) else (
        f'; by the predictions the plans then were {abs(result.mean_loss):.1%} '
        f'{"worse" if result.mean_loss >= 0 else "better"} on average'
    )  # fmt: skip
    console.print(f'{result.decisions} decisions in {result.seconds:.1f} s, {result.same} with the plan of then{loss}')
    for reason in result.refused:
        console.print(f'left out: {reason}')
