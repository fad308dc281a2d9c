# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The fuzzer's short form, and what it rests on: a process of its own for what native code may do to its caller."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import onnx
import pytest

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import isolation, trial
from edge_dnn_partition.graph.tensors import annotate

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import mutants  # noqa: E402


def test_no_mutant_ends_in_anything_but_one_line():
    done = subprocess.run([sys.executable, HERE / 'fuzz_models.py', '--mutants', '40', '--seed', '11'],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'refused'" in done.stdout
    assert "'split'" in done.stdout


def test_a_loop_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(trial, 'MOST_SECONDS', 0.2)
    endless = next(files for files in mutants.seeds() if files.name == 'endless')
    with pytest.raises(ModelError, match='endless.onnx does not end within'):
        annotate(onnx.ModelProto.FromString(endless.model), about='endless.onnx', weights_at=Path)


@pytest.mark.parametrize(('function', 'arguments', 'match'), [
    (os.abort, {}, r'makes onnx or onnxruntime crash \(SIGABRT\)'),
    (signal.pause, {}, 'is not prepared within 1 s'),
    (numpy.zeros, {'shape': 1 << 50}, 'needs more memory than is free here'),
    (onnx.load, {'f': __file__}, 'cannot be prepared: .*DecodeError'),
])
def test_what_happens_to_a_child_is_an_error_of_its_caller(function, arguments, match, monkeypatch):
    monkeypatch.setattr(isolation, 'MOST_SECONDS', 1.0 if function is signal.pause else 60.0)
    with pytest.raises(ModelError, match=f'model.onnx.* {match}') as caught:
        isolation.call_isolated(function, about='model.onnx', **arguments)
    assert '\n' not in str(caught.value)


def test_a_disk_that_fails_the_child_is_no_fault_of_the_model(tmp_path):
    with pytest.raises(FileExistsError) as caught:
        isolation.call_isolated(os.mkdir, about='model.onnx', path=str(tmp_path))
    assert caught.value.filename == str(tmp_path)
