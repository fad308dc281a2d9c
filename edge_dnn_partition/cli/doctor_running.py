# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of a running fleet: what its machines have in common or not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from edge_dnn_partition import ros_env
from edge_dnn_partition.cli.doctor_machine import Check
from edge_dnn_partition.monitoring.network_presence import DeviceLiveness, Presence, listen, own_addresses
from edge_dnn_partition.planning.fleet.fleet import Fleet, load_fleet

ANNOUNCED_SECONDS: Final = 4.0
"""How long to listen for whom the fleet's domain does not hear: Fast DDS announces itself every three."""


def running_fleet(path: str | Path, seconds: float, name: str = '') -> list[Check]:
    """Listen to a running fleet and check what its machines have in common.

    :param path: the fleet file.
    :param seconds: how long to listen at most.
    :param name: the fleet's, if it is not the file's.
    :raises UserError: if the fleet file is no good, or ROS is not there.
    """
    from edge_dnn_partition.cli.running_fleet import join_network

    ros_env.require_ros('doctor --listen')
    fleet = load_fleet(path, name)
    join_network(fleet)
    from edge_dnn_partition.nodes.clients import liveness_listener

    signs = liveness_listener.listen(fleet, seconds)
    return findings(fleet, signs, lambda: listen(ANNOUNCED_SECONDS))


def findings(fleet: Fleet, signs: Mapping[str, DeviceLiveness], announced: Callable[[], Sequence[Presence]]) -> list[Check]:
    """Return what follows from what was heard.

    :param announced: asked for who else talks DDS on the network, if a device is not heard.
    """
    checks: list[Check | None] = [_presence(fleet, name, signs.get(name)) for name in fleet.devices]
    strangers = sorted(set(signs) - set(fleet.devices))
    if strangers:
        found = f'found {", ".join(strangers)}, which the fleet file does not name'
        checks.append(Check('fleet', 'warn', found, 'copy one fleet file to all devices, and restart their processes'))
    if len(signs) < len(fleet.devices) and fleet.network_kind == 'lan':
        checks.append(_domain(announced()))
    heard = {name: signs[name] for name in fleet.devices if name in signs}
    checks.append(_sealed(heard) if fleet.security.key_file is not None else None)
    checks.append(_alike('middleware', {n: s.middlewares for n, s in heard.items()}, _SAME_MIDDLEWARE))
    checks.append(_alike('model', {n: {m[:12] for m in s.models} for n, s in heard.items()}, 'copy one model file to all devices'))
    return [*(check for check in checks if check is not None), *_clocks(heard)]


def _sealed(heard: Mapping[str, DeviceLiveness]) -> Check | None:
    """Say whose messages are not believed, since they were not sealed with this fleet's key."""
    wrong = [name for name, signs in heard.items() if signs.unsealed]
    if not heard or not wrong:
        return Check('key of the fleet', 'ok', f'the same on {", ".join(heard)}') if heard else None
    advice = 'copy one key file and one fleet file to all devices, and restart their processes; see docs/security.md'
    found = f'messages of {", ".join(wrong)} have no valid seal, so nobody accepts them'
    return Check('key of the fleet', 'fail', found, advice)


_SAME_MIDDLEWARE: Final = 'set the same RMW_IMPLEMENTATION on all machines and restart their processes: two need not interoperate'


def _presence(fleet: Fleet, name: str, signs: DeviceLiveness | None) -> Check:
    wanted = {'device_monitor', 'worker', *(['frame_source'] if name == fleet.source else [])}
    start = f'start it there: edge-dnn-partition up FLEET.yaml --device {name}'
    if signs is None:
        advice = f'{start}; if it is running, check ROS_DOMAIN_ID, discovery range and firewall'
        return Check(f'device {name}', 'warn', 'no messages', advice)
    missing = sorted(wanted - signs.nodes)
    if missing:
        return Check(f'device {name}', 'warn', f'no messages from its {" and ".join(missing)}', start)
    return Check(f'device {name}', 'ok', f'{", ".join(sorted(signs.nodes))} found')


def _domain(presences: Sequence[Presence]) -> Check:
    """Say who talks DDS in other domains, which is why he is not heard here."""
    domain, own = int(os.environ.get('ROS_DOMAIN_ID') or 0), own_addresses()
    others = [p for p in presences if p.domain != domain]
    if others:
        words = (f'domain {p.domain}: {"this machine" if p.address in own else p.address} ({p.middleware})' for p in others)
        where = '; '.join(dict.fromkeys(words))
        advice = 'if one of these is the missing device: export the same ROS_DOMAIN_ID on all machines'
        return Check('domain', 'warn', f'this is domain {domain}; others use DDS in {where}', advice)
    far = sorted({f'{p.address} ({p.middleware})' for p in presences if p.address not in own})
    if far:
        advice = 'if one of these is the missing device: its nodes are not running, or a firewall drops UDP from port 7400 up'
        return Check('domain', 'ok', f'{domain}; others in it: {", ".join(far)}', advice)
    advice = 'no DDS announcements in any domain up to 101: check discovery range, firewall and Wi-Fi (multicast) on that device'
    return Check('domain', 'warn', f'{domain}; nobody else uses DDS on this network', advice)


def _alike(name: str, values: Mapping[str, set[str]], advice: str) -> Check | None:
    """Check that all devices have one value; None if nothing is known."""
    known = {device: ' and '.join(sorted(found)) for device, found in values.items() if found}
    if not known:
        return None
    if len({value for found in values.values() for value in found}) > 1:
        each = ', '.join(f'{device}: {value}' for device, value in known.items())
        return Check(f'{name} of the fleet', 'fail', f'differs: {each}', advice)
    return Check(f'{name} of the fleet', 'ok', f'{next(iter(known.values()))} on {", ".join(known)}')


def _clocks(heard: Mapping[str, DeviceLiveness]) -> list[Check]:
    """Say whose clock is off; the fleet itself measures on one clock, stamps and bags do not."""
    wrong = [f'{name} {signs.clock}' for name, signs in heard.items() if signs.clock]
    known = [name for name, signs in heard.items() if signs.lateness is not None]
    if wrong:
        advice = 'run chrony on all machines: latencies are measured on one clock, but stamps, bags and tf need clocks that agree'
        return [Check('clocks', 'warn', '; '.join(wrong), advice)]
    return [Check('clocks', 'ok', f"the clocks of {', '.join(known)} agree with this machine's")] if known else []
