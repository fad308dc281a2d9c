# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The SROS2 policy lets each node do what its source does, and no more."""

import functools
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from edge_dnn_partition.cli import sros2_policy
from edge_dnn_partition.cli.main import main
from edge_dnn_partition.planning.fleet.fleet import load_fleet

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'scripts'))

import topics_in_code  # noqa: E402

SOURCES = ROOT / 'edge_dnn_partition' / 'nodes'


@functools.cache
def code():
    return topics_in_code.nodes_of(SOURCES), topics_in_code.uses(SOURCES)


def ends_in_code(node):
    """What a node publishes, hears and serves, as its source says it."""
    parts, uses = code()
    own = [use for use in uses if node in parts[use.file]]
    return tuple({use.name for use in own if use.way == way} for way in ('publishes', 'hears', 'serves'))


@pytest.mark.parametrize('node', topics_in_code.NODES)
def test_the_policy_has_what_a_nodes_source_says(node):
    ends = sros2_policy.NODES[node]
    served = {name.removesuffix('_here') for name in ends.serves}
    hears = set(ends.hears) - {'emulation'}  # heard where the hardware is played (testbed/emulation.py)
    assert (set(ends.publishes), hears, served) == ends_in_code(node)


def rules(policy, enclave, kind, **rule):
    found = policy.findall(f"./enclaves/enclave[@path='{enclave}']//{kind}s")
    return {name.text for rules in found if rules.attrib == rule for name in rules}


def test_keygen_prints_a_policy_with_an_enclave_for_each_device(capsys):
    file = ROOT / 'config' / 'robot_cloud.yaml'
    fleet = load_fleet(file)
    assert main(['keygen', '--sros2-policy', str(file)]) == 0
    policy = ET.fromstring(capsys.readouterr().out)
    name, source = fleet.fleet, fleet.source
    other = next(device for device in fleet.devices if device != source)
    assert {enclave.get('path') for enclave in policy.iter('enclave')} == {
        f'/{name}/{part}' for part in (*fleet.devices, 'scheduler', 'tools')
    }
    for device in fleet.devices:
        assert rules(policy, f'/{name}/{device}', 'topic', subscribe='ALLOW') & {
            f'/{name}/{one}/tensors' for one in fleet.devices
        } == {f'/{name}/{device}/tensors'}, 'a device reads its own inbox alone'
        assert f'/{name}/plan' not in rules(policy, f'/{name}/{device}', 'topic', publish='ALLOW')
    assert f'/{name}/{source}/results' in rules(policy, f'/{name}/{source}', 'topic', subscribe='ALLOW')
    assert f'/{name}/result' not in rules(policy, f'/{name}/{other}', 'topic', publish='ALLOW')
    assert f'/{name}/plan' in rules(policy, f'/{name}/scheduler', 'topic', publish='ALLOW')
    assert f'/{name}/infer' in rules(policy, f'/{name}/tools', 'service', request='ALLOW')
    assert f'/{name}/scheduler/set_parameters' in rules(policy, f'/{name}/tools', 'service', request='ALLOW')
