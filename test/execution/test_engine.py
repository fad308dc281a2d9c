# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The engine: a session whose feeds are checked, whose runs can be ended, and its optimised copy."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_dnn_partition.errors import ModelError, NotReadyError, UserError, WireError
from edge_dnn_partition.execution.frames.failure import FailureKind, kind_of, reason_of
from edge_dnn_partition.execution.stages.engine import Engine, RunTerminatedError
from edge_dnn_partition.execution.stages.stage_cache import weights_beside

RANDOM = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def write(path: Path, nodes: Sequence[onnx.NodeProto], inputs: dict[str, tuple[int, list[Any]]],
          outputs: dict[str, tuple[int, list[Any]]], weights: Sequence[onnx.TensorProto] = ()) -> Path:
    graph = helper.make_graph(
        list(nodes), 'test',
        [helper.make_tensor_value_info(name, *value) for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, *value) for name, value in outputs.items()], list(weights))
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid('', 17)])
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    weights = RANDOM.standard_normal((16, 3, 3, 3)).astype(np.float32)
    return write(tmp_path / 'conv.onnx',
                 [helper.make_node('Conv', ['x', 'w'], ['c'], pads=[1] * 4),
                  helper.make_node('Relu', ['c'], ['y'])],
                 {'x': (1, [1, 3, 8, 10])}, {'y': (1, [1, 16, 8, 10])}, [numpy_helper.from_array(weights, 'w')])


def x() -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).standard_normal((1, 3, 8, 10)).astype(np.float32)


def test_it_runs_and_keeps_the_books(conv: Path) -> None:
    engine = Engine(conv)
    assert [(t.name, t.dtype, t.shape) for t in engine.inputs] == [('x', 1, (1, 3, 8, 10))]
    assert [(t.name, t.dtype, t.shape) for t in engine.outputs] == [('y', 1, (1, 16, 8, 10))]
    outputs = engine.run({'x': x()})
    assert outputs['y'].shape == (1, 16, 8, 10)
    assert (outputs['y'] >= 0).all()
    assert engine.last_seconds > 0
    assert engine.last_cpu_seconds > 0
    assert engine.last_busy_seconds == engine.last_cpu_seconds
    engine.warm_up(2)


def test_with_threads_the_calling_threads_share_is_not_taken_for_the_whole(conv: Path) -> None:
    engine = Engine(conv, threads=2)
    engine.warm_up()
    assert engine.last_busy_seconds == engine.last_seconds


@pytest.mark.parametrize(('feeds', 'message'), [
    ({}, "input 'x' is missing"),
    ({'x': x().astype(np.float64)}, "input 'x' is float64, not float32"),
    ({'x': x()[..., :9]}, r'shape \[1, 3, 8, 9\], not \[1, 3, 8, 10\]'),
    ({'x': x()[0]}, r'shape \[3, 8, 10\]'),
    ({'x': x(), 'z': x()}, "has no input 'z'")])
def test_feeds_that_do_not_fit_are_refused(conv: Path, feeds: dict[str, Any], message: str) -> None:
    with pytest.raises(WireError, match=message):
        Engine(conv).run(feeds)


def test_open_dimensions_take_any_size(tmp_path: Path) -> None:
    path = write(tmp_path / 'open.onnx', [helper.make_node('Relu', ['x'], ['y'])],
                 {'x': (1, ['batch', 4])}, {'y': (1, ['batch', 4])})
    engine = Engine(path)
    assert engine.inputs[0].shape == (-1, 4)
    assert engine.run({'x': np.ones((3, 4), np.float32)})['y'].shape == (3, 4)
    engine.warm_up()
    with pytest.raises(WireError, match='shape'):
        engine.run({'x': np.ones((3, 5), np.float32)})


@pytest.mark.parametrize(('onnx_type', 'numpy_type'), [
    (TensorProto.FLOAT16, np.float16), (TensorProto.INT8, np.int8), (TensorProto.UINT8, np.uint8),
    (TensorProto.INT64, np.int64), (TensorProto.BOOL, np.bool_), (TensorProto.DOUBLE, np.float64)])
def test_element_types_bear_onnx_numbers(tmp_path: Path, onnx_type: int, numpy_type: Any) -> None:
    path = write(tmp_path / 'type.onnx', [helper.make_node('Identity', ['x'], ['y'])],
                 {'x': (onnx_type, [2])}, {'y': (onnx_type, [2])})
    engine = Engine(path)
    assert engine.inputs[0].dtype == onnx_type
    value = np.array([0, 1], numpy_type)
    assert (engine.run({'x': value})['y'] == value).all()


def test_an_unknown_provider_is_refused_with_those_there_are(conv: Path) -> None:
    with pytest.raises(UserError, match="'NoneSuch'.*available here: .*CPUExecutionProvider"):
        Engine(conv, providers=('NoneSuch', 'CPUExecutionProvider'))
    with pytest.raises(UserError, match='no execution provider'):
        Engine(conv, providers=())
    with pytest.raises(UserError, match='threads'):
        Engine(conv, threads=0)


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    bad = tmp_path / 'bad.onnx'
    bad.write_bytes(b'no model at all')
    for path, message in ((bad, 'bad.onnx'), (tmp_path / 'none.onnx', 'no such model file')):
        for cached in (False, True):
            with pytest.raises(ModelError, match=message) as caught:
                Engine(path, optimised_cache=cached)
            assert '\n' not in str(caught.value)


