# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile, the compose files and the units: what they name is here, and the commands in them parse."""

import configparser
import getpass
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from command_checks import ROOT, commands, complaint

DOCKERFILE = (ROOT / 'docker/Dockerfile').read_text()
UNITS = sorted((ROOT / 'systemd').glob('*.service'))
DEFAULTS = ROOT / 'systemd/edge-dnn.default'


def instructions():
    """Return the Dockerfile's instructions, continued lines joined, as (name, text)."""
    text = re.sub(r'\\\n', ' ', re.sub(r'^\s*#.*\n', '', DOCKERFILE, flags=re.MULTILINE))
    return [tuple(line.split(' ', 1)) for line in text.splitlines() if line.strip()]


def settings(path):
    """Return a unit's settings as {section: {key: [values]}}."""
    found, section = {}, ''
    for line in path.read_text().splitlines():
        if line.startswith('['):
            section = line.strip('[]')
        elif '=' in line and not line.startswith('#'):
            key, _, value = line.partition('=')
            found.setdefault(section, {}).setdefault(key, []).append(value)
    return found


def defaults():
    lines = [line for line in DEFAULTS.read_text().splitlines() if line and not line.startswith('#')]
    return dict(line.split('=', 1) for line in lines)


def test_the_image_copies_what_is_here_and_builds_what_is_here():
    ignored = [line for line in (ROOT / '.dockerignore').read_text().split() if line]
    for name, text in instructions():
        if name == 'COPY':
            *sources, _ = text.split()
            assert all((ROOT / source).exists() and source not in ignored for source in sources), text
    runs = ' '.join(text for name, text in instructions() if name == 'RUN')
    package = re.search(r'<name>(\w+)</name>', (ROOT / 'package.xml').read_text())[1]
    assert f'--packages-select {package} ' in runs
    assert ('FROM', 'ros:jazzy-ros-base') in instructions(), 'the official image, which has a variant for arm64'
    assert not re.search(r'amd64|x86_64|aarch64', re.sub(r'#.*', '', DOCKERFILE))


