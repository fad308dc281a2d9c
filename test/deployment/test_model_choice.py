# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Which model a fleet has on a device: its file's, or the one that it was given."""

import shutil

import pytest

from edge_dnn_partition.deployment.model_choice import (
    ModelChoice,
    ModelRef,
    at_hand,
    choose,
    chosen,
    ref_of,
    with_chosen_model,
    with_model,
)
from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.graph.source import read_source
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.transport.blobs import BlobStore, file_sha256


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    model = demo_model.cached('tiny')
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    return parse_fleet({'fleet': 'robot', 'source': 'pi', 'devices': {'pi': {}}, 'model': {'path': str(model)}})


def test_a_model_is_chosen_and_the_one_before_had_back(fleet, tmp_path):
    own = ref_of(fleet, read_source(fleet.model.path).sha256)
    (tmp_path / 'new.onnx').write_bytes(fleet.model.path.read_bytes())
    with (tmp_path / 'new.onnx').open('ab') as stream:
        stream.write(b'\x12\x01a')  # another producer
    store = BlobStore()
    sha256 = file_sha256(tmp_path / 'new.onnx')
    shutil.copy(tmp_path / 'new.onnx', store.folder / sha256)
    new = ModelRef(sha256, 'new.onnx', {'shapes': {'image': [1, 3, 8, 8]}})
    assert with_chosen_model(fleet) is fleet
    choose(fleet, ModelChoice(new, own), store)
    changed = with_chosen_model(fleet)
    assert changed.model.path.read_bytes() == (tmp_path / 'new.onnx').read_bytes()
    assert changed.model.path.name == 'new.onnx'
    assert changed.model.shapes == {'image': (1, 3, 8, 8)}
    assert chosen('robot') == ModelChoice(new, own)
    (store.folder / new.sha256).unlink()  # the cache's limit
    assert with_chosen_model(fleet).model.path == changed.model.path
    choose(fleet, ModelChoice(own, new), store)
    assert with_chosen_model(fleet) == fleet
    assert changed.model.path.exists()
    choose(fleet, ModelChoice(own, own), store)
    assert not changed.model.path.exists()
    assert at_hand(fleet, own.sha256) == fleet.model.path


def test_what_is_not_here_or_no_good_is_not_chosen(fleet):
    own = ref_of(fleet, 'a' * 64)
    with pytest.raises(UserError, match='fetch it again'):
        choose(fleet, ModelChoice(ModelRef('b' * 64, 'new.onnx', {}), own), BlobStore())
    assert chosen('robot') is None
    for wrong in (ModelRef('../x', 'm', {}), ModelRef('a' * 64, '../m', {}), ModelRef('a' * 64, 'm', {'path': 'm'})):
        with pytest.raises(PlanError):
            wrong.check()
    with pytest.raises(PlanError, match='settings of the model'):
        with_model(fleet, ModelRef('a' * 64, 'm', {'shapes': {'image': [0]}}), fleet.model.path)
