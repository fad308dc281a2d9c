# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The dashboard's web server: a page from this package, and its news as Server-Sent Events.

It runs on a thread of its own and serves one `Board` for each fleet, and their metrics. Who may connect may read; changing
anything needs the token.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from importlib.resources import files
from typing import Any, Final

from aiohttp import web

from edge_dnn_partition.errors import BusyError

from .board import Board, board_time
from .metrics import exposition

Act = Callable[[str, str, str], 'Future[tuple[bool, str]]']
"""Takes a fleet, one of `ACTIONS` and its value; the future's result is whether it was done, and the answer in words."""

ACTIONS: Final = ('objective', 'pin', 'free', 'replan', 'profile')
"""What those with the token may ask for: as `tell`, and the objective."""

_TYPES: Final = {'html': 'text/html', 'css': 'text/css', 'js': 'text/javascript', 'svg': 'image/svg+xml'}
_WAITING_EVENTS: Final = 2000
"""A page that is so far behind is let go; it comes again and gets a snapshot."""

_PATIENCE_SECONDS: Final = 10.0
_ACTION_SECONDS: Final = 600.0
"""Profiling all devices takes minutes."""

_IMAGE_SECONDS: Final = 5.0
_IMAGE_STEP_SECONDS: Final = 0.05
_HEADERS: Final = {
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-cache',
}