def test_a_run_can_be_ended_from_another_thread_and_the_next_is_free(tmp_path: Path) -> None:
    path = write(tmp_path / 'loop.onnx', [_endless_loop()],
                 {'x': (1, [1]), 'count': (TensorProto.INT64, [])}, {'y': (1, [1])},
                 [numpy_helper.from_array(np.array(True), 'go')])
    engine = Engine(path)
    begun = threading.Event()
    ended: list[bool] = []

    def work() -> None:
        begun.set()
        try:
            engine.run({'x': np.zeros(1, np.float32), 'count': np.array(2**62)})
        except RunTerminatedError:
            ended.append(True)

    engine.terminate()  # nothing runs yet: no effect
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert begun.wait(30)
    for _ in range(3000):
        engine.terminate()
        thread.join(0.01)
        if not thread.is_alive():
            break
    assert ended == [True]
    result = engine.run({'x': np.zeros(1, np.float32), 'count': np.array(5)})
    assert result['y'] == 5


def _endless_loop() -> onnx.NodeProto:
    one = helper.make_node('Constant', [], ['one'], value=numpy_helper.from_array(np.ones(1, np.float32)))
    body = helper.make_graph(
        [one, helper.make_node('Add', ['v', 'one'], ['v_out']), helper.make_node('Identity', ['c'], ['c_out'])],
        'body', [helper.make_tensor_value_info('i', TensorProto.INT64, []),
                 helper.make_tensor_value_info('c', TensorProto.BOOL, []),
                 helper.make_tensor_value_info('v', 1, [1])],
        [helper.make_tensor_value_info('c_out', TensorProto.BOOL, []),
         helper.make_tensor_value_info('v_out', 1, [1])])
    return helper.make_node('Loop', ['count', 'go', 'x'], ['y'], body=body)


def copies(cache: Path, pattern: str = '*.onnx') -> list[Path]:
    return sorted((cache / 'optimised').glob(pattern))


def test_the_optimised_copy_is_made_once_and_gives_the_same_result(conv: Path, cache: Path) -> None:
    plain = Engine(conv)
    assert not plain.from_optimised
    assert not copies(cache)
    first, written = Engine(conv, optimised_cache=True), copies(cache)
    second = Engine(conv, optimised_cache=True)
    assert first.from_optimised
    assert second.from_optimised
    assert len(written) == 1
    assert copies(cache) == written
    expected = plain.run({'x': x()})['y']
    for engine in (first, second):
        assert np.array_equal(engine.run({'x': x()})['y'], expected)


def test_a_broken_copy_is_dropped_and_the_original_loaded(conv: Path, cache: Path) -> None:
    Engine(conv, optimised_cache=True)
    [copy] = copies(cache)
    copy.write_bytes(b'cut off')
    engine = Engine(conv, optimised_cache=True)
    assert not engine.from_optimised
    assert engine.run({'x': x()})['y'].shape == (1, 16, 8, 10)
    assert not copies(cache)
    assert Engine(conv, optimised_cache=True).from_optimised


def test_another_content_under_the_same_name_has_a_copy_of_its_own(conv: Path, cache: Path) -> None:
    Engine(conv, optimised_cache=True)
    model = onnx.load(conv)
    weights = numpy_helper.to_array(model.graph.initializer[0]) * 2
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, 'w'))
    onnx.save(model, conv)
    engine = Engine(conv, optimised_cache=True)
    assert len(copies(cache)) == 2
    assert np.array_equal(engine.run({'x': x()})['y'], Engine(conv).run({'x': x()})['y'])


def test_the_copy_of_a_stage_has_its_weights_beside_it_as_the_stage_has(tmp_path: Path, cache: Path) -> None:
    random = np.random.default_rng(4)
    weights = {name: random.standard_normal((40, 40), np.float32) for name in ('w', 'v')}
    graph = helper.make_graph(
        [helper.make_node('MatMul', ['x', 'w'], ['h']), helper.make_node('Add', ['h', 'v'], ['y'])], 'g',
        [helper.make_tensor_value_info('x', 1, [40, 40])], [helper.make_tensor_value_info('y', 1, [40, 40])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()])
    stage, given = tmp_path / 'stage.onnx', {'x': random.standard_normal((40, 40), np.float32)}

    def write() -> np.ndarray:
        for file in (stage, weights_beside(stage)):
            file.unlink(missing_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), stage,
                  save_as_external_data=True, location=weights_beside(stage).name, size_threshold=0)
        return Engine(stage).run(given)['y']

    expected = write()
    for _ in range(2):
        engine = Engine(stage, optimised_cache=True)
        assert engine.from_optimised
        assert np.array_equal(engine.run(given)['y'], expected)
    (copy,) = copies(cache)
    assert weights_beside(copy).stat().st_size >= 2 * 40 * 40 * 4
    assert not [path for path in (cache / 'optimised').iterdir() if path.name.startswith('.')], 'a temporary folder is left'
    weights_beside(copy).unlink()
    engine = Engine(stage, optimised_cache=True)
    assert not engine.from_optimised, 'the copy is not whole'
    assert np.array_equal(engine.run(given)['y'], expected)
    assert Engine(stage, optimised_cache=True).from_optimised, 'it was not made again'
    graph.initializer[1].CopyFrom(numpy_helper.from_array(weights['v'] * 2, 'v'))
    changed = write()
    assert not np.array_equal(changed, expected)
    assert np.array_equal(Engine(stage, optimised_cache=True).run(given)['y'], changed), 'the weights were not looked at'
    weights_beside(stage).write_bytes(b'')
    with pytest.raises(ModelError):
        Engine(stage, optimised_cache=True)


