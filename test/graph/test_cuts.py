# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Cuts, frontiers and stage boundaries."""

import pytest

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.cuts import END_SHARE, candidate_boundaries, frontier, linear_cuts, near_shares, work_shares
from edge_dnn_partition.graph.stages import extract_stages, stage_boundary
from edge_dnn_partition.graph.zoo.tiny import TINY

ALL = (*TINY, *zoo.small_names())


@pytest.mark.parametrize('name', ALL)
def test_linear_cuts_are_frontiers(name, models):
    model = models(name)
    cuts = linear_cuts(model)
    assert [cut.index for cut in cuts] == list(range(len(model.layers) + 1))
    for cut in cuts:
        assert {tensor.name for tensor in cut.tensors} == set(frontier(model, range(cut.index)))
        assert cut.bytes == sum(tensor.bytes for tensor in cut.tensors)
    assert {tensor.name for tensor in cuts[-1].tensors} == set(model.outputs)


@pytest.mark.parametrize('name', ALL)
def test_candidate_boundaries(name, models):
    model = models(name)
    cuts = linear_cuts(model)
    for limit in (2, 3, 8, 20):
        bounds = candidate_boundaries(model, limit=limit)
        assert bounds[0] == 0
        assert bounds[-1] == len(model.layers)
        assert list(bounds) == sorted(set(bounds))
        assert len(bounds) <= limit
    if name in ('resnet18_small', 'resnet50_small', 'mobilenetv2_small', 'inception_small', 'vit_small'):
        assert len(bounds) >= 8
    shares = work_shares(model)
    inner = [index for index in range(1, len(cuts) - 1) if END_SHARE <= shares[index] <= 1 - END_SHARE]
    for near in near_shares([shares[index] for index in inner]):
        least = min((cuts[inner[place]].bytes for place in near), default=0)
        offered = min((cuts[inner[place]].bytes for place in near if inner[place] in bounds), default=0)
        assert offered <= 1.05 * least


@pytest.mark.parametrize(('name', 'done', 'expected'), [
    ('diamond', [], {'x'}),
    ('diamond', [0], {'a'}),
    ('diamond', [0, 1], {'a', 'c'}),
    ('diamond', [0, 1, 2], {'a', 'd'}),
    ('skip', [0, 1, 2], {'a', 'c', 'x'}),
    ('several_ends', [0], {'x', 'b'}),
    ('several_ends', [0, 1], {'a', 'b'}),
    ('several_ends', [0, 1, 2], {'early'}),
    ('several_ends', [0, 1, 2, 3, 4], {'early', 'left', 'right'}),
])
def test_frontier(name, done, expected, models):
    assert set(frontier(models(name), done)) == expected


def test_frontier_of_a_set_that_is_not_down_closed_is_refused(models):
    with pytest.raises(ModelError, match='cannot be computed before'):
        frontier(models('diamond'), [1])
    with pytest.raises(ModelError, match='no layer 9'):
        frontier(models('diamond'), [9])


def test_stage_boundary_of_a_middle_stage(models):
    inputs, outputs = stage_boundary(models('skip'), [1, 2])
    assert (inputs, outputs) == (('a',), ('c',))
    assert stage_boundary(models('skip'), [4, 5]) == (('d', 'a', 'x'), ('y',))
    assert stage_boundary(models('several_ends'), [0, 1, 2]) == (('z', 'x'), ('early',))


def test_set_that_is_not_convex_is_refused(models):
    with pytest.raises(ModelError, match='cannot be one stage'):
        stage_boundary(models('chain'), [0, 2])
    with pytest.raises(ModelError, match='at least one layer'):
        stage_boundary(models('chain'), [])


@pytest.mark.parametrize(('cuts', 'message'), [
    ([0], 'from 1 to 3'), ([4], 'from 1 to 3'), ([-1], 'from 1 to 3'), ([2, 1], 'ascending'), ([2, 2], 'ascending')])
def test_cuts_that_do_not_exist_are_refused(cuts, message, models, tmp_path):
    with pytest.raises(ModelError, match=message):
        extract_stages(models('chain'), cuts, tmp_path)
    assert not list(tmp_path.iterdir())
