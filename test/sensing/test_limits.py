# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a process may use: control groups of both versions, nested and as seen from a container, in made-up trees; one real quota."""

import math
import os
import subprocess
import sys
import time

import pytest
from trees import meminfo, stat, write_tree

from edge_dnn_partition.deployment.start_checks import too_many_threads
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.sensing.contention import Quota
from edge_dnn_partition.sensing.host import HostMeter
from edge_dnn_partition.sensing.sources.limits import LimitsSource, limits_now, memory_now, parse_cpus
from edge_dnn_partition.testbed.cgroups import Cgroup
from edge_dnn_partition.testbed.netns import new_stem

V2 = 'sys/fs/cgroup'
V2_MOUNT = '42 32 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n'
V1_MOUNTS = (
    '41 24 0:35 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid master:18 - cgroup cgroup rw,cpu,cpuacct\n'
    '46 24 0:40 {root} /sys/fs/cgroup/memory rw,nosuid master:22 - cgroup cgroup rw,memory\n'
)
NO_LIMIT_V1 = '9223372036854771712\n'


def v2(path, cpus='0-3', **groups):
    """Return a process in a cgroup of version 2; ``groups``: files by the cgroup's path from the root, / as __."""
    tree = {
        'proc/self/cgroup': f'0::{path}\n', 'proc/self/mountinfo': V2_MOUNT, 'proc/self/status': f'Cpus_allowed_list:\t{cpus}\n',
        'proc/stat': stat(*[(1000, 9000)] * 4), 'proc/meminfo': meminfo(4_000_000, 3_000_000), 'proc/loadavg': '0 0 0\n',
    }  # fmt: skip
    for group, files in groups.items():
        tree |= {f'{V2}/{group.replace("__", "/")}/{name}': text for name, text in files.items()}
    return tree


def read(tmp_path, tree, *more):
    """Return the reading of a tree, or of the last of several states of it a second apart each."""
    source = LimitsSource(write_tree(tmp_path, tree))
    source.probe()
    reading = source.read(1.0)
    for second, change in enumerate(more, 2):
        write_tree(tmp_path, change)
        reading = source.read(float(second))
    return reading


def test_version_2_in_a_slice_that_is_limited(tmp_path):
    """The process's own cgroup says max; the one above it holds it to two cores (ninja, cadvisor and the JDK had this wrong)."""
    tree = v2(
        '/job.slice/run.scope', job__slice={}, **{
            'job.slice': {'cpu.max': '200000 100000\n', 'memory.max': f'{2**30}\n', 'memory.current': f'{2**29}\n',
                          'memory.stat': f'anon 1\ninactive_file {2**28}\n'},
            'job.slice/run.scope': {'cpu.max': 'max 100000\n', 'memory.max': 'max\n', 'memory.high': 'max\n'},
        })  # fmt: skip
    reading = read(tmp_path, tree)
    assert (reading.quota.cores, reading.quota.period_seconds) == pytest.approx((2.0, 0.1))
    assert reading.memory_bytes == 2**30
    assert reading.memory_free_bytes == 2**29 + 2**28, 'pages of files that are not in use can be let go'


def test_the_tightest_of_several_limits_counts(tmp_path):
    tree = v2('/a/b/c', a={'cpu.max': '150000 100000\n', 'memory.max': '900\n'}, a__b={'cpu.max': '5000 10000\n'},
              a__b__c={'cpu.max': '400000 100000\n', 'memory.high': '500\n', 'memory.current': '600\n'})  # fmt: skip
    reading = read(tmp_path, tree)
    assert (reading.quota.cores, reading.quota.period_seconds) == pytest.approx((0.5, 0.01))
    assert (reading.memory_bytes, reading.memory_free_bytes) == (500, 0)


def test_a_container_whose_root_is_its_cgroup(tmp_path):
    """Docker with a cgroup namespace: the path is /, the limits lie in the mounted root itself."""
    root = {f'{V2}/cpu.max': '50000 100000\n', f'{V2}/memory.max': f'{2**28}\n', f'{V2}/memory.current': '0\n'}
    reading = read(tmp_path, v2('/') | root)
    assert reading.quota.cores == 0.5
    assert reading.memory_bytes == 2**28


def test_a_real_root_has_no_files_of_limits(tmp_path):
    reading = read(tmp_path, v2('/') | {f'{V2}/cgroup.controllers': 'cpu memory\n', f'{V2}/cpu.stat': 'usage_usec 5\n'})
    assert math.isnan(reading.quota.cores)
    assert math.isinf(reading.memory_bytes)


