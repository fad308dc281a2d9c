# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Boards by published figures: whole models against the rows that each file names, and what a fleet file makes of them."""

import math

import pytest

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.graph.work import layer_operations, layer_work
from edge_dnn_partition.planning.fleet.board import board, board_names
from edge_dnn_partition.planning.fleet.fleet import parse_fleet


@pytest.fixture(scope='module')
def models():
    pytest.importorskip('torch', reason='the zoo is built with torch')
    return {name: load_model(zoo.model_path(name)) for name in ('resnet50', 'mobilenetv2')}


def milliseconds(name, model):
    return 1e3 * math.fsum(board(name).layer_seconds(model))


@pytest.mark.parametrize('name', board_names())
def test_whole_models_take_what_was_published(name, models):
    for row in board(name).rows:
        took = milliseconds(name, models[row.model])
        assert took == pytest.approx(row.milliseconds, rel=0.15), row.path
        if row.watts is not None:  # energy of an inference at the wall
            published = row.watts * row.milliseconds
            power = board(name).power
            assert (power.idle + power.active) * took == pytest.approx(published, rel=0.15), row.path


def test_one_slowdown_for_a_board_does_not_hold(models):
    pi, cpu, gpu = ({m: milliseconds(b, g) for m, g in models.items()} for b in (
        'raspberry_pi_4', 'jetson_agx_xavier_cpu', 'jetson_agx_xavier_gpu'))  # fmt: skip
    assert pi['resnet50'] / cpu['resnet50'] == pytest.approx(6.4, rel=0.1)
    assert pi['mobilenetv2'] / cpu['mobilenetv2'] == pytest.approx(4.9, rel=0.1)
    assert pi['resnet50'] / gpu['resnet50'] > 100


def test_work_by_kind_is_all_of_the_work(models):
    """The multiply-adds of ResNet-50 and MobileNetV2 are those in the literature: 4.1e9 and 0.3e9."""
    for name, expected in (('resnet50', 4.09e9), ('mobilenetv2', 0.301e9)):
        work = layer_work(models[name])
        assert sum(w.dense + w.pointwise + w.depthwise for w in work) == pytest.approx(expected, rel=0.01)
        kinds = [w.dense + w.pointwise + w.depthwise + w.activations + w.elements for w in work]
        assert kinds == pytest.approx(layer_operations(models[name]))
    assert sum(w.depthwise for w in layer_work(models['resnet50'])) == 0


def fleet(**emulate):
    return parse_fleet({'source': 'pi', 'devices': {'pi': {'emulate': emulate}}})


def test_a_board_in_a_fleet_file():
    pi = fleet(board='raspberry_pi_4').devices['pi']
    assert (pi.power.idle, pi.power.active) == (2.7, 3.7)
    assert pi.watts_given
    assert (pi.emulate.factor, pi.emulate.other_factor) == (1.0, board('raspberry_pi_4').other_slowdown)
    assert fleet(board='raspberry_pi_4', slowdown=9).devices['pi'].emulate.other_factor == 9
    assert (fleet(slowdown=8).devices['pi'].emulate.factor, fleet(slowdown=8).devices['pi'].emulate.other_factor) == (8, 1)
    with pytest.raises(PlanError, match='did you mean .*raspberry_pi_4'):
        fleet(board='raspberry_pi4')
    own = parse_fleet({'source': 'pi', 'devices': {'pi': {'power': {'active': '5 W', 'radio': '1 W'}, 'emulate': {'board': 'raspberry_pi_4'}}}})
    power = own.devices['pi'].power
    assert (power.idle, power.active, power.radio) == (2.7, 5, 1)
