# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""One device's session, or the router, without ROS: ``python -m edge_dnn_partition.benchmarks.wan_end FLEET.yaml NAME``.

With a third argument it has the certificate of that fleet's device, while it says that it is of the first.
A device publishes ten messages a second and a latched one, and prints whom it has begun, or ceased, to hear, with the time.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import Final

from edge_dnn_partition.planning.fleet.fleet import load_fleet
from edge_dnn_partition.transport.sites import place
from edge_dnn_partition.transport.zenoh_router import open_router, router_settings
from edge_dnn_partition.transport.zenoh_session import WideSession

PERIOD_SECONDS: Final = 0.1
SILENT_SECONDS: Final = 0.5
"""Who has not been heard for so long is not heard."""


def main(path: str, name: str, stranger: str = '') -> None:
    """Run until the process is ended."""
    fleet = load_fleet(path)
    if name == 'router':
        session = open_router(router_settings([fleet]))
        _say('listens')
        time.sleep(1e6)
        session.close()
        return
    where = place(fleet, name)
    if where is None:
        raise SystemExit('the fleet has one site')
    if stranger:
        found = place(load_fleet(stranger), name)
        where = replace(where, tls=found and found.tls)
    wide = WideSession(where)
    beats, greeting = wide.publisher('beat'), wide.publisher('greeting', latched=1)
    heard: dict[str, float] = {}
    greeting.put(name.encode())
    wide.subscribe('beat', lambda raw: heard.__setitem__(raw.decode(), time.monotonic()))
    wide.subscribe('greeting', lambda raw: _say(f'greeted {raw.decode()}'), latched=1)
    now: set[str] = set()
    while True:
        beats.put(name.encode())
        before, now = now, {other for other, at in heard.items() if time.monotonic() - at < SILENT_SECONDS}
        for other in now - before:
            _say(f'hears {other}')
        for other in before - now:
            _say(f'misses {other}')
        time.sleep(PERIOD_SECONDS)


def _say(words: str) -> None:
    os.write(1, f'{time.monotonic():.3f} {words}\n'.encode())  # whole lines, from several threads


if __name__ == '__main__':
    main(*sys.argv[1:])
