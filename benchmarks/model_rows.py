# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of one model: inspected, split, given a meaning and streamed, as a user would; failures are figures, too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.graph.cuts import candidate_boundaries, work_shares
from edge_dnn_partition.graph.difference import compare, tolerance_for
from edge_dnn_partition.graph.feeds import random_feeds
from edge_dnn_partition.graph.model import Model, load_model
from edge_dnn_partition.graph.verify import run_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_dnn_partition.nodes.clients.inference_client import InferenceClient

FLEET: Final = 'models'
_COMMAND_SECONDS: Final = 600.0
_START_SECONDS: Final = 180.0
_FOLLOWED: Final = 'moved here: asked for by fixed_plan'
_FRAMES: Final = 3
_FOLDERS: Final = re.compile(r'/(?:tmp|home|root|work|var|opt|usr|mnt)/\S*/')
"""Folders of the machine that ran it, which say nothing to others."""


def row_of(family: str, name: str, exporter: str, path: Path) -> dict[str, Any]:
    """Return a model's row: per column what was found, or ``{'error': why}`` in one line."""
    row: dict[str, Any] = {'family': family, 'model': name, 'exporter': exporter, 'file_bytes': path.stat().st_size}
    with tempfile.TemporaryDirectory(prefix='bench_models_') as folder:
        row['kind'] = _tried(lambda: _kind(path, Path(folder) / 'init'))
        row['inspect'] = _tried(lambda: _inspect(path))
        if 'error' not in row['inspect']:
            row['split'] = _tried(lambda: _split(path, Path(folder) / 'stages'))
    return row


def stream_of(path: Path) -> dict[str, Any]:
    """Return what comes of frames split over two devices in real processes, against onnxruntime on the whole file."""
    with tempfile.TemporaryDirectory(prefix='bench_models_') as folder:
        return _tried(lambda: _stream(path, Path(folder)))


def thirds(model: Model) -> list[int]:
    """Return the candidate boundaries nearest to a third and two thirds of the work, or as many of them as there are."""
    shares, inner = work_shares(model), candidate_boundaries(model)[1:-1]
    return sorted({min(inner, key=lambda index: abs(shares[index] - wanted)) for wanted in (1 / 3, 2 / 3)} if inner else ())


