# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a fleet in real processes survives: scheduler, workers and the frame source killed; old frames expire."""

import contextlib
import os
import re
import signal
from dataclasses import dataclass

import pytest

from edge_dnn_partition.deployment.processes import NodeProcess
from edge_dnn_partition.errors import UserError

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from support import wait_until


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def kill(trial, label):
    """Kill a process, and wait until it is gone."""
    trial.supervisor.signal(label, signal.SIGKILL)
    label = trial.process(label).label
    wait_until(lambda: label not in trial.supervisor.running, f'the end of {label}')
    assert trial.supervisor.ended() == {label: -signal.SIGKILL}


def test_the_stream_goes_on_without_a_scheduler_a_worker_takes_up_the_plan_on_disk_and_a_new_scheduler_goes_on(tmp_path):
    from trial_fleet import check_frames, trial_fleet

    with trial_fleet(tmp_path) as trial:
        half = len(trial.model.layers) // 2
        trial.follow(f'jetson:pre-{half} cloud:{half}-end')
        version = trial.client.plan.version
        kill(trial, 'scheduler')
        trial.more_frames()
        kill(trial, 'jetson/worker')
        trial.supervisor.start(trial.process('jetson/worker'))
        trial.more_frames()
        assert {frame.plan_version for frame in trial.news.frames[-5:]} == {version}
        assert max(frame.attempt for frame in trial.news.frames) <= 1, 'sent again before the new worker had the plan'
        trial.supervisor.start(trial.process('scheduler'))

        def plans_named():
            return [line for label, line in trial.log if label == 'scheduler' and re.search(r' plan \d+: ', line)]

        before = len(plans_named())
        trial.client.wait_for(lambda: len(plans_named()) > before, 30.0, 'the new scheduler')
        first = plans_named()[before]  # it may move on at once
        assert f'resuming plan {version}: ' in first, f'it began with a plan of its own: {first}'
        trial.follow('jetson:pre-end')
        assert trial.client.plan.version > version
        trial.settle()
    check_frames(trial, tmp_path)


def test_others_run_the_model_while_the_sources_worker_is_gone_for_good(tmp_path):
    from trial_fleet import check_frames, trial_fleet

    with trial_fleet(tmp_path, processes='each') as trial:
        trial.follow('pi:pre-end')
        trial.client.set_scheduler({'policy': 'exact'})
        kill(trial, 'pi/worker')
        trial.client.wait_for(lambda: 'pi' not in trial.client.plan.devices, 30.0, 'a plan without the source')
        trial.more_frames(10, trial.client.plan.version)
        words = 'without pi (the source: it only sends its images), whose worker is gone'
        trial.client.wait_for(lambda: words in trial.news.decisions[-1].text, 20.0, 'why')
        assert words in trial.client.plan.reason
        trial.settle()
    check_frames(trial, tmp_path)
    assert trial.news.status.failed == 0


def test_made_up_versions_do_not_keep_the_fleet_from_following(tmp_path):
    from edge_dnn_partition.msg import Heartbeat, Plan, SourceStatus
    from trial_fleet import check_frames, trial_fleet

    from edge_dnn_partition.nodes.core import qos
    from edge_dnn_partition.planning.plans.plan import LARGEST_VERSION

    with trial_fleet(tmp_path) as trial:
        trial.follow('jetson:pre-end')
        node, heard, followed = trial.client.node, [], []
        node.create_subscription(Plan, '/trial/plan', heard.append, qos.PLAN)
        node.create_subscription(SourceStatus, '/trial/source_status', lambda m: followed.append(m.plan_version), qos.STATE)
        beats, plans = (node.create_publisher(kind, f'/trial/{name}', profile)
                        for kind, name, profile in ((Heartbeat, 'heartbeat', qos.HEARTBEAT), (Plan, 'plan', qos.PLAN)))  # fmt: skip
        trial.client.wait_for(lambda: heard and plans.get_subscription_count() >= 6, 20.0, 'plan and nodes')
        for version in (2**32 - 1, LARGEST_VERSION):
            beats.publish(Heartbeat(device='jetson', node='worker', model_sha256=trial.model.sha256, last_version=version))
            forged = heard[-1]
            forged.version, forged.scheduler, forged.status = version, 99, Plan.ACTIVE
            plans.publish(forged)
        trial.client.wait_for(lambda: LARGEST_VERSION in followed, 20.0, 'the source to be taken in')
        trial.client.wait_for(lambda: followed[-1] < LARGEST_VERSION, 20.0, 'the source to follow the scheduler again')
        kill(trial, 'scheduler')
        trial.supervisor.start(trial.process('scheduler'))
        trial.follow('cloud:pre-end')
        assert trial.client.plan.version < LARGEST_VERSION
        trial.settle()
    check_frames(trial, tmp_path)


