# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the files of the package say of one another."""

import ast
import configparser
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edge_dnn_partition import __version__
from edge_dnn_partition.cli import doctor_machine

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'scripts'))

from requirements import constraint_lines, names_of, pinned  # noqa: E402


def config() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    return parser


def bare(requirement: str) -> str:
    return re.split(r'[\[<>=!;~ ]', requirement)[0].lower().replace('_', '-')


def test_versions_are_pinned_in_one_place():
    for path in [ROOT / 'setup.cfg', *(ROOT / 'requirements').iterdir(), ROOT / 'Makefile', *ROOT.glob('scripts/*.py')]:
        lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith('#')]
        assert not [line for line in lines if re.search(r'[a-z]==\d', line)], path


def test_everything_that_the_setup_installs_is_pinned():
    pins = {line.split('==')[0] for line in constraint_lines(None)}
    form = re.compile(r'[a-z0-9.-]+==\S+?(; python_version [<>]=? "3\.\d+")?$')
    assert all(form.match(line) for line in constraint_lines(None))
    groups = names_of(None, 'ros-wheels', 'build-tools', *config()['options.extras_require'])
    assert {bare(name) for name in groups} <= pins
    assert '+cpu' in pinned('torch')


@pytest.mark.parametrize('library', ['nvidia', 'cuda', 'triton'])
def test_no_pin_brings_cuda(library):
    assert library not in '\n'.join(constraint_lines(None))


def test_the_version_is_the_same_everywhere():
    package = ET.parse(ROOT / 'package.xml').getroot()
    assert package.findtext('version') == __version__
    assert not package.find('maintainer').get('email').endswith('.invalid')
    assert config()['metadata']['version'] == 'attr: edge_dnn_partition.__version__'
    assert re.search(rf'^## {re.escape(__version__)}\b', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)


def test_package_xml_names_every_ros_package_that_the_code_imports():
    package = ET.parse(ROOT / 'package.xml').getroot()
    declared = {element.text for element in package if element.tag.endswith('depend')}
    ours = re.compile(r'(rclpy|cv_bridge|launch|launch_ros|ament_index_python|[a-z_]+_(?:msgs|interfaces|srvs))$')
    imported = set()
    for path in [*(ROOT / 'edge_dnn_partition').rglob('*.py'), *(ROOT / 'launch').glob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                imported.add(node.module.split('.')[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.split('.')[0] for alias in node.names}
    needed = {name for name in imported if ours.match(name)}
    assert 'rclpy' in needed
    assert needed <= declared
    assert package.findtext('export/build_type') == 'ament_cmake'
    assert package.findtext('member_of_group') == 'rosidl_interface_packages'
    assert (ROOT / package.find('license').get('file')).is_file()
    assert (ROOT / 'resource' / package.findtext('name')).is_file()


def test_only_nodes_import_ros():
    """The rule that lint-imports checks too, for imports inside of functions and of the messages."""
    ros = re.compile(r'^\s*(?:from|import) (?:rclpy|sensor_msgs|std_msgs|edge_dnn_partition\.msg)\b', re.MULTILINE)
    for room in ('graph', 'planning', 'sensing', 'transport', 'inputs', 'results', 'execution', 'control', 'deployment', 'monitoring', 'dashboard'):
        for path in (ROOT / 'edge_dnn_partition' / room).rglob('*.py'):
            assert not ros.search(path.read_text()), path


def test_rooms_stay_light_and_no_source_folder_hides_the_messages():
    assert not (ROOT / 'edge_dnn_partition' / 'msg').exists()
    for path in (ROOT / 'edge_dnn_partition').glob('*/__init__.py'):
        assert not [n for n in ast.parse(path.read_text()).body if isinstance(n, (ast.Import, ast.ImportFrom))], path


def test_the_doctor_asks_for_what_setup_cfg_asks_for():
    wanted = {bare(name): name.split('>=')[1] for name in names_of(None)}
    assert {bare(name): lowest for name, lowest in doctor_machine.NEEDED.values()} == wanted


def test_launch_files_are_where_ros2_launch_looks_for_them():
    text = (ROOT / 'CMakeLists.txt').read_text()
    assert re.search(r'foreach\(folder launch config rviz\)', text)
    files = {path.name for path in (ROOT / 'launch').glob('*.py')}
    assert {'fleet.launch.py', 'device.launch.py', 'scheduler.launch.py'} <= files
    for name in files:
        tree = ast.parse((ROOT / 'launch' / name).read_text())
        assert 'generate_launch_description' in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}


def test_every_source_file_has_its_licence():
    for folder in ('edge_dnn_partition', 'scripts', 'benchmarks', 'test', 'launch'):
        for path in (ROOT / folder).rglob('*.py'):
            assert 'SPDX-License-Identifier: Apache-2.0' in path.read_text()[:200], path