def _tried(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except Exception as error:  # whatever it is, it belongs into the row  # noqa: BLE001
        return {'error': _FOLDERS.sub('', ' '.join(str(error).split())) or type(error).__name__}


def _command(*words: str) -> Any:
    """Run a verb in a process of its own and return the JSON that it prints."""
    found = subprocess.run([sys.executable, '-m', 'edge_dnn_partition.cli', *words, '--json'], capture_output=True, text=True,
                           timeout=_COMMAND_SECONDS, check=False)  # fmt: skip
    if found.returncode:
        said = found.stderr.strip().splitlines() or [f'`{words[0]}` ended with code {found.returncode}']
        raise UserError(said[-1].removeprefix('error: '))
    return json.loads(found.stdout)


def _inspect(path: Path) -> dict[str, Any]:
    document = _command('inspect', str(path))
    return {'layers': len(document['layers']), 'cuts': len(document['cuts'])}


def _split(path: Path, folder: Path) -> dict[str, Any]:
    if not (cuts := thirds(load_model(path))):
        raise UserError('there is nowhere to cut')
    found = _command('split', str(path), *(word for cut in cuts for word in ('--cut', str(cut))), '--out', str(folder), '--verify')
    outputs = found['verification']['outputs']
    return {'cuts': cuts, 'bit_exact': found['verification']['bit_exact'],
            'relative_difference': max(output['relative_difference'] for output in outputs)}  # fmt: skip


def _kind(path: Path, folder: Path) -> dict[str, Any]:
    """Return the kind of result that ``init`` writes, and whether the file says so or it is a guess."""
    said = _command('init', str(path), '--out', str(folder))
    model = yaml.safe_load((folder / 'robot.yaml').read_text(encoding='utf-8'))['model']
    guessed = any(line.startswith('postprocessing') for line in said['guesses'])
    return {'kind': model.get('postprocessing', {}).get('kind', ''), 'guess': guessed}


def _stream(path: Path, folder: Path) -> dict[str, Any]:
    model = load_model(path)
    edges = [0, *thirds(model), len(model.layers)]
    stages = [f'{("pi", "box")[number % 2]}:{"pre-" if not number else f"{edges[number]}-"}{edges[number + 1]}'
              for number in range(len(edges) - 1)]  # fmt: skip
    plan = ' '.join(stages)
    asked = [random_feeds(map(model.tensors.__getitem__, model.inputs), seed, model.example) for seed in range(_FRAMES)]
    with _fleet(model, plan, folder) as client:
        answers = [client.infer_and_wait(feeds, timeout=_START_SECONDS) for feeds in asked]
    found = [compare(run_file(model.source_path, model.outputs, feeds), answer.outputs,
                     tolerance_for(tensor.dtype for tensor in model.tensors.values()))
             for feeds, answer in zip(asked, answers, strict=True)]  # fmt: skip
    return {'plan': plan, 'frames': len(found), 'equal': sum(one.passed for one in found),
            'bit_exact': sum(one.exact for one in found), 'relative_difference': max(one.relative for one in found)}  # fmt: skip


@contextmanager
def _fleet(model: Model, plan: str, folder: Path) -> Iterator[InferenceClient]:
    """Run a fleet of two devices that follows a plan; a client of it."""
    import rclpy

    from edge_dnn_partition.cli.running_fleet import join_network
    from edge_dnn_partition.client import InferenceClient
    from edge_dnn_partition.deployment.processes import fleet_processes
    from edge_dnn_partition.deployment.supervisor import Supervisor
    from edge_dnn_partition.planning.fleet.fleet import load_fleet

    file = folder / 'fleet.yaml'
    file.write_text(yaml.safe_dump({
        'fleet': FLEET, 'source': 'pi', 'model': {'path': str(model.source_path)},
        'devices': {name: {'emulate': {}} for name in ('pi', 'box')},
        'links': [{'between': ['pi', 'box'], 'rate': '400 Mbit/s', 'emulate': True}],
        'parameters': {'scheduler': {'policy': 'fixed', 'fixed_plan': plan}, 'worker': {'profile_runs': 1}},
    }))  # fmt: skip
    fleet = load_fleet(file)
    lines: list[str] = []
    join_network(fleet)
    environment = {**os.environ, 'EDGE_DNN_PARTITION_CACHE': str(folder / 'cache')}  # else an earlier row's plan is resumed
    with Supervisor(environment, lambda label, text: lines.append(f'{label}: {text}')) as supervisor:
        for process in fleet_processes(fleet, file):
            supervisor.start(process)
        until = time.monotonic() + _START_SECONDS
        while not any(_FOLLOWED in line for line in lines):
            if time.monotonic() > until:
                raise UserError(f'the plan {plan} did not come into force within {_START_SECONDS:g} s: {_wrong(lines)}')
            time.sleep(0.1)
        context = rclpy.Context()
        rclpy.init(context=context)
        node = rclpy.create_node('bench_models', context=context)
        client = InferenceClient(node, FLEET)
        try:
            yield client
        except UserError as error:
            raise UserError(f'{error}: {_wrong(lines)}') from error
        finally:
            client.close()
            node.destroy_node()
            context.try_shutdown()


def _wrong(lines: list[str]) -> str:
    """Return the last line that a process complained with."""
    wrong = [line for line in lines if any(word in line for word in ('error', 'ERROR', 'WARN', 'fail'))]
    return re.sub(r'\[\d+\.\d+\] ', '', wrong[-1])[:300] if wrong else 'nothing was said'
