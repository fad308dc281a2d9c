# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""``edge-dnn-partition demo``: a camera stream through a real ROS 2 fleet on one machine, split live."""

from __future__ import annotations

import argparse
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_dnn_partition.errors import UserError

EPILOG = """
examples:
  edge-dnn-partition demo
  edge-dnn-partition demo --seconds 20 --report report.json
  edge-dnn-partition demo --video drive.mp4
  edge-dnn-partition demo --two-models

Three devices run as separate processes and are EMULATED on this machine: a Pi (each run takes nine times
its CPU time), a Jetson (six times) and a cloud box (once), with links limited in rate and delay in user
space. ROS 2, DDS and onnxruntime are real. After the live part fixed plans are measured in the
conditions of each phase (unless --no-baselines is given).
"""


def add_parser(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        'demo', description='Run a camera stream through three emulated devices and watch the split move.', epilog=EPILOG
    )  # fmt: skip
    parser.add_argument('--seconds', type=float, default=45.0, metavar='N', help='length of the live part (default 45)')
    parser.add_argument('--report', type=Path, metavar='FILE', help='write all figures to this file as JSON')
    parser.add_argument('--out', type=Path, default=Path('demo_out'), metavar='DIR',
                        help='folder for plot, fleet file and log (default demo_out)')  # fmt: skip
    parser.add_argument('--no-baselines', action='store_true', help='do not measure fixed plans')
    parser.add_argument(
        '--two-models', action='store_true',
        help='run two cameras, each with its model, on the same devices; the second comes and goes, and has priority',
    )
    parser.add_argument('--rate', type=float, default=5.0, metavar='HZ', help='images per second (default 5)')
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument('--images', type=Path, metavar='DIR', help="images of a folder instead of the demo's own")
    camera.add_argument('--video', type=Path, metavar='FILE', help='frames of a video')
    camera.add_argument('--camera', type=int, metavar='NUMBER', help='frames of a camera')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; return 1 if a frame was lost or a result was wrong.

    :raises UserError: if it cannot begin.
    """
    from edge_dnn_partition.cli.console import console as open_console

    if not 5 <= args.seconds <= 3600:
        raise UserError(f'--seconds {args.seconds:g}: give 5 to 3600')
    if not 0.5 <= args.rate <= 60:
        raise UserError(f'--rate {args.rate:g}: give 0.5 to 60')
    console = open_console()
    if args.two_models:
        from edge_dnn_partition.cli.demo_shared import SharedDemo

        report, code = SharedDemo(args, console).run()
    else:
        report, code = _Demo(args, console).run()
    if args.report:
        args.report.write_text(json.dumps(report, indent=1, allow_nan=False) + '\n', encoding='utf-8')
    return code


class _Demo:
    """The demo's parts in order."""

    def __init__(self, args: argparse.Namespace, console: Any) -> None:
        self._args = args
        self._console = console
        self._out: Path = args.out

    def run(self) -> tuple[dict[str, Any], int]:
        from edge_dnn_partition.cli import demo_report
        from edge_dnn_partition.cli.demo_run import DemoRun
        from edge_dnn_partition.cli.running_fleet import join_network, running_fleet
        from edge_dnn_partition.deployment.start_checks import model_of
        from edge_dnn_partition.planning.fleet.fleet import load_fleet
        from edge_dnn_partition.planning.fleet.pipeline import Pipeline
        from edge_dnn_partition.testbed.emulation import played_profile
        from edge_dnn_partition.testbed.scenario import PHASES, handicap

        self._out.mkdir(parents=True, exist_ok=True)
        fleet = load_fleet(self._prepare())
        assert fleet.model is not None
        model = model_of(fleet)
        profile = self._profile(fleet, model)
        fleet_file = self._prepare(handicap(profile.total_seconds))
        fleet = load_fleet(fleet_file)
        pipeline = Pipeline(model, {name: played_profile(d, profile, model) for name, d in fleet.devices.items()}, fleet)
        images = demo_report.chosen_images(self._args)
        use_own_network()
        join_network(fleet)
        self._say('starting the fleet')
        with node_log(self._out) as write, running_fleet(
            fleet_file, images.stream(), rate=self._args.rate, name='demo', on_line=write, frames=3, seconds=60.0
        ) as running:  # fmt: skip
            drive = DemoRun(running, seconds=self._args.seconds / len(PHASES), say=self._say)
            with self._view(running.client, lambda: f'{drive.phase_name}   (devices and links are emulated)'):
                before = running.client.plan
                runs = drive.live(PHASES)
                fixed: list[dict[str, Any]] = [{} for _ in runs]
                if not self._args.no_baselines:
                    fixed = self._baselines(drive, runs, pipeline, images.mean_bytes)
                counts = demo_report.counts_of(running, self._console)
            changes = list(running.news.plans)
            difference = demo_report.compare(running, images)

        phases = []
        for run_of_phase, table in zip(runs, fixed, strict=True):
            phases.append(demo_report.phase_document(run_of_phase, before, table))
            before = run_of_phase.plans[-1] if run_of_phase.plans else before
        live = [(at, plan) for at, plan in changes if runs[0].begin <= at < runs[-1].end]
        report = {
            'phases': phases,
            'plan_changes': len(live),
            'plan_change_log': [
                {'seconds': round(at - runs[0].begin, 3), 'plan': plan.label(), 'reason': plan.reason,
                 'predicted_ms': round(plan.latency_seconds * 1e3, 2)} for at, plan in live
            ],
            'timeline': demo_report.timeline(runs),
            'whole_run': demo_report.whole_run(runs, fixed),
            'frames': counts,
            **difference,
            'emulated': True,
            'camera_hertz': self._args.rate,
            'model_ms_on_this_machine': round(profile.total_seconds * 1e3, 2),
        }  # fmt: skip
        demo_report.plot(self._out / 'latency.png', runs, report, changes)
        return report, self._conclude(report, demo_report.table(report))

    def _say(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(line)

    @contextmanager
    def _view(self, client: Any, headline: Callable[[], str]) -> Iterator[None]:
        """Draw the live view meanwhile, or print plan changes where there is no terminal."""
        from rich.live import Live

        from edge_dnn_partition.cli.top import render

        ended = threading.Event()

        def draw() -> None:
            if self._console.is_terminal:
                with Live(console=self._console, refresh_per_second=4, transient=True) as screen:
                    while not ended.wait(0.25):
                        screen.update(render(client, headline()))
                return
            shown = 0
            while not ended.wait(0.25):
                with client.lock:
                    plans = list(client.news.plans)
                for _, plan in plans[shown:]:
                    self._console.print(f'  plan {plan.version}: {plan.label()}  ({plan.reason})', highlight=False)
                shown = len(plans)

        thread = threading.Thread(target=draw, name='live_view', daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(2.0)

    def _prepare(self, handicap: float = 1.0) -> Path:
        """Build the model and write the fleet file."""
        import yaml

        from edge_dnn_partition.cache import write_atomic
        from edge_dnn_partition.testbed import demo_model
        from edge_dnn_partition.testbed.scenario import fleet_document

        model = demo_model.cached('demo')
        preprocessing = self._out / 'preprocessing.yaml'
        write_atomic(preprocessing, yaml.safe_dump(demo_model.preprocessing('demo')).encode())
        path = self._out / 'fleet.yaml'
        document = fleet_document(str(model.resolve()), 'preprocessing.yaml', handicap=handicap)
        write_atomic(path, yaml.safe_dump(document, sort_keys=False).encode())
        return path

    def _profile(self, fleet: Any, model: Any) -> Any:
        """Profile the model on this machine, once; the emulated devices' profiles are multiples of it."""
        from rich.progress import Progress

        from edge_dnn_partition.execution.profiling.image_samples import samples_of
        from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, load_or_profile
        from edge_dnn_partition.inputs.preprocess import Preprocessing

        preprocessing = Preprocessing.from_yaml(fleet.model.preprocessing)
        with Progress(console=self._console, transient=True) as progress:
            task = progress.add_task('profiling the model on this machine', total=1.0)
            return load_or_profile(
                model, ProfileOptions(device='host'),
                samples=samples_of(fleet.camera, preprocessing, raw=False),
                progress=lambda share: progress.update(task, completed=share), accept_throttled=True,
            )  # fmt: skip

    def _baselines(self, drive: Any, runs: list[Any], pipeline: Any, image_bytes: float) -> list[dict[str, Any]]:
        """Measure fixed plans in each phase's conditions; equal conditions are measured once."""
        from edge_dnn_partition.cli.demo_run import all_on, best_fixed_labels, true_problem

        seconds = max(2.0, self._args.seconds / 15)
        known: dict[Any, dict[str, Any]] = {}
        tables = []
        for run_of_phase in runs:
            phase = run_of_phase.phase
            key = phase.conditions()
            if key not in known:
                problem = true_problem(pipeline, phase, image_bytes)
                named = {'all_on_source': all_on(pipeline.model, pipeline, pipeline.fleet.source)}
                if phase.stopped != 'cloud':
                    named['all_on_cloud'] = all_on(pipeline.model, pipeline, 'cloud')
                candidates = best_fixed_labels(pipeline.model, pipeline, problem, 3)
                for plan in run_of_phase.plans[-1:]:
                    if phase.stopped not in plan.devices:
                        candidates.append(plan.label())
                labels = list(dict.fromkeys([*named.values(), *candidates]))
                self._say(f'measuring {len(labels)} fixed plans in: {phase.name}')
                measured = {r.label: r for r in drive.fixed(phase, labels, seconds)}
                known[key] = {**{name: measured[label] for name, label in named.items()}, **measured}
            tables.append(known[key])
        return tables

    def _conclude(self, report: dict[str, Any], table: Any) -> int:
        from edge_dnn_partition.cli import demo_report

        console = self._console
        console.print(table)
        frames = report['frames']
        console.print(
            f'frames: {frames["accepted"]} accepted, {frames["delivered"]} delivered, {frames["repeated"]} sent again, '
            f'{frames["failed"]} failed, {frames["lost"]} lost, {frames["duplicated"]} delivered twice',
            highlight=False,
        )
        console.print(
            f'results: {report["compared"]} compared with the whole model, {report["bit_exact"]} bit-exact, largest '
            f'difference {report["max_abs_difference"]:.2g} (largest output {report["largest_output"]:.3g})',
            highlight=False,
        )
        for name, words in (('all_on_source', 'everything on the source'), ('all_on_cloud', 'everything on the cloud')):
            entry = report['whole_run'].get(name, {})
            if entry.get('p50_ms') is not None:
                console.print(
                    f'over the whole run, p50 {entry["adaptive_p50_ms_in_these_phases"]:.0f} ms against '
                    f'{entry["p50_ms"]:.0f} ms with {words} ({_lower(entry["adaptive_is_lower_by"])}, '
                    f'{entry["phases"]} of {len(report["phases"])} phases)',
                    highlight=False,
                )
        console.print(f'devices and links are emulated; plot, fleet file and log: {self._out}/', highlight=False)
        failures = demo_report.failures(frames, report)
        for failure in failures:
            console.print(f'[red]FAILED: {failure}[/red]')
        return 1 if failures else 0


def use_own_network() -> None:
    """Keep what this process and its nodes say on this machine, in a ROS domain of their own unless one is set."""
    os.environ.update({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1'})
    os.environ.setdefault('ROS_DOMAIN_ID', str(100 + os.getpid() % 100))


@contextmanager
def node_log(folder: Path) -> Iterator[Callable[[str, str], None]]:
    """Open ``nodes.log`` in a folder; yields what writes a line under a label, from any thread."""
    lock = threading.Lock()
    with (folder / 'nodes.log').open('w', encoding='utf-8') as log:

        def write(label: str, line: str) -> None:
            with lock:
                log.write(f'[{label}] {line}\n')
                log.flush()

        yield write


def _lower(share: float) -> str:
    """Say by how much something is lower, or higher."""
    return f'{share:.0%} lower' if share >= 0 else f'{-share:.0%} higher'
