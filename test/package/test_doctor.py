# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys

import pytest

from edge_dnn_partition import cache, ros_env
from edge_dnn_partition.cli import doctor, doctor_machine, doctor_ros
from edge_dnn_partition.cli.doctor_sites import sites
from edge_dnn_partition.cli.main import main
from edge_dnn_partition.deployment.certificates import make_certificates
from edge_dnn_partition.planning.fleet.fleet import load_fleet

CLI = (sys.executable, '-m', 'edge_dnn_partition.cli')


def test_json_is_one_document_with_advice_where_it_is_needed(capsys):
    code = main(['doctor', '--json'])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found['healthy'] else 1)
    assert {'python', 'numpy', 'onnxruntime', 'cache', 'ROS 2'} <= {check['name'] for check in found['checks']}
    for check in found['checks']:
        assert check['status'] in ('ok', 'warn', 'fail')
        assert check['advice'] or check['status'] == 'ok'


def test_a_failure_makes_the_exit_code_1(monkeypatch, capsys):
    bad = doctor_machine.Check('x', 'fail', 'broken', 'mend it')
    monkeypatch.setattr(doctor, 'ORDER', (lambda: (bad,),))
    assert main(['doctor']) == 1
    assert capsys.readouterr().out == 'fail  x: broken\n      -> mend it\n0 ok, 0 to look at, 1 to fix\n'


@pytest.mark.parametrize(('version', 'expected'), [('1.26.4', (1, 26, 4)), ('2.13.0+cpu', (2, 13, 0)), ('', ())])
def test_versions_are_compared_as_numbers(version, expected):
    assert doctor_machine.version_tuple(version) == expected


def test_an_old_and_a_broken_package_fail(monkeypatch):
    monkeypatch.setattr(doctor_machine, 'NEEDED', {'json': ('json', '99.0'), 'no_such_module': ('nothing', '1.0')})
    old, broken = doctor_machine.packages()
    assert (old.status, broken.status) == ('fail', 'fail')
    assert 'pip install "nothing>=1.0"' in broken.advice


def write(root, name, text):
    path = root / 'proc/sys/net' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(('size', 'status'), [('212992\n', 'warn'), ('2097152\n', 'ok')])
def test_small_receive_buffers_are_noticed(tmp_path, size, status):
    write(tmp_path, 'core/rmem_max', size)
    (check,) = doctor_machine.socket_buffers(tmp_path)
    assert check.status == status
    assert ('sysctl' in check.advice) == (status == 'warn')


@pytest.mark.parametrize(('high', 'seconds', 'status'), [
    ('4194304\n', '30\n', 'warn'), ('4194304\n', '3\n', 'ok'), ('134217728\n', '30\n', 'ok'),
])  # fmt: skip
def test_fragments_that_would_fill_their_buffer_are_noticed(tmp_path, high, seconds, status):
    write(tmp_path, 'ipv4/ipfrag_high_thresh', high)
    write(tmp_path, 'ipv4/ipfrag_time', seconds)
    (check,) = doctor_machine.socket_buffers(tmp_path)
    assert check.status == status


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """An environment in which nobody has set DDS up."""
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    for name in ('RMW_IMPLEMENTATION', 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE',
                 'ROS_DISCOVERY_SERVER', 'FASTDDS_BUILTIN_TRANSPORTS'):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


FLEET = 'source: pi\ndevices: {pi: {}, box: {}}\n'


@pytest.mark.parametrize(('network', 'status', 'words'), [
    ('', 'ok', 'lan: '),
    ('network: {kind: machine}', 'ok', 'machine: '),
    ('network: {kind: wan, router: tcp/203.0.113.5:7447, sites: {b: [box]}, interface: lo}', 'warn', 'wan: '),
    ('network: {kind: wifi}', 'fail', 'network.kind'),
])  # fmt: skip
def test_the_dds_profile_of_a_fleet(plain, tmp_path, capsys, network, status, words):
    path = tmp_path / 'fleet.yaml'
    path.write_text(FLEET + network)
    main(['doctor', '--json', '--fleet', str(path)])
    (check,) = [c for c in json.loads(capsys.readouterr().out)['checks'] if c['name'] == 'DDS profile']
    assert (check['status'], words in check['found']) == (status, True)
    assert ('export ' in check['advice'] and 'DEFAULT_PROFILES_FILE=' in check['advice']) == (status == 'warn')


