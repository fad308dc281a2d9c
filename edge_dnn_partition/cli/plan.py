# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``plan``: where the layers run, for bare costs or for a real model and a fleet."""

from __future__ import annotations

import argparse
import itertools
import json
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.planning.objectives import OBJECTIVES, Goal, summaries

from .model_view import load_given_model

if TYPE_CHECKING:
    from edge_dnn_partition.planning.cost_model.problem import Problem
    from edge_dnn_partition.planning.solvers.solve import Solution

_EPILOG: Final = """\
With --costs, the problem is a file of bare costs; docs/planning.md has its format and the cost
model. With MODEL.onnx and --fleet, the model is profiled on this machine (or profiles are given)
and each device takes its emulate.slowdown times that.

--json prints
  {"feasible": true or false,
   "optimal": true or false,        proven best of the space, to 1e-9
   "objective", "objective_value",
   "latency_seconds", "energy_joules", "bottleneck_seconds",
   "assignment": [device, …],       one for each layer; for a model, for each node of "nodes"
   "planning_seconds"}
and for a model also "nodes" (names; the first is the preprocessing), "stages", "label" and "transfers"
([{"tensor", "from", "to", "encoding"}, …]).
With --objective deadline also "deadline_met"; where no plan keeps to the deadline it is false, the plan is
the one of least latency, and "reason" says so.
Where no plan can run, "feasible" is false, the values are null, "reason" says why, "optimal" says
whether that is proven, and the exit code is 0 all the same; without --json it is 1.

examples:
  edge-dnn-partition plan --costs costs.json --objective throughput --space each_device_once
  edge-dnn-partition plan --costs costs.json --objective deadline --deadline '200 ms'
  edge-dnn-partition plan model.onnx --fleet fleet.yaml --profile pi=pi.json
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        'plan',
        help="place a model's layers on a fleet, offline",
        description="Place a model's layers on a fleet's devices.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('model', nargs='?', metavar='MODEL.onnx', help='the ONNX file, with --fleet')
    parser.add_argument('--costs', metavar='COSTS.json', help='plan on bare costs')
    parser.add_argument('--fleet', metavar='FLEET.yaml', help='the devices and links to plan a model for')
    parser.add_argument(
        '--objective', choices=tuple(OBJECTIVES),
        help=f"what to minimise (default: the fleet's, else latency): {summaries()}",
    )
    parser.add_argument(
        '--deadline', metavar='TIME', help="the most latency, as 0.2 (seconds) or '200 ms', for --objective deadline"
    )
    parser.add_argument(
        '--weights', metavar='LATENCY,ENERGY',
        help="what latency and energy count in --objective balanced, as 0.7,0.3 (default: the fleet's, else 0.5,0.5)",
    )
    parser.add_argument(
        '--space', choices=('any', 'each_device_once'), default='any',
        help='each_device_once: no device has two stages (default any)',
    )
    parser.add_argument(
        '--profile', action='append', default=[], metavar='DEVICE=FILE.json',
        help="a device's own profile, as `profile --json` writes it; its slowdown is not applied then",
    )
    parser.add_argument('--image', '--picture', metavar='FILE', help='an image as the camera sends it (JPEG or PNG)')
    parser.add_argument('--runs', type=int, default=3, metavar='N', help='rounds of profiling (default 3)')
    parser.add_argument(
        '--shape', action='append', default=[], metavar='NAME=1x3x224x224',
        help='the shape of an input that the model leaves open; once per input',
    )
    parser.add_argument(
        '--encodings', metavar='NAMES', default='raw',
        help='how tensors may be sent: raw, zstd, lz4, float16, int8, separated by commas (default raw); MODEL.onnx only',
    )
    parser.add_argument(
        '--largest-error', type=float, default=0.02, metavar='SHARE',
        help="the most that lossy encodings may change the model's output, as a share of its range (default 0.02)",
    )
    parser.add_argument('--json', action='store_true', help='print one JSON document')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Plan, and print the answer."""
    if args.costs is not None:
        for given, name in ((args.model, 'MODEL.onnx'), (args.fleet, '--fleet'), (args.profile, '--profile')):
            if given:
                raise UserError(f'{name} does not go with --costs; give --costs COSTS.json alone, or MODEL.onnx --fleet')
        return _plan_costs(args)
    if args.model is None or args.fleet is None:
        raise UserError('give --costs COSTS.json, or MODEL.onnx and --fleet FLEET.yaml')
    if not 1 <= args.runs <= 1000:
        raise UserError(f'--runs {args.runs}: give a whole number from 1 to 1000')
    return _plan_model(args)


def _plan_costs(args: argparse.Namespace) -> int:
    from edge_dnn_partition.planning.cost_model.costs_json import load
    from edge_dnn_partition.planning.solvers.solve import solve

    problem = load(args.costs)
    solution = solve(problem, _goal(args, Goal()), args.space)
    return _answer(args, problem, solution, solution.to_json())