def test_weights_in_other_files_make_no_copy(conv: Path, cache: Path, tmp_path: Path) -> None:
    external = tmp_path / 'external.onnx'
    onnx.save(onnx.load(conv), external, save_as_external_data=True, location='weights.bin', size_threshold=0)
    engine = Engine(external, optimised_cache=True)
    assert not engine.from_optimised
    assert not copies(cache)
    assert np.array_equal(engine.run({'x': x()})['y'], Engine(conv).run({'x': x()})['y'])


def test_a_cache_that_cannot_be_written_does_not_matter(conv: Path, cache: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    cache.mkdir()
    (cache / 'optimised').write_text('a file where a folder should be')
    engine = Engine(conv, optimised_cache=True)
    engine.warm_up()
    assert engine.from_optimised
    assert [*tmp_path.glob('edge_dnn_partition-*/optimised/*.onnx')], 'the copy is in the folder that stands in'


def test_what_a_run_is_given_and_what_the_device_lacks_fail_differently(tmp_path: Path) -> None:
    table = numpy_helper.from_array(np.zeros(4, np.float32), 'table')
    path = write(tmp_path / 'look_up.onnx',
                 [helper.make_node('Gather', ['table', 'place'], ['row'], name='look_up'),
                  helper.make_node('ConstantOfShape', ['size'], ['many'], name='memory'),
                  helper.make_node('ReduceSum', ['many'], ['sum'], keepdims=0)],
                 {'place': (7, []), 'size': (7, [1])}, {'row': (1, []), 'sum': (1, [])}, [table])
    engine = Engine(path)

    def failure(place: int, size: int) -> Exception:
        with pytest.raises(ModelError) as raised:
            engine.run({'place': np.array(place), 'size': np.array([size])})
        assert len(str(raised.value)) < 400
        return raised.value

    for error, kind, words in (
        (failure(9, 1), FailureKind.DATA, 'out of data bounds'), (failure(0, 1 << 50), FailureKind.DEVICE, 'Failed to allocate'),
        (failure(0, -5), FailureKind.DATA, ''), (WireError('cut off'), FailureKind.DATA, 'cut off'),
        (MemoryError('9 GB\x1b[31m'), FailureKind.DEVICE, 'MemoryError: 9 GB [31m'), (OSError('x\ny'), FailureKind.DEVICE, 'OSError: x y'),
        (NotReadyError('plan 3'), FailureKind.NOT_READY, 'plan 3'),
    ):  # fmt: skip
        assert kind_of(error) is kind, error
        assert words in reason_of(error)
    engine.run({'place': np.array(1), 'size': np.array([1])})


_SIX = """
import sys
from edge_dnn_partition import heap
from edge_dnn_partition.execution.profiling.speed_probe import SpeedProbe
from edge_dnn_partition.execution.stages.engine import Engine, give_back

def held():
    with open('/proc/self/smaps_rollup') as file:
        return next(int(line.split()[1]) for line in file if line.startswith('Anonymous'))

def opened():
    engine = Engine(sys.argv[1])
    engine.run(engine.made_up_feeds())
    return engine

probe = SpeedProbe()
none = held()
engines = [opened()]
one = held()
engines += [opened() for _ in range(5)]
six = held()
engines.clear()
give_back()
probe.read(1)
heap.give_back()
print(one - none, six - none, held() - none)
"""


def test_engines_take_their_tensors_from_one_arena_and_give_it_back(tmp_path: Path) -> None:
    """Each session keeps an arena of its own by default, as large as its largest run needed."""
    shape = [1, 16, 512, 512]
    names = ['x', *(f't{i}' for i in range(4)), 'y']
    nodes = [helper.make_node('Sin', [before], [after]) for before, after in zip(names, names[1:], strict=False)]
    path = write(tmp_path / 'large.onnx', nodes, {'x': (TensorProto.FLOAT, shape)}, {'y': (TensorProto.FLOAT, shape)})
    done = subprocess.run([sys.executable, '-c', _SIX, str(path)], capture_output=True, text=True, check=True)
    one, six, left = map(int, done.stdout.split())
    assert one > 16_000, 'kB: a tensor of the model'
    assert six < 3 * one
    assert left < 0.5 * one