def test_what_a_policy_learned_comes_back_from_disk(tmp_path):
    from trial_fleet import check_frames, trial_fleet

    kept = tmp_path / 'cache' / 'scheduler' / 'trial-learned.json'
    with trial_fleet(tmp_path, parameters={'scheduler': {'policy': 'auto'}}) as trial:
        trial.more_frames(20)
        assert trial.supervisor.stop(['scheduler']) == {'scheduler': 0}
        learned = kept.read_bytes()
        trial.supervisor.start(trial.process('scheduler'))
        trial.more_frames(20)
        trial.client.set_scheduler({'policy': 'q_learning', 'takeover_seconds': 2.0})
        trial.more_frames(20)
        trial.client.wait_for(lambda: kept.read_bytes() != learned, 40.0, 'more that was learned')
        trial.settle()
    check_frames(trial, tmp_path)
    assert not [line for _, line in trial.log if 'policy failed' in line or 'refused (policy' in line]


def test_versions_rise_even_where_the_scheduler_has_lost_its_record(tmp_path):
    from trial_fleet import check_frames, trial_fleet

    with trial_fleet(tmp_path) as trial:
        for silent in (False, True):
            trial.follow('jetson:pre-end')
            version = trial.client.plan.version
            kill(trial, 'scheduler')
            files = [*(tmp_path / 'cache' / 'scheduler').iterdir(), *(tmp_path / 'cache' / 'plans').glob('*scheduler*')]
            assert {'trial.json', 'trial-scheduler.plan'} <= {file.name for file in files}
            for file in files:
                file.unlink()
            if silent:  # who has the plan does not say so while the new scheduler decides
                trial.supervisor.signal('jetson/worker', signal.SIGSTOP)
            trial.supervisor.start(trial.process('scheduler'))
            try:
                trial.client.wait_for(lambda version=version: trial.client.plan.version > version, 30.0, 'a plan of a higher version')
                trial.more_frames(version=trial.client.plan.version)
            finally:
                if silent:
                    trial.supervisor.signal('jetson/worker', signal.SIGCONT)
        trial.settle()
    check_frames(trial, tmp_path)


@pytest.mark.parametrize(('journal', 'processes'), [(False, 'each'), (True, 'one')])
def test_a_killed_frame_source_accounts_for_its_frames(tmp_path, journal, processes):
    from trial_fleet import trial_fleet

    parameters = {'frame_source': {'journal': str(tmp_path / 'journal')} if journal else {}}
    with trial_fleet(tmp_path, parameters=parameters, processes=processes) as trial:
        trial.follow('cloud:pre-end')
        trial.client.emulate({}, {('pi', 'cloud'): (10_000.0, 0.001)})  # an image takes half a second
        before, begin = trial.news.status.incarnation, len(trial.news.frames)
        trial.client.wait_for(
            lambda: any(frame.latency_seconds > 0.4 for frame in trial.news.frames[begin:]), 20.0, 'a slow frame')
        accepted = trial.news.status.accepted
        trial.client.wait_for(
            lambda: trial.news.status.accepted > accepted and trial.news.status.in_flight > 0, 20.0, 'a frame under way')
        kill(trial, 'pi/frame_source')
        seen = {frame.frame_number for frame in trial.news.frames}
        trial.supervisor.start(trial.process('pi/frame_source'))
        trial.client.wait_for(lambda: trial.news.status.incarnation != before, 30.0, 'the new frame source')
        trial.client.emulate({}, {('pi', 'cloud'): (50e6, 0.001)})
        trial.more_frames(8)
        status = trial.settle(every_frame=False)
        old = [frame for frame in trial.news.frames if frame.frame_number not in seen and frame.frame_number < status_start(trial)]
        assert old, 'a frame was under way when its source was killed'
        missing = sum(not frame.delivered for frame in old)  # a result may have been on its way to the one that was killed
        assert status.lost == missing
        assert not (journal and missing)
        assert status.accepted == status.delivered + status.lost
    numbers = [frame.frame_number for frame in trial.news.frames]
    assert numbers == sorted(set(numbers))


