# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What stands in the profiles, which process gets which, and when the user's own choice counts."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edge_dnn_partition.cli import doctor_machine
from edge_dnn_partition.deployment import dds_environment as module
from edge_dnn_partition.deployment import dds_profile as profiles
from edge_dnn_partition.deployment.dds_environment import VARIABLES, chosen_by_user, dds_environment, dds_profile
from edge_dnn_partition.deployment.dds_profile import DdsProfile, profile_xml
from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.transport.fragment_codec import encode
from edge_dnn_partition.transport.fragments import FRAME, PATIENT_PACKETS, Fragment, in_packets


def read(profile, version=2):
    """A profile as a list of paths and texts, without namespaces."""
    found = []

    def walk(element, path):
        path = f'{path}/{element.tag.rpartition("}")[2]}'
        found.append((path, (element.text or '').strip(), dict(element.attrib)))
        for child in element:
            walk(child, path)

    walk(ET.fromstring(profile_xml(profile, version).encode()), '')
    return found


def texts(profile, end, version=2):
    return [text for path, text, _ in read(profile, version) if path.endswith(end)]


@pytest.mark.parametrize('version', [2, 3])
@pytest.mark.parametrize('profile', [DdsProfile('machine'), DdsProfile('lan')])
def test_every_profile_is_the_default_of_all_participants(profile, version):
    attributes = [given for path, _, given in read(profile, version) if path == '/dds/profiles/participant']
    assert [given['is_default_profile'] for given in attributes] == ['true']
    assert texts(profile, 'rtps/useBuiltinTransports', version) == ['false']
    assert texts(profile, 'transport_descriptor/transport_id', version) == texts(profile, 'userTransports/transport_id', version)
    assert texts(profile, '/sendBufferSize', version) == []


def test_on_one_machine_nothing_leaves_it():
    profile = DdsProfile('machine')
    assert texts(profile, 'transport_descriptor/type') == ['UDPv4']
    assert texts(profile, 'interfaceWhiteList/address') == ['127.0.0.1']
    with_images = DdsProfile('machine', profiles.SEGMENT_BYTES)
    assert texts(with_images, 'transport_descriptor/type') == ['SHM', 'UDPv4']
    assert texts(with_images, 'segment_size') == ['8388608']
    assert texts(profile, 'leaseDuration/sec') == []


@pytest.mark.parametrize(('version', 'period'), [(2, 'heartbeatPeriod'), (3, 'heartbeat_period')])
def test_a_lan_is_patient(version, period):
    profile = DdsProfile('lan')
    assert texts(profile, 'receiveBufferSize', version) == [str(profiles.RECEIVE_BUFFER_BYTES)]
    assert texts(profile, 'leaseDuration/sec', version) == ['90']
    assert texts(profile, 'leaseAnnouncement/sec', version) == ['1']
    assert texts(DdsProfile('lan', datagram_bytes=profiles.NARROW_DATAGRAM_BYTES), 'leaseAnnouncement/sec', version) == ['3']
    assert texts(profile, 'disable_heartbeat_piggyback', version) == ['true']
    assert texts(profile, f'times/{period}/nanosec', version) == ['200000000']
    assert texts(profile, 'interfaceWhiteList/address', version) == texts(profile, 'interfaceWhiteList/interface', version) == []
    assert texts(DdsProfile('lan', interface='wg0'), 'interfaceWhiteList/interface', version) == ['wg0']


def test_an_interface_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path))
    with pytest.raises(PlanError, match='this machine has no wg77, but .*lo'):
        dds_environment(DdsProfile('lan', interface='wg77'), {})


@pytest.mark.parametrize(('rate', 'size'), [('1 Mbit/s', ['4480']), ('2 Mbit/s', []), ('40 Mbit/s', [])])
def test_where_a_link_is_slow_no_datagram_is_long(rate, size):
    links = [{'between': ['a', 'b'], 'rate': rate}, {'between': ['b', 'c'], 'rate': '1 Gbit/s'}]
    document = {'fleet': 'f', 'source': 'a', 'devices': {'a': {}, 'b': {}, 'c': {}}, 'links': links}
    profile = dds_profile(parse_fleet({**document, 'network': {'kind': 'lan'}}))
    assert texts(profile, 'propertiesPolicy/properties/property/value') == size


