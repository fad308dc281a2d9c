# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What SROS2 is to let each process of a fleet do, as its policy file: one enclave for each device, one for what runs once.

A test holds the table below against the nodes' sources.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from edge_dnn_partition.nodes.core.topics import DIAGNOSTICS, Topics
from edge_dnn_partition.planning.fleet.fleet import Fleet

PER_DEVICE: Final = ('tensors', 'results', 'acks')
"""Published to every device's, heard at one's own."""


@dataclass(frozen=True)
class Ends:
    """What a node publishes, hears, serves and calls: attributes of `Topics`."""

    publishes: tuple[str, ...]
    hears: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


_ALL: Final = ('claim', 'sessions', 'group_sessions')
NODES: Final = {
    'device_monitor': Ends((*_ALL, 'blob_requests', 'blobs', 'devices', 'heartbeat', 'telemetry'),
                           (*_ALL, 'blob_requests', 'blobs', 'description')),
    'worker': Ends(
        (*_ALL, *PER_DEVICE, 'blob_requests', 'energy', 'frame_failure', 'heartbeat', 'plan_state', 'profile', 'stage_heartbeat'),
        (*_ALL, 'blobs', 'description', 'emulation', 'exploration', 'frame_report', 'hedge_plan', 'plan', 'acks', 'shadow',
         'tensors'),
        ('profile_again_here',),
    ),
    'frame_source': Ends(
        (*_ALL, *PER_DEVICE, 'actions', 'annotated', 'annotated_compressed', 'classification', 'depth', 'detections', 'embedding',
         'frame_report', 'heartbeat', 'hedge_plan', 'mask', 'result', 'source_status', 'vision_classification',
         'vision_detections'),
        (*_ALL, 'description', 'emulation', 'frame_failure', 'plan', 'acks', 'results', 'shadow', 'stage_heartbeat'), ('infer',),
    ),
    'scheduler': Ends(
        (*_ALL, 'DIAGNOSTICS', 'blob_requests', 'blobs', 'calibration', 'decision', 'description', 'exploration', 'plan', 'plot',
         'shadow', 'shares', 'state'),
        (*_ALL, 'blob_requests', 'blobs', 'devices', 'energy', 'frame_failure', 'frame_report', 'heartbeat', 'plan_state',
         'profile', 'shares', 'source_status', 'telemetry'),
        ('free_plan', 'pin_plan', 'profile_again', 'replan', 'set_model'), ('profile_again_there',),
    ),
    'dashboard': Ends(
        _ALL,
        (*_ALL, 'DIAGNOSTICS', 'annotated_compressed', 'decision', 'energy', 'frame_report', 'plan', 'source_status', 'state',
         'telemetry'),
        (), ('free_plan', 'pin_plan', 'profile_again', 'replan', 'scheduler_parameters'),
    ),
    'visualisation': Ends((*_ALL, 'markers'), (*_ALL, 'plan', 'state')),
    'router': Ends(_ALL, _ALL),
    'tools': Ends(
        ('sessions', 'blob_requests', 'blobs', 'emulation'),
        ('sessions', 'actions', 'blob_requests', 'blobs', 'calibration', 'classification', 'decision', 'depth', 'description',
         'detections', 'devices', 'embedding', 'frame_report', 'heartbeat', 'mask', 'plan', 'result', 'source_status', 'state',
         'telemetry'),
        (), ('free_plan', 'infer', 'pin_plan', 'profile_again', 'replan', 'set_model', 'all_parameters'),
    ),
}  # fmt: skip
_PARAMETERS: Final = (
    'describe_parameters', 'get_parameter_types', 'get_parameters', 'list_parameters', 'set_parameters',
    'set_parameters_atomically',
)  # fmt: skip
_OWN_SERVICES: Final = (
    *_PARAMETERS, 'get_type_description', 'change_state', 'get_available_states', 'get_available_transitions', 'get_state',
    'get_transition_graph',
)  # fmt: skip


