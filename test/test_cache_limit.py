# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The cache stays within its limit, least recently used first, and a process never loses what it runs.

Reported of other caches of models: one of 125 GB on a small disk (modular/modular#4028), 29.5 GB of entries of builds that nobody
reads any more (peonist-ai/halogen-flash-server#78), and a Pi that ran out of files with space left (guysoft/FullPageOS#106).
"""

import os
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_dnn_partition import cache_limit
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.graph import prepare
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.testbed import demo_model

OLD = 1e9


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(cache_limit, '_held', {})
    return tmp_path / 'cache'


def put(folder, name, size, used):
    """Make what a prepared model or a stage looks like."""
    (folder / name).mkdir(parents=True)
    for part, count in (('model.onnx', 1), ('prepared.weights', size - 1)):
        (folder / name / part).write_bytes(bytes(count))
        os.utime(folder / name / part, (used, used))
    os.utime(folder / name, (used, used))


def size_of(path):
    return sum(file.stat().st_size for file in (path, *path.rglob('*')))


SIZES = st.lists(st.tuples(st.integers(2, 5000), st.integers(0, 5), st.sampled_from(['old', 'old', 'fresh', 'held'])), max_size=7)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, st.integers(0, 40_000))
def test_what_was_used_longest_ago_goes_first(root, models, limit):
    shutil.rmtree(root, ignore_errors=True)
    folder, held = root / 'prepared', []
    for number, (size, used, state) in enumerate(models):
        put(folder, f'{number}', size, time.time() if state == 'fresh' else OLD + used)
        if state == 'held':
            held.append(os.open(folder / f'{number}', os.O_RDONLY))
            cache_limit.fcntl.flock(held[-1], cache_limit.fcntl.LOCK_SH)
    sizes = {f'{number}': size_of(folder / f'{number}') for number in range(len(models))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache_limit.VARIABLE, f'{limit} B')
        cache_limit.limit_cache()
    for descriptor in held:
        os.close(descriptor)
    left = {path.name for path in folder.glob('*')}
    may_go = [name for name in sizes if models[int(name)][2] == 'old']
    assert left >= sizes.keys() - set(may_go)
    by_use = sorted(may_go, key=lambda name: (models[int(name)][1], name))
    gone = [name for name in by_use if name not in left]
    assert gone == by_use[: len(gone)], 'the longest unused first'
    total = sum(sizes[name] for name in left)
    assert total <= limit or not left & set(may_go)
    assert not gone or total + sizes[gone[-1]] > limit, 'no more than is needed'


def test_a_model_that_another_process_has_loaded_stays(root, tmp_path, monkeypatch):
    first, second = (demo_model.build(tmp_path / f'{size}.onnx', size=size) for size in ('demo', 'tiny'))
    code = ('import sys\nfrom edge_dnn_partition.graph.model import load_model\n'
            'print(load_model(sys.argv[1]).path.parent.name, flush=True)\nsys.stdin.read()')  # fmt: skip
    other = subprocess.Popen([sys.executable, '-c', code, str(first)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    monkeypatch.setenv(cache_limit.VARIABLE, '0 B')
    try:
        used = root / 'prepared' / other.stdout.readline().strip()
        put(root / 'prepared', 'unused', 100, OLD)
        for path in (*used.iterdir(), used):
            os.utime(path, (OLD, OLD))
        load_model(second)
        assert used.is_dir() and not (root / 'prepared' / 'unused').exists()
        assert not list((root / 'prepared').glob('.*')), 'nothing half deleted is left'
    finally:
        other.communicate()
    cache_limit.limit_cache()
    assert not used.exists(), 'its process has ended'


def test_a_model_that_is_deleted_while_it_is_looked_up_is_prepared_again(root, tmp_path, monkeypatch):
    model = load_model(demo_model.build(tmp_path / 'model.onnx', size='tiny'))

    def hold(folder):
        if not calls:
            calls.append(shutil.rmtree(folder))
        return cache_limit.hold(folder)

    calls = []
    monkeypatch.setattr(prepare, 'hold', hold)
    assert load_model(model.source_path).path == model.path and model.path.exists() and calls


def test_leftovers_of_killed_processes_go_after_a_day(root, monkeypatch):
    monkeypatch.setenv(cache_limit.VARIABLE, '0 B')
    put(root / 'prepared', '.new-dead', 100, time.time() - 90_000)
    put(root / 'prepared', '.new-alive', 100, time.time() - 3600)
    put(root / 'optimised', '.key.1', 100, time.time() - 90_000)
    cache_limit.limit_cache()
    assert sorted(path.name for path in root.rglob('.*')) == ['.new-alive']


def test_notes_are_limited_in_number_and_the_rest_is_left_alone(root, monkeypatch):
    monkeypatch.setenv(cache_limit.VARIABLE, '0 B')
    monkeypatch.setattr(cache_limit, '_MOST_NOTES', 3)
    for folder in ('profiles', 'hashes', 'plans', 'scheduler', 'zoo'):
        (root / folder).mkdir(parents=True)
        for number in range(5):
            (root / folder / f'{number}').write_text('{}')
            os.utime(root / folder / f'{number}', (OLD + number, OLD + number))
    cache_limit.limit_cache()
    left = {folder.name: ''.join(sorted(path.name for path in folder.iterdir())) for folder in root.iterdir() if any(folder.iterdir())}
    assert left == {'profiles': '234', 'hashes': '234', 'plans': '01234', 'scheduler': '01234', 'zoo': '01234'}


def test_a_limit_that_is_no_size_is_told_and_not_obeyed(root, monkeypatch):
    from edge_dnn_partition.cli.doctor_machine import cache_folder

    monkeypatch.setenv(cache_limit.VARIABLE, 'plenty')
    put(root / 'prepared', 'model', 100, OLD)
    cache_limit.limit_cache()
    assert (root / 'prepared' / 'model').exists()
    with pytest.raises(UserError, match=f'{cache_limit.VARIABLE}.*plenty'):
        cache_limit.limit_bytes()
    (check,) = cache_folder()
    assert check.status == 'warn' and 'plenty' in check.found
    monkeypatch.setenv(cache_limit.VARIABLE, '500 MB')
    (check,) = cache_folder()
    assert check.status == 'ok' and check.found.endswith('of 0.5 GB')
