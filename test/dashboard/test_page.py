# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, with reports and with a fleet that is told by the test."""

import json
import math
from pathlib import Path

import pytest

pytest.importorskip('aiohttp', reason='the extra `dashboard` is not installed')

from edge_dnn_partition.dashboard.board import Board, FrameParts
from edge_dnn_partition.dashboard.replay import board_of_report
from edge_dnn_partition.dashboard.serve import new_server
from edge_dnn_partition.planning.plans.plan import Plan, StagePlan

expect = pytest.importorskip('playwright.sync_api', reason='playwright is not installed').expect
REPORTS = Path(__file__).resolve().parents[2] / 'docs' / 'benchmarks'


@pytest.fixture
def show(page):
    servers = []

    def show(board, **options):
        servers.append(new_server(board, **options))
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
    assert 'pi, modelled' in page.locator('#power').text_content()
    expect(page.locator('#tiles')).to_contain_text('120 ms')
    tiles = page.locator('#tiles').inner_text()
    assert 'a frame, modelled' in tiles and '20.0 mJ' in tiles
    assert page.locator('#control-card').is_hidden()
    plan(4, 6, 'better')
    page.wait_for_selector('body[data-plan="4"]')
    assert page.locator('#split g').count() > 4
