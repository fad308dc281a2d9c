# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What each of the planner's methods is worth: problems are solved with all of them, and again without each that was used.

Chains and graphs of 20 to 100 layers (skips, branches, attention blocks, random) on 2 to 8 devices, a third with memory that
binds, a third with boundary overheads; the fleets of ``config/``; fleets of 300 devices. All are made here from
fixed seeds. Times are CPU seconds, which other work on the machine hardly changes.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import numpy as np

from edge_dnn_partition.cli.bench_report import BenchResult
from edge_dnn_partition.planning.cost_model import batch
from edge_dnn_partition.planning.cost_model.parts import INPUT, Device, Link, Tensor
from edge_dnn_partition.planning.cost_model.problem import Problem
from edge_dnn_partition.planning.fleet.fleet import Fleet, load_fleet
from edge_dnn_partition.planning.objectives import Goal
from edge_dnn_partition.planning.solvers import solve as table
from edge_dnn_partition.planning.solvers import subsets
from edge_dnn_partition.planning.solvers.fewer_stages import effective_bottleneck
from edge_dnn_partition.planning.solvers.solve import Solution, solve

from .throughput_graphs import FAMILIES, graph_problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = list[dict[str, Any]]
_SOLVERS: Final = 'edge_dnn_partition.planning.solvers'
_SAME: Final = 1e-9
"""Relative difference up to which two values count as equal."""
_COUNT, _QUICK_COUNT = 24, 6
"""Random problems."""
_LARGEST, _QUICK_LARGEST = 100, 32
"""Layers at most."""
OBJECTIVES: Final = ('latency', 'energy', 'balanced', 'deadline', 'deadline tail', 'throughput', 'throughput quick')
SINGLE_VISIT_OBJECTIVES: Final = ('latency', 'energy', 'deadline', 'throughput')


@dataclass(frozen=True)
class Part:
    """A part of a method.

    :param place: its function or method in ``planning/solvers``, whose calls say that a problem used it.
    :param instead: what stands in its place where it is left out.
    """

    name: str
    place: str
    instead: Any


def _nothing(*_args: Any, **_options: Any) -> None:
    return None


PARTS: Final = (
    Part('links of a chain', 'chain.only_path', _nothing),
    Part('kinds of devices', 'subsets.kinds', lambda problem: subsets.Kinds(tuple((d,) for d in range(len(problem.devices))))),
    Part('memory repair', 'memory.repair', _nothing),
    Part('memory moves', 'memory.improve', _nothing),
    Part('deadline prices', 'deadline._raise_price', _nothing),
    Part('deadline labels', 'labels.within', lambda *_args, **_options: False),
    Part('deadline HiGHS', 'deadline._program', lambda search, *_: search.proven()),
    Part('tail shrinking', 'deadline._shrink', _nothing),
    Part('throughput prices', 'throughput._prices', lambda *_args, **_options: (0.0, [])),
    Part('throughput tabu', 'throughput._search', _nothing),
    Part('throughput HiGHS', 'milp.throughput', _nothing),
    Part('two moves at once', 'bottleneck.TabuSearch._twice', lambda _self, value, plan: (value, plan)),
    Part('fewer stages', 'throughput.fewer_stages', lambda _problem, plans: plans[0]),
    Part('settling', 'throughput.settle', _nothing),
)
"""Beside the rows of `solve.METHODS`."""
_CHEAP: Final = ('throughput tabu', 'two moves at once', 'settling')
"""Asked of quick throughput alone, which shows them as well in a tenth of the time."""


def _place(path: str) -> tuple[Any, str]:
    module, *classes, name = path.split('.')
    return functools.reduce(getattr, classes, importlib.import_module(f'{_SOLVERS}.{module}')), name