@pytest.mark.parametrize(('path', 'mounted'), [
    ('/docker/f00', '/docker/f00'),  # a container without a namespace of its own: the mount begins at its cgroup
    ('/docker/f00', '/'),  # on the host
    ('/../../elsewhere', '/'),  # moved out of the namespace: the root is all that can be seen
], ids=['container', 'host', 'outside'])  # fmt: skip
def test_version_1(tmp_path, path, mounted):
    folder = path.strip('/') + '/' if mounted == '/' and '..' not in path else ''
    at = f'sys/fs/cgroup/cpu,cpuacct/{folder}'
    tree = {
        'proc/self/cgroup': f'9:memory:{path}\n4:cpu,cpuacct:{path}\n1:name=systemd:{path}\n0::/\n',
        'proc/self/mountinfo': V1_MOUNTS.format(root=mounted) + V2_MOUNT.replace('/sys/fs/cgroup ', '/sys/fs/cgroup/unified '),
        f'{at}cpu.cfs_quota_us': '150000\n', f'{at}cpu.cfs_period_us': '100000\n', f'{at}cpuacct.usage': '1000000000\n',
        f'{at}cpu.stat': 'nr_periods 10\nnr_throttled 1\nthrottled_time 5000000\n',
        f'sys/fs/cgroup/memory/{folder}memory.limit_in_bytes': f'{2**29}\n',
        f'sys/fs/cgroup/memory/{folder}memory.usage_in_bytes': f'{2**28}\n',
    }  # fmt: skip
    reading = read(tmp_path, tree, {
        f'{at}cpuacct.usage': '2200000000\n', f'{at}cpu.stat': 'nr_periods 20\nnr_throttled 5\nthrottled_time 205000000\n',
    })  # fmt: skip
    assert (reading.quota.cores, reading.quota.period_seconds) == pytest.approx((1.5, 0.1))
    assert reading.quota.throttled_percent == pytest.approx(40.0)
    assert reading.quota.throttled_seconds == pytest.approx(0.2)
    if folder:  # the mount's root may be another cgroup's root in another hierarchy
        assert reading.quota.used_cores == pytest.approx(1.2)
    assert (reading.memory_bytes, reading.memory_free_bytes) == (2**29, 2**28)


def test_version_1_without_limits(tmp_path):
    tree = {
        'proc/self/cgroup': '9:memory:/user\n4:cpu,cpuacct:/user\n', 'proc/self/mountinfo': V1_MOUNTS.format(root='/'),
        'sys/fs/cgroup/cpu,cpuacct/user/cpu.cfs_quota_us': '-1\n', 'sys/fs/cgroup/cpu,cpuacct/user/cpu.cfs_period_us': '100000\n',
        'sys/fs/cgroup/memory/user/memory.limit_in_bytes': NO_LIMIT_V1,
    }  # fmt: skip
    reading = read(tmp_path, tree)
    assert math.isnan(reading.quota.cores)
    assert math.isinf(reading.memory_bytes)


def test_a_quota_that_is_used_up_is_a_full_processor(tmp_path):
    """The host's cores are at 22 %, the quota was used up in most periods: that is 100 %, and says so."""
    group = {'cpu.max': '50000 100000\n', 'cpu.stat': 'usage_usec 0\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n'}
    meter = HostMeter(write_tree(tmp_path, v2('/box', box=group)))
    meter.sample(1.0)
    write_tree(tmp_path, {
        f'{V2}/box/cpu.stat': 'usage_usec 500000\nnr_periods 10\nnr_throttled 8\nthrottled_usec 450000\n',
        'proc/stat': stat(*[(1022, 9078)] * 4),
    })  # fmt: skip
    sample = meter.sample(2.0)
    assert sample.cpu.percent == pytest.approx(100.0)
    assert sample.cpu.percent_per_core == pytest.approx((22.0,) * 4)
    assert sample.limits.quota.throttled_percent == pytest.approx(80.0)
    write_tree(tmp_path, {f'{V2}/box/cpu.max': 'max 100000\n'})
    assert meter.sample(3.0).limits.quota.cores != meter.sample(3.0).limits.quota.cores, 'the limit was lifted while it ran'