class DashboardServer:
    """Serves boards; `start` it, and `stop` it at the end.

    :param boards: at least one; a page that names no fleet gets the first.
    :param host: the address to listen at.
    :param port: 0 takes a free one.
    :param token: who sends it may change the fleet; empty: nobody may.
    :param act: carries such a change out.
    :param clock: seconds, of the board's clock.
    """

    def __init__(
        self,
        *boards: Board,
        host: str = '127.0.0.1',
        port: int = 0,
        token: str = '',
        act: Act | None = None,
        clock: Callable[[], float] = board_time,
    ) -> None:
        self._boards = {board.title: board for board in boards}
        self._host, self._port, self._token, self._act = host, port, token, act
        self._clock = clock
        self._loop = asyncio.new_event_loop()
        self._started: Future[int] = Future()
        self._ending: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name='dashboard', daemon=True)

    def start(self) -> str:
        """Begin to listen; return the page's address.

        :raises BusyError: if the address cannot be had.
        """
        self._thread.start()
        try:
            port = self._started.result(_PATIENCE_SECONDS)
        except OSError as error:
            raise BusyError(
                f'the dashboard cannot listen at {self._host}, port {self._port} ({error.strerror}): give another port or host'
            ) from error
        host = f'[{self._host}]' if ':' in self._host else self._host
        return f'http://{host}:{port}/'

    def stop(self) -> None:
        """Close every connection and end."""
        if self._ending is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(2.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._ending = asyncio.Event()
        app = web.Application(middlewares=[self._guard])
        app.router.add_get('/', self._page)
        app.router.add_get('/static/{name}', self._page)
        app.router.add_get('/metrics', self._metrics)
        app.router.add_get('/api/fleets', self._fleets)
        app.router.add_get('/api/events', self._events)
        app.router.add_get('/api/image', self._image)
        app.router.add_get('/api/state', self._state)
        app.router.add_post(f'/api/{{what:{"|".join(ACTIONS)}}}', self._change)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            try:
                await site.start()
            except OSError as error:
                self._started.set_exception(error)
                return
            self._started.set_result(runner.addresses[0][1])
            await self._ending.wait()
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse names that a foreign site could give this machine (DNS rebinding) while only this machine may connect."""
        try:
            host = request.url.host or ''
            for value in request.headers.values():
                value.encode()
        except ValueError:  # UnicodeEncodeError is one
            return web.Response(status=400, text='a header is not UTF-8, or its Host names none\n')
        if _is_loopback(self._host) and not _is_loopback(host):
            return web.Response(status=403, text=f'this dashboard is at http://{self._host}:{request.url.port}/ only\n')
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _page(self, request: web.Request) -> web.Response:
        """Return one of the package's files; there are no folders among them."""
        name = request.match_info.get('name', 'index.html')
        file = files(__package__).joinpath('static', name)
        kind = _TYPES.get(name.rpartition('.')[2])
        if kind is None or '/' in name or not file.is_file():
            raise web.HTTPNotFound
        return web.Response(body=file.read_bytes(), content_type=kind, charset='utf-8')

    def _board(self, request: web.Request) -> Board:
        """Return the board that a request is about."""
        name = request.query.get('fleet', next(iter(self._boards)))
        if name not in self._boards:
            raise web.HTTPNotFound(text=f'this dashboard shows no fleet of that name, but: {", ".join(self._boards)}\n')
        return self._boards[name]

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = ','.join(request.headers.getall('Accept', ()))
        try:
            body, kind = exposition([*self._boards.values()], self._clock(), accept)
        except ModuleNotFoundError as error:
            missing = f"the metrics need the Python package {error.name}: pip install 'prometheus-client>=0.20'\n"
            return web.Response(status=501, text=missing)
        return web.Response(body=body, headers={'Content-Type': kind})

    async def _fleets(self, _request: web.Request) -> web.Response:
        return web.json_response([board.summary(self._clock()) for board in self._boards.values()])

    async def _image(self, request: web.Request) -> web.Response:
        """Return the first annotated image after the one that has the number ``after``; nothing if none comes for a while."""
        board, after = self._board(request), request.query.get('after', '0')
        deadline = self._loop.time() + _IMAGE_SECONDS
        while True:
            number, jpeg = board.want_image(self._clock())
            if jpeg and str(number) != after:
                return web.Response(body=jpeg, content_type='image/jpeg', headers={'X-Image-Number': str(number)})
            if self._loop.time() >= deadline or self._ending is None or self._ending.is_set():
                return web.Response(status=204)
            await asyncio.sleep(_IMAGE_STEP_SECONDS)

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(self._board(request).snapshot(self._clock()))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        board = self._board(request)
        response = web.StreamResponse(headers={**_HEADERS, 'Content-Type': 'text/event-stream'})
        await response.prepare(request)
        queue: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue(_WAITING_EVENTS)

        def put(item: tuple[str, Any]) -> None:
            if queue.qsize() >= _WAITING_EVENTS - 1:
                queue.put_nowait(None) if not queue.full() else None
            else:
                queue.put_nowait(item)

        def listener(kind: str, document: Any) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(put, (kind, document))

        snapshot = board.listen(listener, self._clock())
        assert self._ending is not None
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await response.write(_event('snapshot', snapshot))
            while not ending.done():
                item = asyncio.ensure_future(queue.get())
                await asyncio.wait((item, ending), timeout=_PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not item.done():
                    item.cancel()
                    await response.write(b': alive\n\n')
                    continue
                first = item.result()
                news = [first, *(queue.get_nowait() for _ in range(queue.qsize()))]
                await response.write(b''.join(_event(*one) for one in news if one is not None))
                if None in news:
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass  # the page has gone
        finally:
            ending.cancel()
            board.forget(listener)
        return response

    async def _change(self, request: web.Request) -> web.Response:
        given = request.headers.get('Authorization', '').removeprefix('Bearer ')
        if not self._token or self._act is None:
            return _answer(403, 'this dashboard only shows: give it a token to let it change anything')
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return _answer(401, 'the token is another one')
        try:
            value = (await request.json())['value']
        except (ValueError, KeyError, TypeError):
            return _answer(400, 'send {"value": "…"}')
        if not isinstance(value, str):
            return _answer(400, 'the value must be a text')
        what, fleet = request.match_info['what'], self._board(request).title
        try:
            done, words = await asyncio.wait_for(asyncio.wrap_future(self._act(fleet, what, value)), _ACTION_SECONDS)
        except asyncio.TimeoutError:
            return _answer(504, 'the scheduler does not answer; is it running?')
        return _answer(200 if done else 409, words)


def _event(kind: str, document: Any) -> bytes:
    return f'event: {kind}\ndata: {json.dumps(document, allow_nan=False)}\n\n'.encode()


def _answer(status: int, text: str) -> web.Response:
    return web.json_response({'message': text}, status=status)


def _is_loopback(host: str) -> bool:
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host.strip('[]')).is_loopback
    except ValueError:
        return False
