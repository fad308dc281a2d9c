# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from edge_dnn_partition import __version__
from edge_dnn_partition.cli import main as entry
from edge_dnn_partition.errors import UserError

COMMAND = [sys.executable, '-m', 'edge_dnn_partition.cli']


def one_error_line(captured) -> str:
    assert captured.out == ''
    lines = captured.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith('error: ')
    return lines[0]


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        ([], 'a verb is missing'),
        (['inspct'], 'did you mean `inspect`?'),
        (['frobnicate'], 'one of inspect, split'),
        (['--wrong'], '--help'),
        (['inspect'], 'MODEL.onnx'),
        (['inspect', 'model.onnx', 'extra'], 'extra'),
        (['inspect', '/nowhere/model.onnx'], '/nowhere/model.onnx'),
        (['split', 'model.onnx', '--cut', 'x', '--out', 'somewhere'], '--cut'),
        (['bench', 'plannr'], 'there is no benchmark'),
        (['bench', '--out', '/dev/null', '--nonsense'], '--nonsense'),
        (['doctor', '--colour'], 'edge-dnn-partition doctor --help'),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, part, capsys):
    assert entry.main(arguments) == 2
    assert part in one_error_line(capsys.readouterr())


def test_version_and_help_end_well(capsys):
    assert entry.main(['--version']) == 0
    assert capsys.readouterr().out.strip() == f'edge-dnn-partition {__version__}'
    assert entry.main(['--help']) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in entry.VERBS)


@pytest.mark.parametrize('verb', entry.VERBS)
def test_every_verb_is_there_and_its_help_has_an_example(verb, capsys):
    if verb == 'demo' or entry.VERBS[verb].needs_ros:
        pytest.importorskip('rclpy')
    assert entry.main([verb, '--help']) == 0
    out = capsys.readouterr().out
    assert out.startswith(f'usage: edge-dnn-partition {verb}')
    assert f'\n  edge-dnn-partition {verb}' in out


def fake_verb(monkeypatch, run) -> None:
    def add_parser(subparsers):
        subparsers.add_parser('inspect').set_defaults(run=run)

    monkeypatch.setattr(entry, '_module', lambda name: SimpleNamespace(add_parser=add_parser))


def test_user_errors_are_folded_to_one_line(monkeypatch, capsys):
    def run(args):
        raise UserError('two\nlines')

    fake_verb(monkeypatch, run)
    assert entry.main(['inspect']) == 2
    assert capsys.readouterr().err == 'error: two lines\n'


def test_a_bug_keeps_its_traceback(monkeypatch):
    def run(args):
        raise ZeroDivisionError

    fake_verb(monkeypatch, run)
    with pytest.raises(ZeroDivisionError):
        entry.main(['inspect'])


def test_an_interrupt_ends_with_130(monkeypatch, capsys):
    def run(args):
        raise KeyboardInterrupt

    fake_verb(monkeypatch, run)
    assert entry.main(['inspect']) == 130
    assert 'Traceback' not in capsys.readouterr().err


def test_a_missing_python_package_is_named(monkeypatch, capsys):
    def import_module(name):
        raise ModuleNotFoundError("No module named 'scipy'", name='scipy')

    monkeypatch.setattr(entry.importlib, 'import_module', import_module)
    assert entry.main(['plan']) == 2
    assert '`scipy`' in one_error_line(capsys.readouterr())


def test_a_closed_pipe_ends_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, 'doctor', '--json'], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ''
    assert done.returncode == 141


def test_starting_imports_nothing_heavy():
    code = (
        'import sys; from edge_dnn_partition.cli.main import main; main(["--version"]);'
        'print([m for m in ("numpy", "onnx", "onnxruntime", "rclpy", "scipy", "cv2", "rich") if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == '[]'


@pytest.mark.parametrize('verb', [name for name, verb in entry.VERBS.items() if verb.needs_ros])
def test_without_ros_a_verb_that_needs_it_says_so(verb, monkeypatch, capsys):
    find = entry.importlib.util.find_spec

    def find_spec(name, package=None):
        return None if name == 'rclpy' else find(name, package)

    monkeypatch.setattr('edge_dnn_partition.ros_env.importlib.util.find_spec', find_spec)
    assert entry.main([verb]) == 2
    line = one_error_line(capsys.readouterr())
    assert f'`{verb}` needs ROS 2' in line
    assert 'make setup' in line


def test_the_list_of_benchmarks_is_one_json_document(capsys):
    if entry.main(['bench', '--json']) != 0:
        pytest.fail(capsys.readouterr().err)
    listed = json.loads(capsys.readouterr().out)['benchmarks']
    assert all(item['name'] and item['summary'] for item in listed)