@contextmanager
def _counted(used: set[str]) -> Iterator[None]:
    """Add the names of the methods and parts that are used meanwhile."""

    def counting(name: str, original: Any) -> Any:
        @functools.wraps(original)
        def call(*args: Any, **options: Any) -> Any:
            used.add(name)
            return original(*args, **options)

        return call

    rows = tuple(row._replace(answer=counting(row.name, row.answer)) for row in table.METHODS)
    with ExitStack() as stack:
        stack.enter_context(patch.object(table, 'METHODS', rows))
        for part in PARTS:
            owner, name = _place(part.place)
            stack.enter_context(patch.object(owner, name, counting(part.name, getattr(owner, name))))
        yield


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Leave a method or a part out."""
    part = next((part for part in PARTS if part.name == name), None)
    with ExitStack() as stack:
        if part is not None:
            stack.enter_context(patch.object(*_place(part.place), part.instead))
        else:
            stack.enter_context(patch.object(table, 'METHODS', tuple(row for row in table.METHODS if row.name != name)))
        if name == 'all plans':
            stack.enter_context(patch.object(batch, 'ENUMERATED', 0))
        yield


def random_chain(nodes: int, devices: int, rng: np.random.Generator) -> Problem:
    """Return a chain on the kind of fleet that graphs have."""
    problem = graph_problem('skips', nodes, devices, rng)
    tensors = [dataclasses.replace(problem.tensors[0], readers=(0,))]
    tensors += [
        dataclasses.replace(t, readers=(t.producer + 1,) if t.producer + 1 < nodes else (), at_sink=t.producer + 1 == nodes)
        for t in problem.tensors[1:]
    ]
    return dataclasses.replace(problem, tensors=tuple(tensors))


def fleet_chain(fleet: Fleet, nodes: int, rng: np.random.Generator) -> Problem:
    """Return a random chain on a fleet file's devices and links; more threads, more speed."""
    work = rng.lognormal(-3.5, 0.8, nodes)
    speed = np.array([d.threads / d.emulate.factor if d.emulate else d.threads for d in fleet.devices.values()])
    sizes = 10 ** rng.uniform(4, 6, nodes)
    tensors = [Tensor(name='input', producer=INPUT, readers=(0,), bytes=1.5e5)]
    tensors += [
        Tensor(name=f't{i}', producer=i, readers=(i + 1,) if i + 1 < nodes else (), bytes=float(sizes[i]), at_sink=i + 1 == nodes)
        for i in range(nodes)
    ]
    return Problem(
        source=fleet.source, sink=fleet.sink_device,
        devices=tuple(
            Device(name=name, active_watts=d.power.active, idle_watts=d.power.idle, radio_watts=d.power.radio,
                   energy_weight=d.power.weight)
            for name, d in fleet.devices.items()
        ),
        links=tuple(
            Link(sender=a, reader=b, bytes_per_second=link.rate, latency_seconds=link.delay, channel=link.channel)
            for link in fleet.links for a, b in (link.between, link.between[::-1])
        ),
        node_names=tuple(f'n{i}' for i in range(nodes)), tensors=tuple(tensors), seconds=work[:, None] / speed,
        weight_bytes=np.ones(nodes),
    )  # fmt: skip


def problems(count: int, largest: int, *, seed: int = 0) -> Iterator[tuple[str, Problem]]:
    """Yield random problems with what they are: every fifth a chain, a third with memory that binds, a third with overheads."""
    for k in range(count):
        rng = np.random.default_rng([seed, k, 21])
        family = ('chain', *FAMILIES)[k % 5]
        nodes, devices = int(rng.integers(20, largest + 1)), 2 + k % 7
        problem = random_chain(nodes, devices, rng) if family == 'chain' else graph_problem(family, nodes, devices, rng)
        watts = rng.uniform(2, 30, devices)
        limited = k % 3 == 1
        weights = rng.lognormal(0, 1, nodes)
        memory = weights.sum() / devices * rng.uniform(0.9, 1.8, devices) if limited else np.full(devices, np.inf)
        if limited:
            memory *= max(1.0, 1.25 * weights.sum() / memory.sum())
        problem = dataclasses.replace(
            problem, weight_bytes=weights,
            devices=tuple(
                dataclasses.replace(d, active_watts=float(w), radio_watts=1.0, idle_watts=0.3, memory_bytes=float(m))
                for d, w, m in zip(problem.devices, watts, memory, strict=True)
            ),
            seam_seconds=rng.uniform(-0.001, 0.003, (nodes - 1, devices)) if k % 3 == 2 else None,
        )  # fmt: skip
        yield f'{family}{" memory" if limited else ""}{" overheads" if k % 3 == 2 else ""}', problem