def test_cores_that_a_process_may_not_use_do_not_count(tmp_path):
    """Pinned to core 1, which is idle, on a host whose other cores are busy."""
    meter = HostMeter(write_tree(tmp_path, v2('/', cpus='1,64-127')))
    meter.sample(1.0)
    write_tree(tmp_path, {'proc/stat': stat((1100, 9000), (1010, 9090), (1100, 9000), (1100, 9000))})
    sample = meter.sample(2.0)
    assert sample.cpu.percent_per_core == pytest.approx((10.0,))
    assert sample.cpu.percent == pytest.approx(10.0)


def test_the_memory_is_the_least_of_the_hosts_and_the_groups(tmp_path):
    root = write_tree(tmp_path, v2('/box', box={'memory.max': f'{2**28}\n', 'memory.current': f'{2**27}\n'}))
    assert memory_now(root).total_bytes == 2**28
    assert memory_now(root).available_bytes == 2**27
    write_tree(tmp_path, {f'{V2}/box/memory.max': f'{2**50}\n'})
    assert memory_now(root).total_bytes == 4_000_000 * 1024
    assert memory_now(root).available_bytes == 3_000_000 * 1024


@pytest.mark.parametrize(('quota', 'threads', 'words'), [
    ('50000', 1, ''), ('50000', 2, 'may use 0.5 cores, and all are halted'), ('max', 4, ''), ('max', 5, 'may use 4 cores; write threads: 4'),
    ('150000', 2, ''), ('150000', 4, 'write threads: 2'),
])  # fmt: skip
def test_more_threads_than_cores_are_said(tmp_path, quota, threads, words):
    """The host's cores are more than the container's: threads by their number get in each other's way (onnxruntime, ollama)."""
    limits = limits_now(write_tree(tmp_path, v2('/box', box={'cpu.max': f'{quota} 100000\n'})))
    said = too_many_threads(threads, limits)
    assert words in said if words else not said


def test_nonsense_is_no_limit(tmp_path):
    tree = v2('/box', cpus='a-b,,-', box={'cpu.max': 'lots of it\n', 'memory.max': '-5\n', 'memory.high': ''})
    reading = read(tmp_path, tree | {'proc/self/mountinfo': f'x - y\n\n{V2_MOUNT}'})
    assert reading.cpus == frozenset()
    assert math.isnan(reading.quota.cores)
    assert math.isinf(reading.memory_bytes)
    assert parse_cpus('0-3,6,8-') == {0, 1, 2, 3, 6, 8}
    assert len(parse_cpus('0-99999999')) == 4096


SPIN = """
import sys, time
wanted, took = float(sys.argv[1]), []
for _ in range(int(sys.argv[2])):
    time.sleep(0.023)
    begin, busy = time.monotonic(), time.thread_time()
    while time.thread_time() - busy < wanted: pass
    took.append(time.monotonic() - begin)
print(sum(took) / len(took))
"""


def test_a_real_quota(tmp_path):
    """A process that spins: its cgroup's figures, and how long its runs take, are what the source and the model say."""
    if os.geteuid() != 0:
        pytest.skip('cgroups need root')
    group = Cgroup(f'{new_stem()}-quota', cores=0.3)
    try:
        group.make()
    except UserError as error:
        pytest.skip(str(error))
    try:
        spin = subprocess.Popen([*group.prefix(), sys.executable, '-c', SPIN, '0.04', '8'], stdout=subprocess.PIPE, text=True)
        try:
            with open('/proc/self/mountinfo') as mounts:
                write_tree(tmp_path, {'proc/self/mountinfo': mounts.read()})
            deadline = time.monotonic() + 10.0
            while group.folders[0].name not in (where := open(f'/proc/{spin.pid}/cgroup').read()):  # noqa: SIM115
                assert time.monotonic() < deadline
                time.sleep(0.01)
            write_tree(tmp_path, {'proc/self/cgroup': where})
            os.symlink('/sys', tmp_path / 'sys')
            os.symlink(f'/proc/{spin.pid}', tmp_path / 'proc' / str(spin.pid))
            source = LimitsSource(str(tmp_path))
            source.probe()
            begin = source.read(time.monotonic())
            time.sleep(0.6)
            reading = source.read(time.monotonic())
            took = float(spin.communicate(timeout=30)[0])
        finally:
            spin.kill()
            spin.wait()
    finally:
        group.remove()
    assert begin.quota.cores == pytest.approx(0.3)
    assert 0 < reading.quota.used_cores <= 0.4
    assert reading.quota.throttled_percent > 0
    assert took >= 0.9 * Quota(0.3, 0.01).stretched(0.04, 1.0, 1.0), 'a busy machine may make it longer, nothing shorter'