def _plan_model(args: argparse.Namespace) -> int:
    from edge_dnn_partition.planning.fleet.fleet import check_watts, load_fleet
    from edge_dnn_partition.planning.plans.coding import with_encodings, within_error
    from edge_dnn_partition.planning.plans.encodings import Permitted, names_of
    from edge_dnn_partition.planning.solvers.solve import solve

    from .plan_model import build

    fleet = load_fleet(args.fleet)
    goal = _goal(args, fleet.goal)
    check_watts(fleet, goal, measured=False)
    model = load_given_model(args, fleet)
    permitted = Permitted(names_of(args.encodings), args.largest_error)
    pipeline, problem = build(
        model, fleet, profiles=args.profile, image=args.image, runs=args.runs, permitted=permitted,
        encode_for=goal.objective.encode_for,
    )  # fmt: skip
    solution = solve(problem, goal, args.space)
    document = solution.to_json() | {'nodes': list(problem.node_names), 'stages': [], 'label': None, 'transfers': []}
    if solution.assignment is not None:
        plan = with_encodings(pipeline.plan(solution.assignment), problem.coding.encodings if problem.coding is not None else {})
        plan = within_error(plan, pipeline.profiles, permitted)
        stages = document['stages'] = [
            {'device': stage.device, 'preprocess': stage.preprocess, 'layers': [list(pair) for pair in stage.layers]}
            for stage in plan.stages
        ]
        document['label'] = ' '.join(
            f'{stage["device"]}:{",".join([*(["pre"] if stage["preprocess"] else []), *(f"{a}-{b}" for a, b in stage["layers"])])}'
            for stage in stages
        )
        document['transfers'] = [
            {'tensor': t.tensor, 'from': t.from_device, 'to': t.to_device, 'encoding': t.encoding}
            for t in plan.transfers
            if t.from_device != t.to_device
        ]
    return _answer(args, problem, solution, document)


def _goal(args: argparse.Namespace, usual: Goal) -> Goal:
    """Return what is to be least: what was given, else the usual."""
    from edge_dnn_partition.units import parse

    name, weights, deadline = args.objective or usual.name, usual.weights, usual.deadline_seconds
    if args.deadline is not None:
        if not OBJECTIVES[name].has_deadline:
            raise UserError(f'--deadline is for --objective deadline, not {name}; give both, or neither')
        deadline = parse('time', args.deadline, what='--deadline')
    if args.weights is not None:
        if not OBJECTIVES[name].has_weights:
            raise UserError(f'--weights are for --objective balanced, not {name}; give both, or neither')
        try:
            latency, energy = (float(part) for part in args.weights.split(','))
        except ValueError:
            raise UserError(f'--weights {args.weights}: write two numbers, for latency and energy, as 0.7,0.3') from None
        weights = (latency, energy)
    return Goal(name, weights, deadline)


def _answer(args: argparse.Namespace, problem: Problem, solution: Solution, document: dict[str, Any]) -> int:
    """Print the answer as one JSON document or as tables; return the exit code."""
    if args.json:
        print(json.dumps(document, allow_nan=False))
        return 0
    code = _print(problem, solution)
    for transfer in document.get('transfers', ()):
        print(f'{transfer["tensor"]}: {transfer["from"]} to {transfer["to"]} as {transfer["encoding"]}')
    return code


def _print(problem: Problem, solution: Solution) -> int:
    from rich.table import Column, Table

    from edge_dnn_partition.cli.console import console as open_console
    from edge_dnn_partition.planning.cost_model.evaluate import evaluate, loads

    console = open_console()
    if solution.assignment is None:
        console.print(f'no plan: {solution.reason}', markup=False)
        return 1
    chosen = problem.indices(solution.assignment)
    stages = Table('layers', 'device', Column('compute, ms', justify='right'), title='stages', title_justify='left')
    for device, nodes in itertools.groupby(range(problem.nodes), key=lambda node: int(chosen[node])):
        first, *rest = nodes
        last = rest[-1] if rest else first
        seconds = float(problem.seconds[first : last + 1, device].sum())
        if problem.seam_seconds is not None:
            seconds -= float(problem.seam_seconds[first:last, device].sum())
        names = problem.node_names[first] + (f' … {problem.node_names[last]}' if rest else '')
        stages.add_row(names, problem.names[device], f'{seconds * 1e3:.3f}')
    console.print(stages)
    figures = (Column(name, justify='right') for name in ('latency, ms', 'energy, J', 'bottleneck, ms'))
    table = Table('plan', *figures, title='costs', title_justify='left')
    rows = [('this plan', solution.assignment)]
    rows += [(f'all on {name}', (name,) * problem.nodes) for name in problem.names]
    for name, assignment in rows:
        costs = evaluate(problem, assignment)
        if costs.feasible:
            values = (costs.latency_seconds * 1e3, costs.energy_joules, costs.bottleneck_seconds * 1e3)
            table.add_row(name, *(f'{value:.4g}' for value in values))
        else:
            table.add_row(name, f'cannot run: {costs.reason}')
    console.print(table)
    load, objective = loads(problem, chosen), OBJECTIVES[solution.objective]
    busiest = int(load.device_seconds.argmax())
    console.print(
        f'{solution.objective}: {objective.number(solution.objective_value or 0.0, 6)}{objective.suffix}, '
        f'{"proven best" if solution.optimal else "not proven best"}; '
        f'busiest device {problem.names[busiest]} ({load.device_seconds[busiest] * 1e3:.4g} ms); '
        f'planned in {solution.planning_seconds * 1e3:.1f} ms',
        highlight=False,
    )
    if solution.reason:
        console.print(solution.reason, markup=False, highlight=False)
    return 0
