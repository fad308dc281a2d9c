# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The zoo's networks are what they are said to be."""

import sys

import numpy as np
import pytest

from edge_dnn_partition.errors import ModelError
from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.feeds import random_feeds
from edge_dnn_partition.graph.stages import extract_stages
from edge_dnn_partition.graph.verify import run_chain, run_file

REQUIRED = ('alexnet', 'vgg16', 'resnet18', 'resnet50', 'mobilenetv2', 'efficientnet_b0', 'inception', 'vit_b16',
            'bert', 'yolo', 'digits')


def test_names():
    assert set(REQUIRED) <= set(zoo.names())
    with pytest.raises(ModelError, match='no model resnet19: it has alexnet'):
        zoo.model_path('resnet19')


@pytest.mark.parametrize('name', zoo.small_names())
def test_outputs_are_well_conditioned(name, models):
    model = models(name)
    seen = []
    for seed in (0, 1):
        feeds = random_feeds([model.tensors[tensor] for tensor in model.inputs], seed)
        seen.append(run_file(model.source_path, model.outputs, feeds))
    for output in model.outputs:
        values = seen[0][output]
        assert np.isfinite(values).all()
        assert 1e-3 < values.std() < 1e3
        assert not np.allclose(values, seen[1][output])


def test_digits_is_trained_and_stays_so_when_it_is_split(models, tmp_path):
    pytest.importorskip('sklearn')
    model = models('digits')
    from edge_dnn_partition.graph.zoo.digits import data

    _, _, images, labels = data()
    stages = extract_stages(model, [2, 5], tmp_path)
    right = 0
    for image, label in zip(images[:200], labels[:200], strict=True):
        whole = run_file(model.source_path, model.outputs, {'image': image[None]})['scores']
        right += int(whole.argmax() == label)
    assert right >= 190
    split = run_chain(stages, model.outputs, {'image': images[:1]})['scores']
    assert split.argmax() == labels[0]


def test_without_torch_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path))
    for name in [name for name in sys.modules if name.startswith('edge_dnn_partition.graph.zoo.export')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(ModelError, match='with torch, and torch is missing'):
        zoo.model_path('resnet18_small')
