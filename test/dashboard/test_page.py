# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, with reports and with a fleet that is told by the test."""

import json
import math
import shutil
from pathlib import Path

import pytest

pytest.importorskip('aiohttp', reason='the extra `dashboard` is not installed')

from edge_dnn_partition.cli import bench_report
from edge_dnn_partition.dashboard.board import Board, FrameParts
from edge_dnn_partition.dashboard.replay import board_of_report
from edge_dnn_partition.dashboard.serve import new_server
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan

expect = pytest.importorskip('playwright.sync_api', reason='playwright is not installed').expect
LAID_OUT = (Path(__file__).parent / 'layout.js').read_text(encoding='utf-8')
REPORTS = Path(__file__).resolve().parents[2] / 'docs' / 'benchmarks'


@pytest.fixture
def show(page):
    servers = []

    def show(*boards, **options):
        servers.append(new_server(*boards, **options))
        page.goto(servers[-1].start())
        return page

    yield show
    for server in servers:
        server.stop()


def test_a_run_is_replayed(show):
    """Whatever run is on record: its last plan, its phases, and what was in force in the middle of one."""
    report = json.loads((REPORTS / 'demo.json').read_text(encoding='utf-8'))
    log, phases = report['plan_change_log'], report['phases']
    page = show(board_of_report(REPORTS / 'demo.json'), clock=lambda: 0.0)
    page.wait_for_selector(f'body[data-plan="{len(log) + 1}"]')
    assert page.locator('#fleet g[data-device]').count() == 3
    assert page.locator('#phases tr').count() == len(phases) + 1
    assert page.locator('#log li').count() == len(log) + 1
    begin = float(phases[0]['seconds'])
    late = begin + float(phases[1]['seconds']) - 0.5
    before = [change for change in log if change['seconds'] <= late]
    page.locator('#cursor').fill(f'{late:.1f}')
    page.wait_for_selector(f'body[data-plan="{len(before) + 1}"]')
    assert before[-1]['reason'] in page.locator('#why').inner_text()
    assert page.locator('tr.present').inner_text().startswith(phases[1]['name'])
    page.locator('#play').click()
    expect(page.locator('tr.present')).to_contain_text(phases[2]['name'])
    page.locator('#play').click()


def test_a_benchmark_is_a_table_of_targets(show):
    page = show(board_of_report(REPORTS / 'switch.json'), clock=lambda: 0.0)
    page.wait_for_selector('#targets td.missed')
    assert 'gap, p95' in page.locator('#targets tr', has=page.locator('td.missed')).first.inner_text()
    assert page.locator('#fleet').is_hidden()


def test_a_fleet_that_changes(show):
    clock = [1000.0]
    board = Board('demo', layers=[f'conv{i}' for i in range(9)])
    page = show(board, clock=lambda: clock[0])
    page.wait_for_selector('body[data-connected=true]')
    assert 'no plan yet' in page.locator('#split').text_content()

    def plan(version, cut, reason):
        stages = (StagePlan('pi', True, ((0, cut),)), StagePlan('cloud', False, ((cut, 9),)))
        board.plan(1000.0, Plan(version, 'sha', 'pi', 'pi', stages, (), latency_seconds=0.1, reason=reason))

    plan(3, 4, 'all <b>good</b>')
    page.wait_for_selector('body[data-plan="3"]')
    assert page.locator('#why').inner_text() == 'all <b>good</b>'
    assert 'decode, layers 0–3' in page.locator('[data-device=pi]').text_content()
    device = {'alive': True, 'speed_factor': 1.0, 'cpu_percent': 34.0, 'temperature_celsius': math.nan, 'watts': 2.7,
              'energy_kind': 'modelled', 'derating': ''}  # fmt: skip
    link = {'sender': 'pi', 'receiver': 'cloud', 'measured': True, 'bytes_per_second': 1e6, 'latency_seconds': 0.015}
    board.state(1000.0, [{'name': 'pi', **device}, {'name': 'cloud', **device, 'alive': False, 'watts': math.nan}], [link])
    board.frame(1000.0, 3, FrameParts(0.12, 0.08, 0.01), 0.02, measured=False)
    board.counters({'delivered': 1, 'lost': 0})
    page.wait_for_selector('[data-device=cloud].gone')
    assert 'CPU 34 % · 2.7 W modelled' in page.locator('[data-device=pi]').text_content()
    assert '8 Mbit/s · 15 ms' in page.locator('#fleet').text_content()
    assert 'pi' in page.locator('#power').text_content() and page.locator('#power-unit').inner_text() == 'W, modelled'
    expect(page.locator('#tiles')).to_contain_text('120 ms')
    tiles = page.locator('#tiles').inner_text()
    assert 'a frame, modelled' in tiles and '20.0 mJ' in tiles
    assert page.locator('#control-card').is_hidden()
    plan(4, 6, 'better')
    page.wait_for_selector('body[data-plan="4"]')
    assert page.locator('#split g').count() > 4