_KILLED_BEFORE_THE_NOTE = """
import os, signal
write, notes = os.write, []

def write_or_die(handle, record):
    if len(record) == 9 and record[:1] == b'-':
        notes.append(record)
        if len(notes) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
    return write(handle, record)

os.write = write_or_die
"""


def test_a_result_that_is_out_when_its_source_is_killed_comes_again_marked_and_readers_drop_it(tmp_path):
    from trial_fleet import trial_fleet

    (tmp_path / 'hook').mkdir()
    (tmp_path / 'hook/sitecustomize.py').write_text(_KILLED_BEFORE_THE_NOTE)
    parameters = {'frame_source': {'journal': str(tmp_path / 'journal')}}
    with trial_fleet(tmp_path, parameters=parameters, processes='each') as trial:
        for once_more in (True, True, False):  # a writer that dies as soon as it has written may not have been matched yet
            kill(trial, 'pi/frame_source')
            trial.supervisor.start(Hooked(**vars(trial.process('pi/frame_source')), folder=str(tmp_path / 'hook')))
            wait_until(lambda: 'pi/frame_source' not in trial.supervisor.running, 'the end of the frame source')
            assert trial.supervisor.ended() == {'pi/frame_source': -signal.SIGKILL}
            before = trial.news.missed.again  # the first kill may have come at such a moment itself
            trial.supervisor.start(trial.process('pi/frame_source'))
            with contextlib.suppress(*(UserError,) * once_more):
                trial.client.wait_for(lambda before=before: trial.news.missed.again > before, 15.0, 'the result that was out')
                break
        trial.more_frames(5)
        assert trial.settle(every_frame=False).lost == 0
    assert all(frame.delivered for frame in trial.news.frames)
    numbers = [frame.frame_number for frame in trial.news.frames]
    assert numbers == sorted(set(numbers))


@dataclass(frozen=True)
class Hooked(NodeProcess):
    """A node whose Python runs what lies in a folder at its start."""

    folder: str = ''

    def environment(self, present=None):
        path = os.pathsep.join(filter(None, (self.folder, (present or {}).get('PYTHONPATH', ''))))
        return super().environment(present) | {'PYTHONPATH': path}


def status_start(trial):
    """The first number that the new frame source gave out: numbers leap from one source to the next."""
    numbers = sorted({frame.frame_number for frame in trial.news.frames})
    leaps = [(b - a, b) for a, b in zip(numbers, numbers[1:], strict=False)]
    return max(leaps)[1]


def test_a_frame_source_that_is_told_to_end_waits_for_its_results(tmp_path):
    from trial_fleet import check_frames, trial_fleet

    with trial_fleet(tmp_path) as trial:
        trial.client.wait_for(lambda: trial.news.status.accepted > 5, 20.0, 'frames')
        assert trial.supervisor.stop(['pi/frame_source']) == {'pi/device': 0}
        trial.client.wait_for(lambda: trial.news.status.in_flight == 0, 20.0, 'the last books')
        assert (trial.news.status.lost, trial.news.status.accepted) == (0, trial.news.status.delivered)
        trial.client.wait_for(lambda: len(trial.news.frames) == trial.news.status.delivered, 20.0, 'every result')
        trial.camera.stop()
    check_frames(trial, tmp_path)