def test_the_image_installs_what_setup_cfg_asks_for():
    """By pip what Ubuntu lacks and sites need, in setup.cfg's ranges; the rest comes by package.xml from apt."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    required = dict(line.split('>=') for line in config['options']['install_requires'].split())
    wan = dict(line.split('>=') for line in config['options.extras_require']['wan'].split())
    asked = required | wan
    line = next(text for name, text in instructions() if name == 'RUN' and 'pip install' in text)
    argument = dict(text.split('=', 1) for name, text in instructions() if name == 'ARG')
    words = [word.replace('${ONNXRUNTIME}', argument['ONNXRUNTIME'].strip('"')) for word in shlex.split(line)]
    installed = dict(re.match(r'([\w-]+)>=([\d.]+)', word).groups() for word in words if '>=' in word)
    assert {name: asked[name] for name in installed} == installed
    apt = set(re.findall(r'<exec_depend>python3-([\w-]+)</exec_depend>', (ROOT / 'package.xml').read_text()))
    names = {'opencv-python-headless': 'opencv', 'PyYAML': 'yaml'}
    assert {name for name in required if names.get(name, name) not in apt} <= set(installed) - set(wan)


def test_the_entrypoint_is_there_and_hands_over():
    entrypoint = dict(instructions())['ENTRYPOINT']
    assert f'COPY docker/entrypoint.sh {yaml.safe_load(entrypoint)[0]}' in DOCKERFILE
    path = ROOT / 'docker/entrypoint.sh'
    assert os.access(path, os.X_OK)
    subprocess.run(['bash', '-n', str(path)], check=True)
    venv, workspace = re.search(r'-m venv --system-site-packages (\S+)', DOCKERFILE)[1], re.search(r'WORKDIR (\S+)', DOCKERFILE)[1]
    sourced = re.findall(r'^source "?([^"\n]+)"?$', path.read_text(), re.MULTILINE)
    assert sourced == ['/opt/ros/$ROS_DISTRO/setup.bash', f'{venv}/bin/activate', f'{workspace}/install/setup.bash']
    assert complaint(yaml.safe_load(dict(instructions())['CMD'])) == ''


def test_the_compose_file():
    document = yaml.safe_load((ROOT / 'docker/compose.yaml').read_text())
    assert set(document['services']) == {'device', 'scheduler'}
    passed = ('ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_STATIC_PEERS', 'RMW_IMPLEMENTATION', 'EDGE_DNN_PARTITION_FLEET')
    for service in document['services'].values():
        assert (service['network_mode'], service['ipc'], service['restart']) == ('host', 'host', 'unless-stopped')
        build = service['build']
        context = (ROOT / 'docker' / build['context']).resolve()
        assert context == ROOT and (context / build['dockerfile']).is_file()
        assert complaint([re.sub(r'\$\{(\w+)[^}]*\}', r'\1', word) for word in service['command']]) == ''
        cache = re.search(r'EDGE_DNN_PARTITION_CACHE=(\S+)', DOCKERFILE)[1]
        assert f'cache:{cache}' in service['volumes']
        assert service['command'][2].startswith('/fleet/') and any(':/fleet:ro' in volume for volume in service['volumes'])
        assert all(service['environment'][name].startswith(f'${{{name}:-') for name in passed)
        assert {'max-size', 'max-file'} <= set(service['logging']['options'])
    assert 'cache' in document['volumes']
    camera = yaml.safe_load((ROOT / 'docker/compose.camera.yaml').read_text())
    assert camera['services']['device']['devices'] == ['${CAMERA:-/dev/video0}:${CAMERA:-/dev/video0}']


def test_a_container_is_healthy_while_its_file_is_new(tmp_path):
    document = yaml.safe_load((ROOT / 'docker/compose.yaml').read_text())
    for service in document['services'].values():
        shell, text = service['healthcheck']['test']
        place = service['command'][service['command'].index('--health-file') + 1]
        assert shell == 'CMD-SHELL' and place in text
        path = tmp_path / 'health'
        for age, healthy in ((None, False), (0, True), (20, True), (60, False)):
            if age is not None:
                path.touch()
                os.utime(path, (time.time() - age,) * 2)
            done = subprocess.run(['sh', '-c', text.replace(place, str(path))], check=False, capture_output=True)
            assert (done.returncode == 0) == healthy, age
        path.unlink()


def install(*arguments, **environment):
    given = {'PATH': os.environ['PATH'], **environment}
    return subprocess.run(
        [str(ROOT / 'systemd/install.sh'), *arguments], env=given, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_units_are_installed_for_who_asks(tmp_path):
    fleet, root, me = tmp_path / 'my robot.yaml', tmp_path / 'root', getpass.getuser()
    fleet.write_text('')
    done = install(str(fleet), SUDO_USER=me, DESTDIR=str(root))
    assert done.returncode == 0, done.stderr
    for path in UNITS:
        installed = root / 'etc/systemd/system' / path.name
        assert settings(installed)['Service']['User'] == [me]
        assert re.sub('^User=.*', '', installed.read_text(), flags=re.MULTILINE) == re.sub('^User=.*', '', path.read_text(), flags=re.MULTILINE)
    default = root / 'etc/default/edge-dnn'
    assert f'\nEDGE_DNN_FLEET="{fleet}"\n' in default.read_text()
    assert [line.split('=')[0] for line in default.read_text().splitlines()] == [line.split('=')[0] for line in DEFAULTS.read_text().splitlines()]
    default.write_text('mine')
    assert 'kept' in install(str(fleet), me, DESTDIR=str(root)).stdout and default.read_text() == 'mine'


@pytest.mark.parametrize(('arguments', 'said'), [((), 'give the fleet file'), (('none.yaml',), 'no file none.yaml'),
    ((str(DEFAULTS),), 'whose nodes'), ((str(DEFAULTS), 'no one'), 'no user no one')])  # fmt: skip
def test_an_installation_that_cannot_be_says_why(tmp_path, arguments, said):
    done = install(*arguments, DESTDIR=str(tmp_path))
    assert done.returncode == 2 and said in done.stderr and not [*tmp_path.iterdir()]


@pytest.mark.parametrize('path', UNITS, ids=lambda path: path.name)
def test_the_command_of_a_unit_parses(path):
    service = settings(path)['Service']
    assert service['Restart'] == ['always'] and service['EnvironmentFile'] == ['/etc/default/edge-dnn']
    (start,) = service['ExecStart']
    shell, option, text, *arguments = shlex.split(start.replace('%i', 'pi'))
    assert (shell, option) == ('/bin/bash', '-c')
    values = {**defaults(), **{f'{i}': argument for i, argument in enumerate(arguments)}}
    asked = set(re.findall(r'\$(\w+)', text))
    assert asked <= set(values), 'from the environment file, or given after the text'
    given = re.sub(r'\$(\w+)', lambda match: values[match[1]], text)
    assert [complaint(words) for words in commands(given)] == ['', '']
    assert commands(given)[0] == ['source', values['EDGE_DNN_SETUP']]


def test_the_shell_of_a_unit_gets_the_names_that_it_asks_for(tmp_path):
    """With a workspace and a command line that only say what they were given."""
    setup = tmp_path / 'setup.bash'
    setup.write_text('edge-dnn-partition() { printf "%s|" "$@"; }; exec() { "$@"; }\n')
    for path in UNITS:
        (start,) = settings(path)['Service']['ExecStart']
        environment = {'EDGE_DNN_SETUP': str(setup), 'EDGE_DNN_FLEET': '/a b/robot.yaml'}
        words = shlex.split(start.replace('%i', 'pi'))
        said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
        assert said == f'up|/a b/robot.yaml|{"--device|pi" if "@" in path.name else "--scheduler"}|'


def test_the_environment_file():
    values = defaults()
    assert Path(values['EDGE_DNN_SETUP']).is_absolute() and Path(values['EDGE_DNN_FLEET']).is_absolute()
    assert not [value for value in values.values() if '$' in value], 'systemd expands nothing there'


def verify(folder):
    command = ['systemd-analyze', 'verify', '--man=no', *map(str, sorted(folder.glob('*.service')))]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.skipif(shutil.which('systemd-analyze') is None, reason='systemd-analyze is not installed')
def test_systemd_takes_the_units(tmp_path):
    for path in UNITS:
        text = path.read_text().replace('/etc/default/edge-dnn', str(DEFAULTS))
        (tmp_path / path.name.replace('@', '@pi')).write_text(text)
    done = verify(tmp_path)
    if 'Failed to' in done.stderr and 'manager' in done.stderr:
        pytest.skip(done.stderr.strip())
    assert (done.returncode, done.stderr) == (0, '')
    bad = tmp_path / 'edge-dnn-scheduler.service'
    bad.write_text(bad.read_text().replace('Restart=always', 'Restart=allways').replace('/bin/bash', '/bin/bsh'))
    assert 'allways' in verify(tmp_path).stderr, 'and this check can fail'
