# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet described for a device that has no file of it: what is in it, what is not, and what is refused."""

import shutil
from dataclasses import replace

import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from edge_dnn_partition.deployment.fleet_description import (
    FleetDescription,
    FleetFile,
    Means,
    describe,
    missing_files,
    write_fleet,
)
from edge_dnn_partition.errors import PlanError, WireError
from edge_dnn_partition.planning.fleet.fleet import load_fleet, parse_fleet


@pytest.fixture
def fleet(tmp_path):
    import numpy as np

    weights = numpy_helper.from_array(np.ones((4, 4), np.float32), 'w')
    graph = helper.make_graph(
        [helper.make_node('MatMul', ['x', 'w'], ['y'])], 'g',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 4])], [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1, 4])],
        [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)])
    folder = tmp_path / 'here'
    folder.mkdir()
    onnx.save_model(model, folder / 'model.onnx', save_as_external_data=True, location='model.data', size_threshold=0)
    (folder / 'bias.npy').write_bytes(b'numbers')
    (folder / 'key').write_text('0' * 64)
    (folder / 'robot.yaml').write_text(yaml.safe_dump({
        'fleet': 'robot', 'source': 'pi', 'model': {'path': 'model.onnx', 'postprocessing': {'kind': 'raw'}},
        'devices': {'pi': {'threads': 2, 'memory': '1 GiB'}, '*': {'power': {'active': '5 W'}}},
        'links': [], 'inputs': {'b': {'kind': 'constant', 'file': 'bias.npy'}}, 'camera': {'video': 'way/film.mp4'},
        'security': {'key_file': 'key'}, 'parameters': {'worker': {'profile_runs': 1}},
    }))  # fmt: skip
    return load_fleet(folder / 'robot.yaml')


def test_what_is_described_is_the_same_fleet_elsewhere_with_all_its_files(fleet, tmp_path):
    description, places = describe(fleet)
    folder = tmp_path / 'there'
    key = tmp_path / 'my.key'
    there = write_fleet(description, folder, 'robot', 'spare', Means(key))
    assert [file.path for file in missing_files(description, folder)] == ['0/model.onnx', '0/model.data', '1/bias.npy']
    for file in description.files:
        (folder / file.path).parent.mkdir(exist_ok=True)
        shutil.copyfile(places[file.sha256].path, folder / file.path)
    assert not missing_files(description, folder)
    assert there.devices == fleet.devices
    assert there.anybody == fleet.anybody
    assert there.parameters == fleet.parameters
    assert there.model.path == folder / '0' / 'model.onnx'
    assert there.security.key_file == key


def test_no_secret_and_no_path_of_this_machine_is_told(fleet, tmp_path):
    text = describe(fleet)[0].text
    assert 'key' not in text
    assert str(tmp_path) not in text


def test_a_file_that_has_changed_is_missing_again(fleet, tmp_path):
    description, places = describe(fleet)
    write_fleet(description, tmp_path / 'there', 'robot', 'spare')
    for file in description.files:
        (tmp_path / 'there' / file.path).parent.mkdir(exist_ok=True)
        shutil.copyfile(places[file.sha256].path, tmp_path / 'there' / file.path)
    (tmp_path / 'there' / '1' / 'bias.npy').write_bytes(b'another')
    assert [file.path for file in missing_files(description, tmp_path / 'there')] == ['1/bias.npy']


def test_a_fleet_whose_file_is_missing_says_so(fleet, tmp_path):
    (tmp_path / 'here' / 'bias.npy').unlink()
    with pytest.raises(PlanError, match='bias.npy'):
        describe(fleet)


@pytest.mark.parametrize('path', ['/etc/passwd', '../model.onnx', '0/../../model.onnx', 'fleet.yaml', '', '0/a\0b'])
def test_nothing_is_written_outside_the_folder(fleet, tmp_path, path):
    description, _ = describe(fleet)
    bad = replace(description, files=(FleetFile(path, '0' * 64, 1),))
    with pytest.raises(WireError, match='outside its folder'):
        write_fleet(bad, tmp_path / 'there', 'robot', 'spare')
    assert not (tmp_path / 'there').exists()


def test_a_fleet_that_names_files_of_this_machine_is_refused(tmp_path):
    bad = FleetDescription('source: pi\nmodel: {path: /etc/passwd}\n', ())
    with pytest.raises(WireError, match='/etc/passwd'):
        write_fleet(bad, tmp_path / 'there', 'robot', 'spare')


def test_a_device_of_several_sites_needs_a_certificate_of_its_own(fleet, tmp_path):
    wide = {'kind': 'wan', 'router': 'tls/box.example:7447', 'sites': {'here': ['pi']},
            'tls': {'ca': '/far/ca.pem', 'certificate': '/far/pi.pem', 'key': '/far/pi.key'}}  # fmt: skip
    described = describe(parse_fleet({**yaml.safe_load(describe(fleet)[0].text), 'network': wide, 'inputs': {}, 'model': None}))[0]
    assert '/far' not in described.text
    with pytest.raises(PlanError, match='--certificates FOLDER'):
        write_fleet(described, tmp_path / 'there', 'robot', 'spare')
    there = write_fleet(described, tmp_path / 'there', 'robot', 'spare', Means(certificates=tmp_path / 'keys'))
    assert there.network.tls.of('spare').certificate == tmp_path / 'keys' / 'spare.pem'


@pytest.mark.parametrize(('site', 'expected'), [('here', 'here'), ('lab', '+lab')])
def test_a_device_that_joins_from_elsewhere_has_its_site_and_the_way_in_its_file(fleet, tmp_path, site, expected):
    wide = {'kind': 'wan', 'router': 'tcp/10.0.0.1:7447', 'sites': {'here': ['pi']}}
    described = describe(parse_fleet({**yaml.safe_load(describe(fleet)[0].text), 'network': wide, 'inputs': {}, 'model': None}))[0]
    there = write_fleet(described, tmp_path / 'there', 'robot', 'spare', Means(router='tcp/192.168.0.1:1', site=site))
    assert (there.network.router, there.site_of('spare')) == ('tcp/192.168.0.1:1', expected)
    assert 'spare' not in there.devices
