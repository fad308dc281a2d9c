# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The plan on disk: read again by the release that wrote it, and left alone with a word about it by any other."""

from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy')

from edge_dnn_partition.msg import Plan, PlanStage

from edge_dnn_partition.nodes.conversions import plan_messages
from edge_dnn_partition.nodes.core.topics import Topics
from edge_dnn_partition.planning.fleet.fleet import Constraints

PLAN = Plan(version=7, model_sha256='a' * 64, source='pi', sink='pi', stages=[PlanStage(device='pi', inputs=['@image'])])


@pytest.fixture
def said():
    return []


@pytest.fixture
def node(tmp_path, monkeypatch, said):
    monkeypatch.setattr(plan_messages, 'cache_dir', lambda _: tmp_path)
    return SimpleNamespace(
        topics=Topics('demo', 'pi'), get_name=lambda: 'worker', get_logger=lambda: SimpleNamespace(info=said.append),
    )  # fmt: skip


def test_a_plan_made_under_other_constraints_is_not_read(node, said):
    """What a robot must keep to since yesterday holds while the scheduler is down, too."""
    plan_messages.PlanMemory(node, Constraints(pin={'relu': 'pi'})).keep(PLAN)
    assert plan_messages.PlanMemory(node, Constraints(pin={'relu': 'pi'})).recall('a' * 64) == PLAN and said == []
    for changed in (Constraints(), Constraints(pin={'relu': 'pi'}, private_until='relu'), Constraints(pin={'relu': 'pi'}, exclude=('pi',))):
        assert plan_messages.PlanMemory(node, changed).recall('a' * 64) is None
    assert len(said) == 3 and 'other constraints' in said[0]


def test_a_plan_of_another_release_is_not_read(node, said, monkeypatch):
    plan = PLAN
    memory = plan_messages.PlanMemory(node, Constraints())
    memory.keep(plan)
    assert memory.recall('a' * 64) == plan and memory.recall('b' * 64) is None and said == []
    with monkeypatch.context() as other:
        other.setattr(plan_messages, 'IMAGE', '@picture')
        memory.keep(plan)
    assert memory.recall('a' * 64) is None
    assert len(said) == 1 and 'from another release' in said[0]
