# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""One running fleet and all that shows it: the dashboard in a real browser, markers for rviz, what the results mean."""

import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

TOKEN = 'open-sesame'
LABELS = ['ant', 'bee', 'cat', 'dog', 'eel', 'fox', 'gnu', 'hen']


class Shown:
    """A fleet with its tools."""

    def __init__(self, trial, file, dashboard, visualisation):
        self.file = file
        self.trial, self.dashboard, self.visualisation = trial, dashboard, visualisation
        self.client, self.half = trial.client, len(trial.model.layers) // 2

    def collect(self, kind, topic, qos):
        """Return the list to which messages of a topic are added from now on."""
        found = []
        self.client.node.create_subscription(kind, topic, found.append, qos)
        return found


@pytest.fixture(scope='module')
def shown(ros_domain, tmp_path_factory):
    from support import Processes
    from trial_fleet import check_frames, trial_fleet, write_fleet

    folder = tmp_path_factory.mktemp('seeing')
    (folder / 'labels.txt').write_text('\n'.join(LABELS))
    power = {name: {'idle': '2 W', 'active': '4 W'} for name in ('pi', 'jetson', 'cloud')}
    settings = {'power': power, 'postprocessing': {'kind': 'classification', 'labels': 'labels.txt', 'top': 2}}
    with pytest.MonkeyPatch.context() as patch, Processes(folder) as processes:
        patch.setenv('EDGE_DNN_PARTITION_CACHE', str(folder / 'cache'))
        with trial_fleet(folder, **settings) as trial:
            file = write_fleet(folder, **settings)
            token = {'EDGE_DNN_PARTITION_TOKEN': TOKEN}
            dashboard = processes.start_node('dashboard', '/trial', fleet_file=file, port=0, more_fleets='other', environment=token)
            visualisation = processes.start_node('visualisation', '/trial', frame='base')
            yield Shown(trial, file, dashboard, visualisation)
            trial.settle()
        check_frames(trial, folder)


@pytest.fixture
def fleet_page(shown, page):
    pytest.importorskip('aiohttp', reason='the extra `dashboard` is not installed')
    shown.dashboard.wait_for('the dashboard is at ')
    shown.trial.follow(f'pi:pre-{shown.half} cloud:{shown.half}-end', 1)
    page.goto(re.search(r'the dashboard is at (\S+)', shown.dashboard.output)[1])
    page.wait_for_selector(f'body[data-plan="{shown.client.plan.version}"]')
    return page


def test_a_change_of_plan_is_on_the_page(shown, fleet_page):
    from playwright.sync_api import expect

    page, trial, half = fleet_page, shown.trial, shown.half
    offset = time.time() - time.monotonic()
    delays = []
    for first in ('jetson', 'pi', 'jetson'):
        trial.follow(f'{first}:pre-{half} cloud:{half}-end', 1)
        at, plan = trial.news.plans[-1]
        page.wait_for_selector(f'body[data-plan="{plan.version}"]')
        delays.append(page.evaluate(f'window.dashboard.shown[{plan.version}]') - at - offset)
    print('a change of plan was on the page after', [f'{delay * 1e3:.0f} ms' for delay in delays])
    assert sorted(delays)[1] < 5.0  # a second is the aim (docs/dashboard.md); this machine may be loaded
    assert page.locator('#why').inner_text()
    expect(page.locator('#tiles')).to_contain_text(re.compile(r'\d ms'))
    assert page.locator('#fleet g[data-device]').count() == 3
    expect(page.locator('#power-card')).to_contain_text('modelled')
    assert 'Mbit/s' in page.locator('#fleet').text_content()
    assert 'emulated' in page.locator('#badges').inner_text()
    metrics = page.request.get(f'{page.url}metrics').text()
    assert f'edge_dnn_partition_plan_version{{fleet="trial"}} {plan.version}.0\n' in metrics
    for sample in ('frames_total{fleet="trial",status="delivered"}', 'process_resident_bytes{device="pi",fleet="trial"}'):
        assert f'edge_dnn_partition_{sample}' in metrics
    assert 'edge_dnn_partition_fleet_up{fleet="other"} 0.0\n' in metrics


def test_the_page_asks_for_a_plan(shown, fleet_page):
    from playwright.sync_api import expect

    page, client, half = fleet_page, shown.client, shown.half
    for token, plan, status in (('wrong', f'pi:pre-{half} jetson:{half}-end', 401), (TOKEN, 'nowhere:pre-end', 409)):
        page.locator('#token').fill(token)
        page.locator('#plan').fill(plan)
        with page.expect_response('**/api/pin') as answer:
            page.locator('#pin').click()
        assert answer.value.status == status
    expect(page.locator('#answer')).to_contain_text('nowhere')
    page.locator('#plan').fill(f'pi:pre-{half} jetson:{half}-end')
    page.locator('#pin').click()
    client.wait_for(lambda: client.plan.devices == ('pi', 'jetson'), 20.0, 'the plan that the page asked for')
    page.wait_for_selector(f'body[data-plan="{client.plan.version}"]')
    page.locator('#free').click()
    expect(page.locator('#answer')).to_contain_text('free: the policy')
    page.locator('#which').select_option('jetson')
    page.locator('#profile').click()
    expect(page.locator('#answer')).to_contain_text('jetson')


