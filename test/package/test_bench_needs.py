# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What each benchmark says that it needs, against what its files import, and against what pip is asked for."""

import ast
import configparser
import importlib.util
import os
import re
from pathlib import Path

import pytest

from edge_dnn_partition.cli import bench
from edge_dnn_partition.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.stem[len(bench.PREFIX) :]: path for path in sorted((ROOT / 'benchmarks').glob(f'{bench.PREFIX}*.py'))}
DISTRIBUTIONS = {'sklearn': 'scikit-learn'}
NOT_USED = {'trace': {'torch'}}
"""What a helper needs for another benchmark."""
MEANS = (
    (r'rclpy|edge_dnn_partition\.(msg|srv|nodes|cli\.testbed|cli\.running_fleet)\b', 'ROS'),
    (r'edge_dnn_partition\.graph\.zoo|torch', 'torch'),
    (r'transformers', 'transformers'),
    (r'networkx', 'networkx'),
    (r'sklearn|edge_dnn_partition\.testbed\.scenario\.(photographs|panning_camera)|edge_dnn_partition\.graph\.zoo\.digits', 'sklearn'),
)


def imported(path, seen=()):
    """Yield what a benchmark's file and its helpers import when they run, by full names."""
    tree = ast.parse(path.read_text())
    typing = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING'
              for inner in ast.walk(node)}  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f'{node.module}.{alias.name}' for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            helpers = [node.module] if node.module else [alias.name for alias in node.names]
            for helper in helpers:
                if helper not in seen:
                    yield from imported(path.parent / f'{helper}.py', (*seen, helper))


@pytest.mark.parametrize('name', FILES)
def test_a_benchmark_says_what_it_needs(name):
    used = set(imported(FILES[name]))
    asked = {need for pattern, need in MEANS if any(re.match(pattern, word) for word in used)}
    assert asked - NOT_USED.get(name, set()) <= set(bench.needs(FILES[name])), f'{FILES[name].name}: say so in NEEDS'


def test_the_extra_brings_what_pip_can_bring():
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    brought = {re.split('[>=]', line)[0] for line in config['options.extras_require']['bench'].split()}
    wanted = {DISTRIBUTIONS.get(need, need) for path in FILES.values() for need in bench.needs(path)} - {'ROS', 'root'}
    assert wanted <= brought


@pytest.mark.parametrize(('name', 'missing', 'words'), [
    ('cuts', ('torch', 'transformers'), "needs the Python packages torch, transformers: pip install '.[bench]'"),
    ('policies', ('matplotlib',), 'needs the Python package matplotlib'),
    ('codec', ('rclpy',), '`bench codec` needs ROS 2'),
])  # fmt: skip
def test_what_is_missing_is_said_in_one_line_before_anything_runs(monkeypatch, capsys, name, missing, words):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda module, *rest: None if module in missing else find(module, *rest))
    assert main(['bench', name, '--quick']) == 2
    said = capsys.readouterr().err
    assert words in said and said.startswith('error: ') and said.count('\n') == 1


def test_who_is_not_root_is_told(monkeypatch, capsys):
    pytest.importorskip('edge_dnn_partition.msg')
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    assert main(['bench', 'testbed', '--quick']) == 2
    assert 'which needs root' in capsys.readouterr().err


def test_the_list_says_what_each_needs(capsys):
    assert main(['bench']) == 0
    assert re.search(r'^exactness .* Needs torch, transformers\.$', capsys.readouterr().out, re.MULTILINE)
