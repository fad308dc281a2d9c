# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The dashboard's server over real connections: who may read, who may change, what comes as news."""

import http.client
import json
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip('aiohttp', reason='the extra `dashboard` is not installed')

from edge_dnn_partition.dashboard.board import Board, FrameParts
from edge_dnn_partition.dashboard.serve import new_server
from edge_dnn_partition.errors import UserError


class Served:
    """A server with its board, and what it was asked to change."""

    def __init__(self, **options):
        self.board, self.asked = Board('demo'), []
        self.other = Board('r2')
        self.server = new_server(self.board, self.other, clock=lambda: 5.0, act=self._act, **options)
        self.address = self.server.start()

    def _act(self, fleet, what, value):
        self.asked.append((fleet, what, value))
        answer = Future()
        answer.set_result((False, 'no such plan') if value == 'bad' else (True, f'{what} is done'))
        return answer

    def ask(self, path, method='GET', body=None, **headers):
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=10)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers


@pytest.fixture
def served():
    made = []

    def serve(**options):
        made.append(Served(**options))
        return made[-1]

    yield serve
    for one in made:
        one.server.stop()


def test_the_page_and_its_files(served):
    one = served()
    status, body, headers = one.ask('/')
    assert status == 200 and b'/static/main.js' in body and headers['Content-Type'].startswith('text/html')
    assert "default-src 'none'" in headers['Content-Security-Policy']
    static = Path(sys.modules['edge_dnn_partition.dashboard.serve'].__file__).parent / 'static'
    for file in static.iterdir():
        status, body, _ = one.ask(f'/static/{file.name}')
        assert status == 200 and body == file.read_bytes()
        outside = [word for word in (b'http://', b'https://') for line in body.splitlines() if word in line and b'www.w3.org' not in line]
        assert not outside, file
    for path in ('/static/../server.py', '/static/%2e%2e%2fserver.py', '/static/server.py', '/nothing'):
        assert one.ask(path)[0] == 404, path


def test_news_follow_the_snapshot(served):
    one = served()
    one.board.say(1.0, 'before', 1)
    connection = http.client.HTTPConnection(urlsplit(one.address).netloc, timeout=10)
    connection.request('GET', '/api/events')
    stream = connection.getresponse()

    def event():
        lines = [stream.readline().decode().strip() for _ in range(3)]
        return lines[0].removeprefix('event: '), json.loads(lines[1].removeprefix('data: '))

    kind, snapshot = event()
    assert kind == 'snapshot' and [line['text'] for line in snapshot['log']] == ['before'] and snapshot['now'] == 5.0
    one.board.frame(2.0, 1, FrameParts(0.2, 0.1, 0.0), float('nan'), measured=False)
    assert event() == ('frame', [2.0, 0.2, 0.1, pytest.approx(0.1), 0.0, 1, None, False])
    connection.close()
    assert json.loads(one.ask('/api/state')[1])['frames']


def test_it_only_shows_without_a_token(served):
    one = served()
    assert one.ask('/api/pin', 'POST', '{"value": "x"}', Authorization='Bearer ')[0] == 403
    assert not one.asked


def test_a_token_lets_change(served):
    one = served(token='secret')
    right = {'Authorization': 'Bearer secret'}
    assert one.ask('/api/pin', 'POST', '{"value": "x"}', Authorization='Bearer wrong')[0] == 401
    assert one.ask('/api/pin', 'POST', '{"value": "x"}')[0] == 401
    for body in ('', '{}', '[]', '{"value": 3}'):
        assert one.ask('/api/pin', 'POST', body, **right)[0] == 400
    assert one.ask('/api/fire', 'POST', '{"value": "x"}', **right)[0] in (404, 405)
    assert not one.asked
    assert one.ask('/api/objective', 'POST', '{"value": "energy"}', **right)[0] == 200
    status, body, _ = one.ask('/api/pin', 'POST', '{"value": "bad"}', **right)
    assert (status, json.loads(body)) == (409, {'message': 'no such plan'})
    for what in ('free', 'replan', 'profile'):
        status, body, _ = one.ask(f'/api/{what}?fleet=r2', 'POST', '{"value": ""}', **right)
        assert (status, json.loads(body)) == (200, {'message': f'{what} is done'})
    assert one.ask('/api/free?fleet=r3', 'POST', '{"value": ""}', **right)[0] == 404
    asked = [('demo', 'objective', 'energy'), ('demo', 'pin', 'bad'), *(('r2', what, '') for what in ('free', 'replan', 'profile'))]
    assert one.asked == asked


