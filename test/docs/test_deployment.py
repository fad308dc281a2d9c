# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile, the compose file and the units: what they name is here, and the commands in them parse."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
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
    """By pip what Ubuntu lacks, in setup.cfg's ranges; the rest comes by package.xml from apt."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    asked = dict(line.split('>=') for line in config['options']['install_requires'].split())
    line = next(text for name, text in instructions() if name == 'RUN' and 'pip install' in text)
    argument = dict(text.split('=', 1) for name, text in instructions() if name == 'ARG')
    words = [word.replace('${ONNXRUNTIME}', argument['ONNXRUNTIME'].strip('"')) for word in shlex.split(line)]
    installed = dict(re.match(r'([\w-]+)>=([\d.]+)', word).groups() for word in words if '>=' in word)
    assert {name: asked[name] for name in installed} == installed
    apt = set(re.findall(r'<exec_depend>python3-([\w-]+)</exec_depend>', (ROOT / 'package.xml').read_text()))
    names = {'opencv-python-headless': 'opencv', 'PyYAML': 'yaml'}
    assert {name for name in asked if names.get(name, name) not in apt} <= set(installed)


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
    for service in document['services'].values():
        assert (service['network_mode'], service['ipc'], service['restart']) == ('host', 'host', 'unless-stopped')
        build = service['build']
        context = (ROOT / 'docker' / build['context']).resolve()
        assert context == ROOT and (context / build['dockerfile']).is_file()
        assert complaint([re.sub(r'\$\{(\w+)[^}]*\}', r'\1', word) for word in service['command']]) == ''
        cache = re.search(r'EDGE_DNN_PARTITION_CACHE=(\S+)', DOCKERFILE)[1]
        assert f'cache:{cache}' in service['volumes']
        assert service['command'][2].startswith('/fleet/') and any(':/fleet:ro' in volume for volume in service['volumes'])
    assert 'cache' in document['volumes']


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