@pytest.mark.parametrize(('content', 'status', 'words'), [
    ('<dds xmlns="http://www.eprosima.com/x"><profiles/></dds>', 'ok', 'yours: FASTRTPS'),
    ('<dds>', 'fail', 'is not XML'),
    ('<profile/>', 'fail', 'starts with <profile>'),
    (None, 'fail', 'No such file'),
])  # fmt: skip
def test_the_users_own_profile_is_looked_at(plain, tmp_path, content, status, words):
    path = tmp_path / 'own.xml'
    if content is not None:
        path.write_text(content)
    plain.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', str(path))
    (check,) = doctor_machine.dds_profile_check()
    assert check.status == status
    assert words in check.found


@pytest.mark.parametrize(('name', 'value', 'words'), [
    ('RMW_IMPLEMENTATION', 'rmw_cyclonedds_cpp', 'none: rmw_cyclonedds_cpp'),
    ('RMW_IMPLEMENTATION', 'rmw_zenoh_cpp', 'rmw_zenohd'),
    ('ROS_DISCOVERY_SERVER', '1.2.3.4:11811', 'yours: ROS_DISCOVERY_SERVER'),
    ('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp', 'chosen by network in the fleet file'),
])  # fmt: skip
def test_no_profile_of_ours(plain, name, value, words):
    plain.setenv(name, value)
    (check,) = doctor_machine.dds_profile_check()
    assert check.status == 'ok'
    assert words in check.found


def test_what_lies_between_sites_is_asked_for(tmp_path):
    pytest.importorskip('zenoh', reason='Zenoh is not installed')
    path = tmp_path / 'fleet.yaml'
    tls = "tls: {ca: ca.pem, certificate: '{device}.pem', key: '{device}.key'}"
    path.write_text(FLEET + f'network: {{kind: wan, router: tls/127.0.0.1:1, {tls}, sites: {{b: [box]}}}}')
    fleet = load_fleet(path)
    missing = sites(fleet, ['pi'])
    assert (missing.status, 'pi.pem' in missing.found) == ('fail', True)
    make_certificates(fleet)
    alone = sites(fleet, ['pi'])
    assert (alone.status, 'cannot be reached' in alone.found) == ('warn', True)
    (tmp_path / 'pi.pem').write_bytes((tmp_path / 'box.pem').read_bytes())
    assert 'is of fleet.box, not of fleet.pi' in sites(fleet, ['pi']).found


def test_an_unreadable_kernel_is_a_warning(tmp_path):
    (check,) = doctor_machine.socket_buffers(tmp_path)
    assert check.status == 'warn'


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'file' / 'cache'))
    monkeypatch.setattr(cache.tempfile, 'tempdir', str(tmp_path))
    (check,) = doctor_machine.cache_folder()
    assert (check.status, 'file/cache cannot be written (Not a directory)' in check.found) == ('warn', True)
    assert 'EDGE_DNN_PARTITION_CACHE' in check.advice