def test_markers(shown):
    from visualization_msgs.msg import Marker, MarkerArray

    from edge_dnn_partition.nodes.core import qos

    shown.trial.follow(f'pi:pre-{shown.half} cloud:{shown.half}-end', 1)
    version = shown.client.plan.version
    found = shown.collect(MarkerArray, shown.client.topics.markers, qos.STATE)

    def words():
        return [m.text for m in found[-1].markers if m.type == Marker.TEXT_VIEW_FACING] if found else []

    shown.client.wait_for(lambda: any(f'plan {version}' in text for text in words()), 20.0, 'markers of the plan')
    markers = found[-1].markers
    assert {m.header.frame_id for m in markers} == {'base'}
    assert len({(m.ns, m.id) for m in markers}) == len(markers)
    boxes = {m.text: m for m in markers if m.type == Marker.CUBE}
    assert set(boxes) == {'pi', 'jetson', 'cloud'} and all(m.scale.z > 0 and m.color.a > 0 for m in boxes.values())
    lines = {m.text: m for m in markers if m.type == Marker.LINE_LIST}
    assert set(lines) == {'cloud pi', 'jetson pi', 'cloud jetson'}
    ends = {(p.x, p.y) for p in lines['cloud pi'].points}
    assert ends == {(boxes[name].pose.position.x, boxes[name].pose.position.y) for name in ('cloud', 'pi')}
    assert lines['cloud pi'].color.b > lines['jetson pi'].color.b  # the plan uses it
    assert any(text.startswith(f'pi\ndecode, layers 0–{shown.half - 1}\n') for text in words())
    assert any('Mbit/s' in text for text in words())


def test_results_mean_something(shown):
    from edge_dnn_partition.msg import Classification
    from sensor_msgs.msg import CompressedImage, Image

    from edge_dnn_partition.nodes.core import qos

    topics, news = shown.client.topics, shown.trial.news
    classes = shown.collect(Classification, topics.classification, qos.RESULT)
    images = shown.collect(Image, topics.annotated, qos.ANNOTATED)
    small = shown.collect(CompressedImage, '/trial/annotated/compressed', qos.ANNOTATED)
    shown.client.wait_for(lambda: min(map(len, (classes, images, small))) > 3, 20.0, 'classes and annotated images')

    def stamp_of(message):
        return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec

    results = {frame.frame_number: frame for frame in list(news.frames)}
    shown.client.wait_for(lambda: classes[2].frame_number in {f.frame_number for f in news.frames}, 20.0, 'the result')
    results = {frame.frame_number: frame for frame in list(news.frames)}
    for message in classes[:3]:
        result = results[message.frame_number]
        assert (stamp_of(message), message.header.frame_id) == (result.stamp_ns, 'camera')
        order = np.argsort(-result.outputs['scores'].reshape(-1), kind='stable')[:2]
        assert [one.index for one in message.classes] == list(order)
        assert [one.label for one in message.classes] == [LABELS[i] for i in order]
        assert 0 < message.classes[1].score <= message.classes[0].score <= 1
    for image in images[:3]:
        assert stamp_of(image) in shown.trial.camera.shown and image.header.frame_id == 'camera'
        assert (image.width, image.height, image.encoding, image.step) == (160, 120, 'bgr8', 480)
        assert len(np.unique(np.frombuffer(image.data, np.uint8))) > 10
    raw = {stamp_of(image): np.frombuffer(image.data, np.uint8).reshape(120, 160, 3) for image in list(images)}
    pairs = [(one, raw[stamp_of(one)]) for one in list(small) if stamp_of(one) in raw]
    assert pairs
    for one, pixels in pairs:
        assert one.format == 'bgr8; jpeg compressed bgr8' and one.header.frame_id == 'camera'
        difference = cv2.imdecode(np.frombuffer(one.data, np.uint8), cv2.IMREAD_COLOR).astype(int) - pixels
        assert np.abs(difference).mean() < 4


def test_top_once_waits_for_the_fleet(shown, tmp_path):
    """Its image is never empty with code 0; a fleet that is not there is code 1."""
    command = [sys.executable, '-m', 'edge_dnn_partition.cli', 'top']
    done = subprocess.run([*command, shown.file, '--once'], check=False, capture_output=True, text=True, cwd='/')
    assert done.returncode == 0 and re.search(r'pi +up', done.stdout) and 'plan ' in done.stdout, done
    other = tmp_path / 'other.yaml'
    other.write_text(Path(shown.file).read_text().replace('fleet: trial', 'fleet: other'))
    done = subprocess.run([*command, other, '--once', '--wait', '0.5'], check=False, capture_output=True, text=True, cwd='/')
    assert done.returncode == 1 and 'no scheduler of fleet other answered within 0.5 s' in done.stderr
    assert done.stderr.count('\n') == 1


def test_top_in_a_terminal(shown):
    from terminal import Terminal

    with Terminal('edge_dnn_partition.cli', 'top', shown.file) as terminal:
        terminal.wait_for(r'fleet trial \(emulated\)')
        terminal.wait_for(r'cloud +up +\d+\.\d\d')
        terminal.wait_for(r'latency \d+ ms \(p95 \d+ ms\)')
        label = f'jetson:pre-{shown.half} pi:{shown.half}-{len(shown.trial.model.layers)}'
        shown.trial.follow(label, 1)
        terminal.wait_for(rf'plan \d+: {label}')
        terminal.wait_for(r'changes of plan')
        terminal.press('\x03')
        assert terminal.end() == 0
    assert 'Traceback' not in terminal.words
    assert terminal.raw.count('\x1b[?1049h') == terminal.raw.count('\x1b[?1049l') == 1  # the screen before it is back


def test_the_tools_end(shown):
    for process in (shown.dashboard, shown.visualisation):
        process.wait_for(': active')
        process.assert_clean_end()