def crowd(count):
    """Return a board of a fleet with long names, that has said something of everything."""
    board = Board('demo', controls=True)
    names = ['pi', 'workstation-in-the-laboratory', *(f'device-{i}' for i in range(2, count))]
    for version in range(1, 4):
        stages = (StagePlan(names[0], True, ((0, 3 + version),)), StagePlan(names[version % count], False, ((3 + version, 9),)))
        board.plan(version * 9.0, Plan(version, 'sha', 'pi', 'pi', stages, (), latency_seconds=0.1, reason='a long reason ' * 9))
    device = {'alive': True, 'speed_factor': 1.0, 'cpu_percent': 34.0, 'temperature_celsius': 61.0, 'watts': 2.7, 'energy_kind': 'measured',
              'derating': '', 'memory_available_bytes': 2e9, 'memory_total_bytes': 8e9}  # fmt: skip
    pairs = [(a, b) for a in names for b in names if a < b]
    links = [{'sender': a, 'receiver': b, 'measured': a > 'e', 'bytes_per_second': 1e6, 'latency_seconds': 0.015} for a, b in pairs]
    for at in (10.0, 30.0):
        board.state(at, [{'name': name, **device} for name in names], links)
    for i in range(100):
        board.frame(10.0 + i / 5, 3, FrameParts(0.12, 0.08, 0.01), 0.02, measured=False)
    board.miss(20.0, 'failed', 'the image has no pixels')
    board.counters({'delivered': 100_000, 'lost': 20_000, 'failed': 3, 'expired': 4000, 'dropped': 123_456})
    board.health(30.0, [{'subject': name, 'level': 1, 'message': 'held back: ' * 5, 'refused': 7} for name in names])
    return board


@pytest.mark.parametrize('count', [2, 4, 20])
def test_nothing_overlaps_or_is_cut_off(show, count):
    page = show(crowd(count), Board('r2'), Board('a-robot-with-a-long-name'), token='secret', act=lambda *_: None, clock=lambda: 31.0)
    for width in (360, 390, 768, 1280, 1920):
        page.set_viewport_size({'width': width, 'height': 800})
        page.wait_for_selector('#fleets a')
        page.wait_for_timeout(300)
        assert page.evaluate(LAID_OUT) == [], width
    assert page.locator('#health li').count() == count and 'no pixels' in page.locator('#last-missed').inner_text()
    assert '1.9 of 7.5 GiB free · 61 °C' in page.locator('[data-device=pi]').text_content()


@pytest.mark.parametrize('report', ['demo', 'switch'])
def test_a_report_is_readable_on_a_phone(show, report):
    page = show(board_of_report(REPORTS / f'{report}.json'), clock=lambda: 0.0)
    page.wait_for_selector('td >> visible=true')
    for width in (360, 1280):
        page.set_viewport_size({'width': width, 'height': 800})
        page.wait_for_timeout(300)
        assert page.evaluate(LAID_OUT) == [], width


def test_the_image_is_shown_when_it_is_asked_for(show):
    cv2, np = pytest.importorskip('cv2'), pytest.importorskip('numpy')
    board = Board('demo')
    page = show(board)
    page.wait_for_selector('body[data-connected=true]')
    board.image(cv2.imencode('.jpg', np.zeros((30, 40, 3), np.uint8))[1].tobytes())
    expect(page.locator('#image')).to_be_hidden()
    page.locator('#image-shown summary').click()
    expect(page.locator('#image')).to_be_visible()
    assert page.locator('#image').evaluate('image => image.naturalWidth') == 40


@pytest.mark.parametrize('width', [360, 1280])
def test_the_page_of_all_records_does_not_scroll_sideways(page, tmp_path, width):
    pytest.importorskip('jinja2', reason='the extra `bench` is not installed')
    records = shutil.copytree(REPORTS, tmp_path / 'records')
    page.set_viewport_size({'width': width, 'height': 800})
    page.goto(bench_report.write_page(records, {}, linked=True).as_uri())
    assert page.locator('h2').count() > 20
    assert page.evaluate(LAID_OUT) == []
    assert page.evaluate('() => [...document.images].every((one) => one.naturalWidth)')
