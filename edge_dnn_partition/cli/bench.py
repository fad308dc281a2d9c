# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The verb ``bench``: runs a benchmark and writes its figures and a plot."""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import json
import math
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import edge_dnn_partition
from edge_dnn_partition.cli import bench_report
from edge_dnn_partition.errors import UserError

PREFIX: Final = 'bench_'


def add_parser(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = subparsers.add_parser(
        'bench',
        description='Runs a benchmark, prints its targets and writes DIR/NAME.json and DIR/NAME.png. '
        'Without NAME, lists the benchmarks and what each needs. '
        'NAME report writes DIR/report.html from the figures in DIR; NAME suite runs '
        f'{", ".join(SUITE)} and then writes the report.',
        epilog='example:\n  edge-dnn-partition bench planner --out bench_out',
    )
    parser.add_argument('name', nargs='?', metavar='NAME', help='the benchmark, or report, or suite')
    parser.add_argument('--out', type=Path, default=Path('bench_out'), metavar='DIR', help='default: bench_out')
    parser.add_argument('--quick', action='store_true', help='fewer and smaller cases, to check that it runs')
    parser.add_argument('--traces', type=Path, metavar='DIR', help='trace: a folder of recordings, CSV seconds,bits_per_second')
    parser.add_argument('--models', type=Path, metavar='DIR', help='cuts, models: a folder of ONNX files beside the zoo')
    parser.add_argument('--seconds', type=float, metavar='N',
                        help='trace: seconds of each recording to play; models: when to begin no further stream')  # fmt: skip
    parser.add_argument('--only', metavar='PART', help='footprint: the parts to run, with commas between')
    parser.add_argument('--json', action='store_true', help='print the JSON document instead of tables')
    parser.add_argument('--linked', action='store_true', help='report: link to the plots in DIR instead of embedding them')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run one benchmark, or list them; the exit code is 1 if a target of a full run was missed."""
    files = find()
    if args.name is None:
        return _list(files, as_json=args.json)
    if args.name == 'report':
        return _report(args, files)
    if args.name == 'suite':
        return _suite(args, files)
    if args.name not in files:
        near = difflib.get_close_matches(args.name, files, n=1)
        hint = f'did you mean `{near[0]}`?' if near else f'one of {", ".join(files) or "none"}'
        raise UserError(f'there is no benchmark `{args.name}`: {hint}')
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f'--out {args.out}: is a file; name a folder')
    takes = _named(files[args.name], 'OPTIONS')
    options: dict[str, Any] = {}
    for name in ('traces', 'models', 'seconds', 'only'):
        if (given := getattr(args, name)) is not None:
            if name not in takes:
                able = next(other for other, path in files.items() if name in _named(path, 'OPTIONS'))
                raise UserError(f'the benchmark `{args.name}` takes no --{name}; `{able}` does')
            options[name] = given
    if args.seconds is not None and not 0 < args.seconds < math.inf:
        raise UserError(f'--seconds {args.seconds:g}: must be more than 0')
    check_needs(args.name, files[args.name], quick=args.quick)
    quick = ' --quick' if args.quick else ''
    # a folder of the user's machine says nothing to others
    given = ''.join(f' --{name} DIR' for name in ('traces', 'models') if name in options)
    given += f' --seconds {args.seconds:g}' if 'seconds' in options else ''
    given += f' --only {args.only}' if 'only' in options else ''
    command = f'edge-dnn-partition bench {args.name}{given}{quick} --out {shlex.quote(str(args.out))}'
    if 'rows' in takes:
        args.out.mkdir(parents=True, exist_ok=True)
        options['rows'] = args.out / f'{args.name}.rows.jsonl'
    result = load(args.name, files[args.name]).run(quick=args.quick, progress=_progress, **options)
    data, image = bench_report.write(args.name, result, args.out, command=command)
    if args.json:
        print(data.read_text(encoding='utf-8'), end='')
    else:
        bench_report.print_targets(result)
        print(f'wrote {data} and {image}')
    return 0 if args.quick or all(target.met for target in result.targets) else 1


def find() -> dict[str, Path]:
    """Return the benchmarks' files by name: the installed ones, or those beside a bare checkout."""
    package = Path(edge_dnn_partition.__file__).resolve().parent
    for folder in (package / 'benchmarks', package.parent / 'benchmarks'):
        files = {path.stem[len(PREFIX) :]: path for path in sorted(folder.glob(f'{PREFIX}*.py'))}
        if files:
            return files
    return {}


def load(name: str, path: Path) -> ModuleType:
    """Import a benchmark's file as ``edge_dnn_partition.benchmarks.bench_NAME``."""
    package = 'edge_dnn_partition.benchmarks'
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        spec = importlib.util.spec_from_file_location(
            package, path.parent / '__init__.py', submodule_search_locations=[str(path.parent)]
        )
        if spec is None or spec.loader is None:
            raise UserError(f'{path.parent}: not a folder of benchmarks')
        module = importlib.util.module_from_spec(spec)
        sys.modules[package] = module
        spec.loader.exec_module(module)
    return importlib.import_module(f'{package}.{PREFIX}{name}')


def needs(path: Path, *, quick: bool = False) -> tuple[str, ...]:
    """Return what a benchmark needs beside this package, without importing it: ``ROS``, ``root``, Python packages.

    Its file says so in NEEDS, and in NEEDS_WHOLE what only a whole run needs; all of them draw with matplotlib.
    """
    return ('matplotlib', *_named(path, 'NEEDS'), *(() if quick else _named(path, 'NEEDS_WHOLE')))


def _named(path: Path, name: str) -> tuple[str, ...]:
    """Return a tuple that a benchmark's file names at its top, without importing it; empty if it does not."""
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return tuple(ast.literal_eval(node.value))
    return ()


def check_needs(name: str, path: Path, *, quick: bool) -> None:
    """Refuse to begin what could not be ended.

    :raises UserError: that says what is missing and how to get it.
    """
    wanted = needs(path, quick=quick)
    missing = [word for word in wanted if word not in ('ROS', 'root') and importlib.util.find_spec(word) is None]
    if missing:
        words = f'the Python package{"s" if len(missing) > 1 else ""} {", ".join(missing)}'
        raise UserError(f"the benchmark `{name}` needs {words}: pip install '.[bench]' in a checkout, or `make setup`")
    if 'ROS' in wanted:
        from edge_dnn_partition import ros_env

        ros_env.require_ros(f'bench {name}')
    if 'root' in wanted and os.geteuid() != 0:
        raise UserError(f'the benchmark `{name}` creates network namespaces, which needs root: run it with sudo')


def summary(path: Path) -> str:
    """Return the first line of a benchmark's docstring, without importing it."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return docstring.split('\n', 1)[0]


def _report(args: argparse.Namespace, files: dict[str, Path]) -> int:
    path = bench_report.write_page(args.out, {name: summary(file) for name, file in files.items()}, linked=args.linked)
    print(json.dumps({'report': str(path)}) if args.json else f'wrote {path}')
    return 0


def _suite(args: argparse.Namespace, files: dict[str, Path]) -> int:
    """Run the suite; the exit code is the worst of its benchmarks'."""
    names = [name for name in SUITE if name in files]
    codes = run_suite(names, args.out, quick=args.quick, say=_progress)
    _report(args, files)
    return max(codes.values(), default=0)


def _list(files: dict[str, Path], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({'benchmarks': [
            {'name': name, 'needs': needs(path), 'summary': summary(path)} for name, path in files.items()
        ]}))
        return 0
    if not files:
        raise UserError('no benchmarks are installed: run this in a checkout after `make setup`')
    for name, path in files.items():
        extra = ', '.join(needs(path)[1:])
        print(f'{name:<12} {summary(path)}' + (f' Needs {extra}.' if extra else ''))
    print("\nAll need matplotlib. In a checkout, `pip install '.[bench]'` installs the packages; `make setup` or colcon, ROS.")
    return 0


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


SUITE: Final = ('testbed', 'footprint', 'overhead', 'pipeline', 'switch', 'scale', 'grid', 'corners', 'trace', 'recovery')
"""What compares the system with what people would use instead; the others measure its parts."""


def run_suite(
    names: Collection[str], out: Path, *, quick: bool, say: Callable[[str], None], start: Callable[..., int] = subprocess.call
) -> dict[str, int]:
    """Run benchmarks; one that fails does not keep the others from running.

    :param start: runs a command and returns its exit code.
    :return: their exit codes: 0, 1 for a missed target, or of a benchmark that could not run.
    """
    codes = {}
    for name in names:
        say(f'bench {name}')
        begin = time.monotonic()
        command = [sys.executable, '-m', 'edge_dnn_partition.cli', 'bench', name, '--out', str(out)]
        # Else `python -m` would take the package from a checkout in the current folder, which has no messages built.
        environment = {**os.environ, 'PYTHONSAFEPATH': '1'}
        codes[name] = start([*command, '--quick'] if quick else command, env=environment)
        say(f'bench {name}: {_outcome(codes[name])} after {(time.monotonic() - begin) / 60:.1f} min')
    return codes


def _outcome(code: int) -> str:
    return {0: 'done', 1: 'done, a target was missed'}.get(code, f'failed with exit code {code}')