def test_a_fleet_that_is_told_to_end_all_at_once_loses_nothing(tmp_path):
    from trial_fleet import check_frames, trial_fleet

    with trial_fleet(tmp_path) as trial:
        trial.follow('cloud:pre-end')
        trial.client.emulate({}, {('pi', 'cloud'): (50_000.0, 0.001)})  # an image takes a tenth of a second
        begin = len(trial.news.frames)
        trial.client.wait_for(
            lambda: any(frame.latency_seconds > 0.05 for frame in trial.news.frames[begin:]), 20.0, 'a slow frame')
        accepted = trial.news.status.accepted
        trial.client.wait_for(lambda: trial.news.status.accepted > accepted, 20.0, 'a frame that has just been accepted')
        assert set(trial.supervisor.stop().values()) == {0}
        trial.client.wait_for(
            lambda: trial.news.status.in_flight == 0 and trial.news.status.delivered <= len(trial.news.frames), 20.0, 'the books')
        trial.camera.stop()
    check_frames(trial, tmp_path)


def test_old_frames_get_the_result_expired_and_are_counted(tmp_path):
    from trial_fleet import trial_fleet

    parameters = {'frame_source': {'max_age': 2.0, 'repeat_least': 60.0}}
    with trial_fleet(tmp_path, parameters=parameters) as trial:
        trial.follow('cloud:pre-end')
        trial.client.emulate({}, {('pi', 'cloud'): (1_000.0, 0.001)})
        trial.client.wait_for(lambda: trial.news.status.expired >= 2, 30.0, 'expired frames')
        trial.client.emulate({}, {('pi', 'cloud'): (50e6, 0.001)})
        begin = len(trial.news.frames)
        trial.client.wait_for(lambda: any(f.delivered for f in trial.news.frames[begin:]), 30.0, 'a result in time')
        status = trial.settle()
    numbers = [frame.frame_number for frame in trial.news.frames]
    assert numbers == sorted(set(numbers))
    ages = [frame.latency_seconds for frame in trial.news.frames if not frame.delivered]
    assert len(ages) == status.expired >= 2
    assert min(ages) >= 2.0
    assert (status.lost, status.accepted) == (0, status.delivered + status.expired)


def test_a_full_disk_costs_what_would_be_kept_and_not_the_stream(tmp_path, small_disk, monkeypatch):
    """Cache and journal lie on it. A plan comes meanwhile; what it needs lies elsewhere."""
    from diagnostic_msgs.msg import DiagnosticArray
    from trial_fleet import check_frames, trial_fleet

    small_disk.remount('size=8m')
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(small_disk.folder / 'cache'))
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    said = set()
    with trial_fleet(tmp_path, parameters={'frame_source': {'journal': str(small_disk.folder / 'journal')}}) as trial:
        trial.client.node.create_subscription(
            DiagnosticArray, '/diagnostics', lambda m: said.update((s.name, s.level[0], s.message) for s in m.status), 10)
        trial.follow('pi:pre-end')
        assert not [text for _, _, text in said if 'cannot be written' in text]
        small_disk.fill()
        trial.follow('jetson:pre-end')
        trial.client.wait_for(
            lambda: any(name.endswith('device pi') and level == 1 and 'No space left' in text for name, level, text in said),
            20.0, 'a diagnostic')  # fmt: skip
        trial.more_frames()
        small_disk.free()
        trial.client.wait_for(
            lambda: any('journal' in line and 'can be written again' in line for _, line in trial.log), 30.0, 'the journal')
        trial.more_frames()
        assert (small_disk.folder / 'journal' / 'trial-pi.journal').stat().st_size > 0
        trial.settle()
    check_frames(trial, tmp_path)
    told = [line for label, line in trial.log if label == 'pi/device' and 'cannot be written' in line]
    assert len(told) <= 3, 'once for each folder: cache, journal, images'
    assert not [line for _, line in trial.log if 'Traceback' in line or 'not a valid model' in line]
