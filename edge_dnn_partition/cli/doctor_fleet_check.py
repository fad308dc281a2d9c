# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of a fleet: its file, and what its running machines have in common or not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from edge_dnn_partition.cli.doctor_checks import Check
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.planning.fleet_state.fleet import Fleet, load_fleet
from edge_dnn_partition.runtime.monitoring.fleet_signs import DeviceSigns
from edge_dnn_partition.runtime.monitoring.rtps_presence import Presence, listen, own_addresses

ANNOUNCED_SECONDS: Final = 4.0
"""How long to listen for whom the fleet's domain does not hear: Fast DDS announces itself every three."""


def fleet_file(path: str | Path) -> tuple[Check, ...]:
    """Check a fleet file: its names, keys and values, and whether the files that it names are here."""
    try:
        fleet = load_fleet(path)
    except UserError as error:
        return (Check('fleet file', 'fail', str(error), 'mend the fleet file, and copy it to all devices'),)
    model = fleet.model
    named = [] if model is None else [p for p in (model.path, model.preprocessing) if p is not None]
    missing = [str(p) for p in named if not p.is_file()]
    if missing:
        advice = 'copy the model and its files to every device, at the same place beside the fleet file'
        return (Check('fleet file', 'warn', f'it names what is not here: {", ".join(missing)}', advice),)
    return (Check('fleet file', 'ok', f'fleet {fleet.fleet}: {", ".join(fleet.devices)}; source {fleet.source}'),)


def running_fleet(path: str | Path, seconds: float) -> list[Check]:
    """Listen to a running fleet and check what its machines have in common.

    :param path: the fleet file.
    :param seconds: how long to listen at most.
    :raises UserError: if the fleet file is no good, or ROS is not there.
    """
    from edge_dnn_partition import ros_env
    from edge_dnn_partition.runtime.deployment.dds_environment import dds_environment, dds_profile

    ros_env.require_ros('doctor --listen')
    fleet = load_fleet(path)
    os.environ.update(dds_environment(dds_profile(fleet)))
    from edge_dnn_partition.nodes.clients import fleet_ear

    signs = fleet_ear.listen(fleet, seconds)
    return findings(fleet, signs, lambda: listen(ANNOUNCED_SECONDS))


def findings(fleet: Fleet, signs: Mapping[str, DeviceSigns], announced: Callable[[], Sequence[Presence]]) -> list[Check]:
    """Return what follows from what was heard.

    :param announced: asked for who else talks DDS on the network, if a device is not heard.
    """
    checks: list[Check | None] = [_presence(fleet, name, signs.get(name)) for name in fleet.devices]
    strangers = sorted(set(signs) - set(fleet.devices))
    if strangers:
        found = f'heard of {", ".join(strangers)}, which the fleet file does not name'
        checks.append(Check('fleet', 'warn', found, 'copy one fleet file to all devices, and start their processes anew'))
    if len(signs) < len(fleet.devices) and fleet.network_kind == 'lan':
        checks.append(_domain(announced()))
    heard = {name: signs[name] for name in fleet.devices if name in signs}
    checks.append(_alike('middleware', {n: s.middlewares for n, s in heard.items()}, _SAME_MIDDLEWARE))
    checks.append(_alike('model', {n: {m[:12] for m in s.models} for n, s in heard.items()}, 'copy one model file to all devices'))
    return [*(check for check in checks if check is not None), *_clocks(heard)]


_SAME_MIDDLEWARE: Final = 'set the same RMW_IMPLEMENTATION on all machines and start their processes anew: two do not always talk'


def _presence(fleet: Fleet, name: str, signs: DeviceSigns | None) -> Check:
    wanted = {'device_monitor', 'worker', *(['frame_source'] if name == fleet.source else [])}
    start = f'start it there: edge-dnn-partition up FLEET.yaml --device {name}'
    if signs is None:
        advice = f'{start}; if it runs, ROS_DOMAIN_ID, discovery range or a firewall keep it away'
        return Check(f'device {name}', 'warn', 'nothing heard', advice)
    missing = sorted(wanted - signs.nodes)
    if missing:
        return Check(f'device {name}', 'warn', f'nothing heard of its {" and ".join(missing)}', start)
    return Check(f'device {name}', 'ok', f'{", ".join(sorted(signs.nodes))} heard')


def _domain(presences: Sequence[Presence]) -> Check:
    """Say who talks DDS in other domains, which is why he is not heard here."""
    domain, own = int(os.environ.get('ROS_DOMAIN_ID') or 0), own_addresses()
    others = [p for p in presences if p.domain != domain]
    if others:
        words = (f'domain {p.domain}: {"this machine" if p.address in own else p.address} ({p.middleware})' for p in others)
        where = '; '.join(dict.fromkeys(words))
        advice = 'if one of these is the missing device: export the same ROS_DOMAIN_ID on all machines'
        return Check('domain', 'warn', f'this is domain {domain}; others talk DDS in {where}', advice)
    far = sorted({f'{p.address} ({p.middleware})' for p in presences if p.address not in own})
    if far:
        advice = 'if one of these is the missing device: its nodes do not run, or a firewall drops UDP from 7400 on'
        return Check('domain', 'ok', f'{domain}; others in it: {", ".join(far)}', advice)
    advice = 'nobody announces himself in any domain up to 101: look at discovery range, firewall and Wi-Fi (multicast) there'
    return Check('domain', 'warn', f'{domain}; nobody else talks DDS on this network', advice)


def _alike(name: str, values: Mapping[str, set[str]], advice: str) -> Check | None:
    """Check that all devices have one value; None if nothing is known."""
    known = {device: ' and '.join(sorted(found)) for device, found in values.items() if found}
    if not known:
        return None
    if len({value for found in values.values() for value in found}) > 1:
        each = ', '.join(f'{device}: {value}' for device, value in known.items())
        return Check(f'{name} of the fleet', 'fail', f'not the same: {each}', advice)
    return Check(f'{name} of the fleet', 'ok', f'{next(iter(known.values()))} on {", ".join(known)}')


def _clocks(heard: Mapping[str, DeviceSigns]) -> list[Check]:
    """Say whose clock is off; the fleet itself measures on one clock, stamps and bags do not."""
    wrong = [f'that of {name} {signs.clock}' for name, signs in heard.items() if signs.clock]
    known = [name for name, signs in heard.items() if signs.lateness is not None]
    if wrong:
        advice = 'run chrony on all machines: latencies are measured on one clock, but stamps, bags and tf need them to agree'
        return [Check('clocks', 'warn', '; '.join(wrong), advice)]
    return [Check('clocks', 'ok', f'those of {", ".join(known)} agree with this one')] if known else []