def large_fleet(nodes: int, rng: np.random.Generator, *, is_chain: bool) -> Problem:
    """Return a problem on 300 devices: a graph on fully linked ones, or a chain on a fleet with links to eight servers alone."""
    problem = (random_chain if is_chain else functools.partial(graph_problem, 'random'))(nodes, 300, rng)
    if is_chain:
        servers = {f'd{i}' for i in range(8)}
        problem = dataclasses.replace(problem, links=tuple(x for x in problem.links if {x.sender, x.reader} & servers))
    watts = rng.uniform(2, 30, 300).tolist()
    devices = tuple(dataclasses.replace(d, active_watts=w) for d, w in zip(problem.devices, watts, strict=True))
    return dataclasses.replace(problem, devices=devices)


@dataclass(frozen=True)
class Case:
    """One question to the planner."""

    name: str
    problem: Problem
    objective: str
    space: str = 'any'
    goal: Goal | None = None
    quick: bool = False

    def solve(self) -> tuple[Solution, float]:
        """Return the answer and the CPU seconds it took; nothing that the problem has worked out before is used."""
        problem = dataclasses.replace(self.problem)
        begin = time.process_time()
        solution = solve(problem, self.goal or self.objective, self.space, quick=self.quick)
        return solution, time.process_time() - begin

    def value(self, solution: Solution) -> float:
        """Return what is to be least; infinite without a plan, or where the deadline is missed."""
        if solution.assignment is None or solution.objective_value is None or solution.deadline_met is False:
            return np.inf
        if self.quick and self.problem.is_chain:
            return effective_bottleneck(self.problem, solution.assignment)
        return solution.objective_value


def cases(*, quick: bool) -> Iterator[Case]:
    """Yield all questions."""
    for k, (name, problem) in enumerate(problems(*((_QUICK_COUNT, _QUICK_LARGEST) if quick else (_COUNT, _LARGEST)))):
        label = f'{name} {problem.nodes}x{len(problem.devices)}'
        for j, objective in enumerate(OBJECTIVES):
            if objective not in ('deadline tail', 'throughput') or (k + j) % 3 == 0:  # these take long
                yield from _ask(label, problem, objective, 'any')
        if k % 2 == 0:
            for objective in SINGLE_VISIT_OBJECTIVES:
                yield from _ask(label, problem, objective, 'each_device_once')
    for path in sorted(_config().glob('*.yaml')):
        if 'source:' in path.read_text(encoding='utf-8'):
            problem = fleet_chain(load_fleet(path), 30, np.random.default_rng(1))
            for objective in OBJECTIVES:
                if objective != 'deadline tail':
                    yield from _ask(f'config/{path.name}', problem, objective, 'any')
    for objective in ('latency',) if quick else ('latency', 'energy'):
        rng = np.random.default_rng(300)
        yield from _ask('300 devices, graph', large_fleet(20, rng, is_chain=False), objective, 'any')
        yield from _ask('300 devices, chain', large_fleet(20, rng, is_chain=True), objective, 'any')


def _config() -> Path:
    """Return the folder of example fleets, beside a checkout's or an installed package."""
    import edge_dnn_partition

    package = Path(edge_dnn_partition.__file__).resolve().parent
    folders = (package.parent / 'config', *(up / 'share' / 'edge_dnn_partition' / 'config' for up in package.parents))
    return next((folder for folder in folders if folder.is_dir()), package)


def _ask(name: str, problem: Problem, objective: str, space: str) -> Iterator[Case]:
    if objective.startswith('deadline'):
        fast, cheap = (solve(problem, one, space) for one in ('latency', 'energy'))
        if fast.latency_seconds is None or cheap.latency_seconds is None:
            return
        seconds = fast.latency_seconds + 0.3 * (cheap.latency_seconds - fast.latency_seconds)
        if objective == 'deadline tail':
            rng = np.random.default_rng(problem.nodes)
            problem = problem.scattering(
                {n: float(rng.uniform(0, 0.2)) for n in problem.names},
                {(x.sender, x.reader): float(rng.uniform(0.1, 0.5)) for x in problem.links},
            )  # fmt: skip
            seconds *= 1.1
        share = 0.9 if objective == 'deadline tail' else 0.5
        yield Case(name, problem, objective, space, Goal('deadline', deadline_seconds=seconds, deadline_share=share))
    else:
        plain = objective.removesuffix(' quick')
        yield Case(name, problem, objective, space, Goal(plain), quick=objective.endswith('quick'))