def test_a_fragment_on_a_narrow_link_is_one_datagram():
    size = in_packets(PATIENT_PACKETS)
    fragment = Fragment(FRAME, 'nineteen_letters_19', 1, 1, 1, 9, 9 * size, memoryview(bytes(size)))
    most_without_fragments = profiles.NARROW_DATAGRAM_BYTES - 176  # seen on the wire with Fast DDS 2.14
    assert len(encode(fragment)) <= most_without_fragments


def test_the_doctor_asks_the_kernel_for_what_the_profile_asks():
    assert doctor_machine.RECEIVE_BUFFER_BYTES == profiles.RECEIVE_BUFFER_BYTES


def test_dds_stays_within_a_site_whatever_is_between_sites():
    links = [{'between': ['pi', 'jetson'], 'rate': '1 Gbit/s'}, {'between': ['pi', 'box'], 'rate': '1 Mbit/s'}]
    network = {'kind': 'wan', 'router': 'tcp/203.0.113.5:7447', 'sites': {'there': ['box']}, 'interface': 'eth0'}
    fleet = parse_fleet({'source': 'pi', 'devices': {'pi': {}, 'jetson': {}, 'box': {}}, 'network': network, 'links': links})
    assert dds_profile(fleet) == DdsProfile('lan', interface='eth0')


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def test_files_are_named_by_their_content_and_written_once(cache):
    first = dds_environment(DdsProfile('lan'), {})
    assert set(first) == set(VARIABLES)
    assert len({*first.values()}) == 2
    assert all(Path(path).parent == cache / 'dds' for path in first.values())
    before = {path: path.stat().st_mtime_ns for path in (cache / 'dds').iterdir()}
    assert dds_environment(DdsProfile('lan'), {}) == first
    assert {path: path.stat().st_mtime_ns for path in (cache / 'dds').iterdir()} == before
    assert dds_environment(DdsProfile('lan', segment_bytes=1), {}) != first
    Path(first['FASTRTPS_DEFAULT_PROFILES_FILE']).write_text('spoilt')
    dds_environment(DdsProfile('lan'), {})
    assert ET.parse(first['FASTRTPS_DEFAULT_PROFILES_FILE'])


@pytest.mark.parametrize('name', [*VARIABLES, 'ROS_DISCOVERY_SERVER', 'FASTDDS_BUILTIN_TRANSPORTS'])
def test_what_the_user_chose_wins(cache, name):
    assert dds_environment(DdsProfile('machine'), {name: 'his'}) == {}
    assert chosen_by_user({name: 'his'}) == name
    assert chosen_by_user({name: ''}) == ''


@pytest.mark.parametrize(('name', 'set_up'), [('rmw_cyclonedds_cpp', False), ('rmw_zenoh_cpp', False), ('rmw_fastrtps_dynamic_cpp', True)])
def test_another_middleware_is_left_alone(cache, name, set_up):
    assert bool(dds_environment(DdsProfile('machine'), {'RMW_IMPLEMENTATION': name})) == set_up


def test_a_file_of_ours_is_not_the_users_choice(cache):
    given = dds_environment(DdsProfile('lan'), {})
    assert chosen_by_user(given) == ''
    assert dds_environment(DdsProfile('machine'), given) not in ({}, given)


def test_a_machine_does_not_get_transports_of_the_middlewares_own(cache):
    given = dds_environment(DdsProfile('machine'), {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'})
    assert given['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'SYSTEM_DEFAULT'


def test_where_only_fast_dds_3_is_there_it_is_not_given_the_other_file(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(module.sys, 'prefix', str(tmp_path))
    (tmp_path / 'lib').mkdir()
    (tmp_path / 'lib' / 'libfastdds.so.3.2').touch()
    assert set(dds_environment(DdsProfile('lan'), {})) == {'FASTDDS_DEFAULT_PROFILES_FILE'}
    older = tmp_path / 'older'
    (older / 'lib').mkdir(parents=True)
    (older / 'lib' / 'libfastrtps.so').touch()
    assert set(dds_environment(DdsProfile('lan'), {'AMENT_PREFIX_PATH': str(older)})) == set(VARIABLES)
