# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What ``bench footprint`` reads of processes, against processes of which it is known what they do; what it makes of rows."""

import os
import subprocess
import sys

import pytest

from edge_dnn_partition.cli import bench
from edge_dnn_partition.cli.main import main

BUSY_SECONDS, SLEEPS, HELD_BYTES = 0.3, 200, 40 << 20
CHILD = f"""
import sys, threading, time

def works():
    while time.thread_time() < {BUSY_SECONDS}:
        pass

def sleeps():
    for _ in range({SLEEPS}):
        time.sleep(0.0001)

gate = threading.Event()

def kept(work):
    gate.wait()
    work()
    threading.Event().wait()

for work in (works, sleeps):
    threading.Thread(target=kept, args=(work,), name=work.__name__, daemon=True).start()
print('ready', flush=True)
sys.stdin.readline()
gate.set()
short = threading.Thread(target=works, name='short')
short.start()
short.join()
held = bytearray(b'x' * {HELD_BYTES})
print('done', flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope='module')
def footprint():
    return bench.load('footprint', bench.find()['footprint'])


@pytest.fixture(scope='module')
def process_usage(footprint):
    return footprint.process_usage


def test_a_process_is_measured_by_the_kernels_own_counters(process_usage, tmp_path):
    environment = {**os.environ, **process_usage.naming_threads(tmp_path)}
    child = subprocess.Popen([sys.executable, '-c', CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        child.stdout.readline()
        before, held = process_usage.Reading(child.pid), process_usage.memory(child.pid)
        child.stdin.write(b'\n')
        child.stdin.flush()
        child.stdout.readline()
        after, now = process_usage.Reading(child.pid), process_usage.memory(child.pid)
    finally:
        child.kill()
        child.wait()
    usage = after.since(before)
    # the short thread has ended by then: the process's own clock has it, the list of threads has not
    assert usage.cpu_seconds > 2 * 0.9 * BUSY_SECONDS
    assert usage.threads['works'][0] > 0.9 * BUSY_SECONDS > usage.threads['sleeps'][0]
    assert 'short' not in usage.threads
    assert SLEEPS <= usage.threads['sleeps'][1] <= usage.wakeups
    assert now['private_bytes'] - held['private_bytes'] > 0.9 * HELD_BYTES
    assert now['private_bytes'] <= now['proportional_bytes'] <= now['resident_bytes']


def test_what_a_process_takes_at_rest_is_not_a_frames(footprint, process_usage):
    def usage(seconds, cpu):
        return process_usage.Usage(seconds, cpu, 0, {})

    assert footprint._more(usage(10.0, 3.0), usage(5.0, 0.5)) == pytest.approx(2.0)


def test_processes_belong_to_the_device_that_their_label_begins_with(footprint):
    labels = dict.fromkeys(('scheduler', 'pi/worker', 'pi/device_monitor', 'cloud', 'dashboard'))
    assert footprint.fleets.by_place(labels, ['pi', 'cloud']) == {
        'scheduler': ['scheduler'], 'pi': ['pi/worker', 'pi/device_monitor'], 'cloud': ['cloud'], 'dashboard': ['dashboard'],
    }  # fmt: skip


def test_a_target_is_missed_by_what_is_over_it(footprint):
    place = {'case': 'idle', 'devices': 3, 'form': '', 'processes': ['d0'], 'share_of_a_core': 0.019, 'wakeups_per_second': 61.0,
             'resident_bytes': 279e6}  # fmt: skip
    rows = [
        {**place, 'place': 'source'}, {**place, 'place': 'scheduler', 'resident_bytes': 109e6},
        {'case': 'start', 'temperature': 'warm', 'first_result_seconds': 1.9},
        {'case': 'start', 'temperature': 'warm', 'first_result_seconds': 9.0},
        {'case': 'start', 'temperature': 'warm', 'first_result_seconds': 1.8},
        {'case': 'rate', 'plan': 'on the source', 'fps': 299.0},
    ]  # fmt: skip
    met = {target.name: target.met for target in footprint._targets(rows)}
    assert met == {
        "3 devices at rest: the source's nodes": True, '3 devices at rest: scheduler': False, "wake-ups of the source's nodes": False,
        "resident memory of the source's nodes": True, 'resident memory of the scheduler': True, 'first result, warm': True,
        'frames a second': False,
    }  # fmt: skip


def test_who_waits_for_a_message_is_woken_by_it(footprint):
    from edge_dnn_partition.benchmarks.hop_counts import Count

    count = Count()
    count.add(2)
    count.wait(2, 'message 2', 0.0)
    with pytest.raises(TimeoutError, match='message 3 did not come within 0.01 s'):
        count.wait(3, 'message 3', 0.01)


def test_a_part_that_is_not_there_is_named(capsys):
    pytest.importorskip('edge_dnn_partition.msg')
    assert main(['bench', 'footprint', '--only', 'idle,rest']) == 2
    assert 'has no part rest; it has idle, frame, rate, message, start' in capsys.readouterr().err
    assert main(['bench', 'planner', '--only', 'idle']) == 2
    assert 'takes no --only; `footprint` does' in capsys.readouterr().err