def ablate(case: Case) -> Results:
    """Return what was found with all methods, and without each that was used."""
    used: set[str] = set()
    with _counted(used):
        case.solve()
    whole, seconds = case.solve()
    value, base = case.value(whole), {'problem': case.name, 'objective': case.objective, 'space': case.space}
    rows: Results = [{**base, 'without': '', 'value': value, 'optimal': whole.optimal, 'cpu_seconds': seconds}]
    for name in (*(row.name for row in table.METHODS), *(part.name for part in PARTS)):
        # there is nothing to take the place of the one, and the other is the proof that there is no plan
        if name not in used or name in ('throughput', 'nowhere') or (name in _CHEAP and case.objective == 'throughput'):
            continue
        with _without(name):
            fewer, without_seconds = case.solve()
        other = case.value(fewer)
        both = np.isfinite(other) and np.isfinite(value) and value > 0
        rows.append({
            **base, 'without': name, 'value': other, 'optimal': fewer.optimal, 'cpu_seconds': without_seconds,
            'cpu_seconds_with': seconds, 'loss': other / value - 1 if both else 0.0,
            'answer_lost': bool(np.isinf(other) and np.isfinite(value)),
            'answer_won': bool(np.isfinite(other) and np.isinf(value)),
            'proof_lost': whole.optimal and not fewer.optimal, 'proof_won': fewer.optimal and not whole.optimal,
        })  # fmt: skip
    return rows


def summary(results: Results) -> Results:
    """Return for each method how often it was used, and what was lost without it."""
    found = []
    for name in dict.fromkeys(r['without'] for r in results if r['without']):
        rows = [r for r in results if r['without'] == name]
        losses = [r['loss'] for r in rows]
        found.append({
            'without': name, 'problems': len(rows), 'answers_lost': sum(r['answer_lost'] for r in rows),
            'proofs_lost': sum(r['proof_lost'] for r in rows), 'worse': sum(x > _SAME for x in losses),
            'mean_loss': float(np.mean([max(x, 0.0) for x in losses])), 'largest_loss': max(0.0, *losses),
            'better': sum(x < -_SAME for x in losses) + sum(r['answer_won'] for r in rows),
            'cpu_seconds_with': sum(r['cpu_seconds_with'] for r in rows), 'cpu_seconds': sum(r['cpu_seconds'] for r in rows),
        })  # fmt: skip
    return found


def as_table(found: Results) -> str:
    """Return the summary as a table for Markdown."""
    lines = ['| without | problems | answers lost | proofs lost | worse | mean | largest | better | CPU s with | without |',
             '|---|---|---|---|---|---|---|---|---|---|']  # fmt: skip
    lines += [
        f'| {r["without"]} | {r["problems"]} | {r["answers_lost"]} | {r["proofs_lost"]} | {r["worse"]} | {r["mean_loss"]:.2%} '
        f'| {r["largest_loss"]:.1%} | {r["better"]} | {r["cpu_seconds_with"]:.1f} | {r["cpu_seconds"]:.1f} |'
        for r in found
    ]
    return '\n'.join(lines)


def run(*, quick: bool, progress: Callable[[str], None]) -> BenchResult:
    """Run the benchmark; ``quick`` solves few problems."""
    results: Results = []
    for case in cases(quick=quick):
        rows = ablate(case)
        progress(f'{case.name}, {case.objective}, {case.space}: {rows[0]["cpu_seconds"]:.2f} s, {len(rows) - 1} methods')
        results += rows
    found = summary(results)
    return BenchResult(found + results, [], lambda figure: _plot(figure, found), as_table(found))


def _plot(figure: Figure, found: Results) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    names = [r['without'] for r in found][::-1]
    left.barh(names, [100 * r['mean_loss'] for r in found][::-1])
    left.set(xlabel='mean loss without it, %', xscale='symlog', title='value')
    lost = [[r[key] / r['problems'] * 100 for r in found][::-1] for key in ('answers_lost', 'proofs_lost')]
    right.barh(names, lost[0], label='answers')
    right.barh(names, lost[1], left=lost[0], label='proofs')
    right.set(xlabel='problems in which they are lost, %', title='answers and proofs')
    right.legend()