def test_each_fleet_has_its_own_news(served):
    one = served()
    one.other.counters({'delivered': 3})
    assert json.loads(one.ask('/api/state')[1])['title'] == 'demo'
    there = json.loads(one.ask('/api/state?fleet=r2')[1])
    assert (there['title'], there['counters']) == ('r2', {'delivered': 3})
    status, body, _ = one.ask('/api/state?fleet=r3')
    assert status == 404 and b'demo, r2' in body
    one.other.state(4.0, [{'name': 'pi', 'alive': True}, {'name': 'box', 'alive': False}], [])
    one.other.frame(4.5, 1, FrameParts(0.2, 0.1, 0.0), float('nan'), measured=False)
    first, second = json.loads(one.ask('/api/fleets')[1])
    assert (first['name'], first['live'], second['name'], second['live']) == ('demo', False, 'r2', True)
    assert (second['devices'], second['answering'], second['median_seconds'], second['frames_per_second']) == (2, 1, 0.2, 0.2)


def test_the_image_comes_when_it_is_asked_for(served):
    one = served()
    assert not one.board.wants_image(5.0)
    one.board.want_image(5.0)
    assert one.board.wants_image(5.0) and not one.other.wants_image(5.0)
    one.board.image(b'jpeg')
    status, body, headers = one.ask('/api/image')
    assert (status, body, headers['Content-Type'], headers['X-Image-Number']) == (200, b'jpeg', 'image/jpeg', '1')
    threading.Timer(0.1, one.board.image, [b'next']).start()
    assert one.ask('/api/image?after=1')[1:2] == (b'next',)
    assert not one.board.wants_image(60.0) and one.board.want_image(60.0)[1] == b''


def test_metrics_are_what_the_scraper_asked_for(served):
    """Prometheus 3 refuses a media type that echoes its list of those it takes, or is no type at all."""
    pytest.importorskip('prometheus_client', reason='the extra `dashboard` is not installed')
    one = served()
    scraper = 'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2'
    for accept in ({}, {'Accept': '*/*'}, {'Accept': scraper}, {'Accept': 'application/openmetrics-text'}):
        status, body, headers = one.ask('/metrics', **accept)
        assert (status, headers['Content-Type']) == (200, 'application/openmetrics-text; version=1.0.0; charset=utf-8')
        assert body.endswith(b'# EOF\n') and b'edge_dnn_partition_fleet_up{fleet="demo"} 0.0\n' in body
    status, body, headers = one.ask('/metrics', Accept='text/plain; version=0.0.4')
    assert (status, headers['Content-Type']) == (200, 'text/plain; version=0.0.4; charset=utf-8') and b'# EOF' not in body
    assert one.ask('/metrics', Host='evil.example')[0] == 403


def test_without_prometheus_client_the_page_works(served, monkeypatch):
    monkeypatch.setitem(sys.modules, 'prometheus_client', None)
    one = served()
    status, body, _ = one.ask('/metrics')
    assert status == 501 and b"pip install 'prometheus-client" in body
    assert one.ask('/')[0] == 200


def test_another_name_for_this_machine_is_refused(served):
    one = served()
    assert one.ask('/api/state', Host='evil.example')[0] == 403
    assert one.ask('/api/state', Host='localhost')[0] == 200


def test_headers_that_are_no_text_are_a_bad_request(served, caplog):
    one = served(token='secret')
    where = urlsplit(one.address)
    heads = [b'Authorization: Bearer \xff\xfe', b'X-Other: \xc3\x28', b'Host: [:::', b'Host: \xff', b'Host: a:b:c']
    for head in heads:
        host = b'' if head.startswith(b'Host') else b'Host: localhost\r\n'
        with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
            connection.sendall(b'POST /api/pin HTTP/1.1\r\n' + host + head + b'\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}')
            status = int(connection.makefile('rb').readline().split()[1])
        assert status in ((400, 403) if head.startswith(b'Host') else (400,)), head
    assert not caplog.records, 'a traceback'
    assert one.ask('/api/state')[0] == 200


def test_a_port_that_is_taken_is_named(served):
    port = urlsplit(served().address).port
    with pytest.raises(UserError, match=f'port {port}.*give another port'):
        served(port=port)


def test_a_missing_library_is_named_with_what_to_install():
    code = (
        "import sys; sys.modules['aiohttp'] = None\n"
        'from edge_dnn_partition.cli.main import main\n'
        f'sys.exit(main(["dashboard", "--json", {str(Path(__file__).parents[2] / "docs/benchmarks/demo.json")!r}]))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd='/', timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1 and "pip install 'aiohttp" in done.stderr