def test_a_broken_numpy_on_the_pythonpath_is_named_with_what_brings_it(tmp_path):
    (tmp_path / 'numpy').mkdir()
    (tmp_path / 'numpy' / '__init__.py').write_text('raise ImportError("numpy of another Python")')
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path)}
    done = subprocess.run([*CLI, 'doctor', '--json'], check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)
    checks = {check['name']: check for check in json.loads(done.stdout)['checks']}
    assert done.returncode == 1 and str(tmp_path / 'numpy' / '__init__.py') in checks['numpy']['found']
    assert checks['numpy']['advice'].startswith(f'PYTHONPATH contains {tmp_path}') and 'pip' not in checks['numpy']['advice']
    assert checks['scipy']['advice'] == 'fix numpy first'
    done = subprocess.run([*CLI, 'inspect', 'x.onnx'], check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith('error: a package cannot be imported') and done.stderr.count('\n') == 1


@pytest.mark.parametrize('words', [['doctor'], ['up', 'fleet.yaml'], ['top', 'fleet.yaml', '--once']])
def test_a_middleware_that_is_not_installed_ends_nothing(tmp_path, words):
    pytest.importorskip('rclpy')
    environment = {**os.environ, 'RMW_IMPLEMENTATION': 'rmw_nowhere_cpp'}
    done = subprocess.run([*CLI, *words], check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == (1 if words == ['doctor'] else 2), said
    assert 'asks for RMW_IMPLEMENTATION=rmw_nowhere_cpp, which does not load here' in said
    assert 'unset RMW_IMPLEMENTATION' in said and 'ros-$ROS_DISTRO-rmw-nowhere-cpp' in said
    assert words == ['doctor'] or said.count('\n') == 1


def test_what_is_well_takes_few_lines(capsys):
    main(['doctor'])
    few = capsys.readouterr().out
    main(['doctor', '--verbose'])
    assert len(few.splitlines()) < len(capsys.readouterr().out.splitlines()) - 15
    assert 'ok    packages: numpy ' in few and 'ok    sensors: cpu' in few and 'not here: ' in few


def make_ros(folder):
    (folder / 'rclpy').mkdir(parents=True)
    (folder / 'rclpy' / '__init__.py').write_text('')
    return str(folder)


def test_two_ros_on_one_path_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'path', [make_ros(tmp_path / 'a'), make_ros(tmp_path / 'b')])
    (check,) = doctor_ros.installation()
    assert check.status == 'fail'
    assert check.found.startswith('found twice')
    assert len(ros_env.ros_prefixes()) == 2


def test_no_ros_is_only_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    (check,) = doctor_ros.installation()
    assert check.status == 'warn'
    assert doctor_ros.messages() == ()


def test_messages_of_changed_sources_are_noticed(tmp_path, monkeypatch):
    pytest.importorskip('edge_dnn_partition.msg')
    from edge_dnn_partition import __version__

    share = tmp_path / 'share' / 'edge_dnn_partition'
    (share / 'msg').mkdir(parents=True)
    (tmp_path / 'msg').mkdir()
    (tmp_path / 'msg' / 'A.msg').write_text('uint8 a\n')
    (share / 'package.xml').write_text(f'<version>{__version__}</version>')
    info = {'source': str(tmp_path), 'messages_sha256': doctor_ros.messages_digest(tmp_path)}
    (share / 'build_info.json').write_text(json.dumps(info))
    monkeypatch.setattr(ros_env, 'install_prefix', lambda: tmp_path)
    assert doctor_ros.messages()[0].status == 'ok'
    (tmp_path / 'msg' / 'A.msg').write_text('uint8 b\n')
    assert doctor_ros.messages()[0].status == 'fail'
    (share / 'package.xml').write_text('<version>0.0.1</version>')
    assert 'built for version 0.0.1' in doctor_ros.messages()[0].found


def test_the_build_and_the_doctor_hash_the_messages_alike():
    prefix = ros_env.install_prefix()
    if prefix is None:
        pytest.skip('the messages are not built')
    share = prefix / 'share' / 'edge_dnn_partition'
    info = json.loads((share / 'build_info.json').read_text())
    assert doctor_ros.messages_digest(share) == info['messages_sha256']


def test_sensors_say_what_was_found_and_why_not(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    checks = {check.name: check for check in doctor_machine.sensors(str(tmp_path))}
    assert checks['sensor battery'].found.startswith('not here: no battery')
    assert checks['meter rapl'].status == 'ok'
    assert checks['power'].status == 'warn'
    assert 'calibrate' in checks['power'].advice
    for check in checks.values():
        assert check.found
        assert check.advice or check.status == 'ok'


def test_a_limit_of_the_container_is_said(tmp_path):
    for name, text in (('proc/self/cgroup', '0::/\n'), ('proc/self/mountinfo', '42 32 0:26 / /cg rw - cgroup2 cgroup2 rw\n'),
                       ('cg/cpu.max', '50000 100000\n'), ('cg/memory.max', f'{2**28}\n')):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    checks = {check.name: check for check in doctor_machine.sensors(str(tmp_path))}
    assert checks['limits of this process'].found == 'CPU quota of 0.5 cores, in periods of 100 ms, 256 MiB of memory'


def test_the_power_of_a_board_with_and_without_a_meter(tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))
    model = tmp_path / 'proc/device-tree/model'
    model.parent.mkdir(parents=True)
    model.write_text('Raspberry Pi 4 Model B Rev 1.4\0')
    power = doctor_machine.sensors(str(tmp_path))[-1]
    assert power.found.startswith('no meter; modelled: 2.70 W idle, 0.93 W a busy core (raspberry_pi_4: Pi Dramble')
    rails = tmp_path / 'sys/bus/i2c/devices/1-0040'
    (rails / 'hwmon/hwmon1').mkdir(parents=True)
    (rails / 'name').write_text('ina3221\n')
    for name, text in (('in1_label', 'VDD_IN'), ('in1_input', '5000'), ('curr1_input', '900')):
        (rails / 'hwmon/hwmon1' / name).write_text(f'{text}\n')
    power = doctor_machine.sensors(str(tmp_path))[-1]
    assert (power.status, power.found) == ('ok', '4.50 W now, measured by ina3221 VDD_IN (the whole board)')