def policy_of(fleet: Fleet) -> str:
    """Return the policy file of a fleet, for ``ros2 security create_permission`` and ``generate_artifacts``."""
    policy = ET.Element('policy', version='0.2.0')
    enclaves = ET.SubElement(policy, 'enclaves')
    for device in fleet.devices:
        nodes = ('device_monitor', 'worker', *(('frame_source',) if device == fleet.source else ()))
        _enclave(enclaves, fleet, device, [(f'/{fleet.fleet}/{device}', node) for node in nodes])
    for name, nodes in (('scheduler', ('scheduler', 'dashboard', 'visualisation')), ('tools', ('tools',))):
        _enclave(enclaves, fleet, name, [(f'/{fleet.fleet}', node) for node in nodes])
    ET.indent(policy)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(policy, encoding='unicode') + '\n'


def _enclave(enclaves: ET.Element, fleet: Fleet, name: str, nodes: list[tuple[str, str]]) -> None:
    enclave = ET.SubElement(enclaves, 'enclave', path=f'/{fleet.fleet}/{name}')
    profiles = ET.SubElement(enclave, 'profiles')
    for namespace, node in nodes:
        profile = ET.SubElement(profiles, 'profile', ns=namespace, node=node)
        ends, device = NODES[node], namespace.rpartition('/')[2] if namespace.count('/') > fleet.fleet.count('/') + 1 else ''
        hears = {'/clock', '/parameter_events', *_names(fleet, node, device, ends.hears, own=True)}
        if node == 'frame_source':
            topics = (getattr(given, 'topic', None) for given in (fleet.camera, *fleet.inputs.values()))
            hears.update(topic if topic.startswith('/') else f'{namespace}/{topic}' for topic in topics if topic)
        _rules(profile, 'topic', {'publish': 'ALLOW'}, {'/rosout', '/parameter_events', '~/transition_event',
                                                        *_names(fleet, node, device, ends.publishes, own=False)})  # fmt: skip
        _rules(profile, 'topic', {'subscribe': 'ALLOW'}, hears)
        _rules(profile, 'service', {'reply': 'ALLOW'}, {*(f'~/{name}' for name in _OWN_SERVICES),
                                                        *_names(fleet, node, device, ends.serves, own=True)})  # fmt: skip
        _rules(profile, 'service', {'request': 'ALLOW'}, set(_names(fleet, node, device, ends.calls, own=False)))


def _rules(profile: ET.Element, kind: str, rule: dict[str, str], names: set[str]) -> None:
    if names:
        rules = ET.SubElement(profile, f'{kind}s', rule)
        for name in sorted(names):
            ET.SubElement(rules, kind).text = name


def _names(fleet: Fleet, node: str, device: str, ends: Iterable[str], *, own: bool) -> Iterable[str]:
    """Yield the names of topics and services; of those that every device has only one's own if ``own``."""
    topics = Topics(fleet.fleet, device or fleet.source)
    group = fleet.share.group if fleet.share is not None else None
    for end in ends:
        if end in (*PER_DEVICE, 'blobs'):
            yield from (getattr(topics, end)(name) for name in ([device] if own and device else fleet.devices))
        elif end in ('shares', 'group_sessions'):
            yield from (getattr(topics, end)(group),) if group is not None else ()
        elif end == 'DIAGNOSTICS':
            yield DIAGNOSTICS
        elif end == 'claim':
            yield topics.claim(node, device if node in ('device_monitor', 'worker') else '')
        elif end == 'plot':
            yield topics.plot('*')
        elif end == 'hedge_plan':
            yield topics.hedge_plan()
        elif end == 'profile_again':
            yield topics.profile_again()
        elif end == 'profile_again_here':
            yield topics.profile_again(device)
        elif end == 'profile_again_there':
            yield from map(topics.profile_again, fleet.devices)
        elif end == 'scheduler_parameters':
            yield f'/{fleet.fleet}/scheduler/set_parameters_atomically'
        elif end == 'all_parameters':
            yield from (f'/{fleet.fleet}/{node}/{service}' for node in _all_nodes(fleet) for service in _PARAMETERS)
        else:
            yield getattr(topics, end)


def _all_nodes(fleet: Fleet) -> Iterable[str]:
    yield 'scheduler'
    yield from (f'{device}/{node}' for device in fleet.devices for node in ('device_monitor', 'worker'))
    yield f'{fleet.source}/frame_source'
