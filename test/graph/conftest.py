# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of graph/ share: an own cache, and models loaded once."""

import functools
import importlib.util
from pathlib import Path

import onnx
import pytest

from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.model import Model, load_model
from edge_dnn_partition.graph.zoo.tiny import SHAPES, TINY


@pytest.fixture(scope='session', autouse=True)
def own_cache(tmp_path_factory):
    """Prepared models go into a folder of this run; the zoo's exports stay in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        kept = {name: zoo.model_path(name) for name in zoo.small_names()} if importlib.util.find_spec('torch') else {}
        patch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield kept


@pytest.fixture(scope='session')
def models(own_cache, tmp_path_factory):
    """A function from a model's name, tiny or small, to the loaded model."""
    folder = tmp_path_factory.mktemp('models')

    @functools.cache
    def load(name: str) -> Model:
        if name in TINY:
            path = folder / f'{name}.onnx'
            onnx.save(TINY[name](), path)
            return load_model(path, shapes=SHAPES.get(name))
        if name not in own_cache:
            pytest.skip('torch, which exports the zoo, is not installed')
        return load_model(own_cache[name])

    return load


@pytest.fixture
def save(tmp_path):
    """A function that writes a model into a new folder."""

    def write(model: onnx.ModelProto, name: str = 'model.onnx') -> Path:
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return write
