# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Reads from the nodes' sources who publishes, hears and serves what, and with which quality of service. Needs no ROS."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OWN: Final = 'edge_dnn_partition'
NODES: Final = ('device_monitor', 'worker', 'frame_source', 'scheduler', 'dashboard', 'visualisation', 'router')
_WAYS: Final = {
    'advertise': 'publishes', 'create_publisher': 'publishes', 'subscribe': 'hears', 'create_subscription': 'hears',
    'serve': 'serves',
}  # fmt: skip


@dataclass(frozen=True)
class Use:
    """One end of a topic or service, as a node's source has it.

    :param name: the attribute of `Topics`.
    :param device: it was asked for a device's name (of a service that the fleet has as well).
    :param way: ``publishes``, ``hears`` or ``serves``.
    :param interface: ``package/Name``; the own ones without the package.
    :param profile: the name in qos.py; empty of a service.
    """

    name: str
    device: bool
    way: str
    interface: str
    profile: str
    overridable: bool
    file: str


@dataclass(frozen=True)
class Profile:
    """A quality of service, and why."""

    name: str
    depth: int
    reliability: str
    durability: str
    reason: str


def uses(folder: Path) -> list[Use]:
    """Return all ends that the sources in ``nodes/`` make."""
    found: list[Use] = []
    for path in sorted(folder.rglob('*.py')):
        tree = ast.parse(path.read_text(encoding='utf-8'))
        interfaces = _interfaces(tree)
        for scope in ast.walk(tree):
            if isinstance(scope, ast.FunctionDef):
                named = {
                    node.targets[0].id: node.value
                    for node in ast.walk(scope)
                    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
                }
                for node in ast.walk(scope):
                    if isinstance(node, ast.Call):
                        found += _of_call(node, named, interfaces, path.stem)
    return list(dict.fromkeys(found))


def _of_call(call: ast.Call, named: dict[str, ast.expr], interfaces: dict[str, str], file: str) -> Iterator[Use]:
    made = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ''
    if made == 'listen' and call.args and isinstance(call.args[0], ast.Constant):  # to_source: it subscribes to either topic
        name = 'results' if ast.unparse(call.args[0]) == 'True' else 'tensors'
        yield Use(name, False, 'hears', 'TensorFragment', 'TENSORS', False, file)
    if made not in _WAYS or len(call.args) < 2 or (made == 'subscribe' and ast.unparse(call.args[0]) == 'TensorFragment'):
        return
    way, topic = _WAYS[made], call.args[1]
    if isinstance(topic, ast.Name) and topic.id in named:
        topic = named[topic.id]
    kind = ast.unparse(call.args[0])
    interface = interfaces.get(kind, kind.replace('messages.', 'vision_msgs/'))
    profile = next((name for argument in call.args[2:] for name in _profiles(argument)), '')
    overridable = any(k.arg == 'overridable' and ast.unparse(k.value) == 'True' for k in call.keywords)
    if isinstance(topic, ast.Name) and topic.id == 'DIAGNOSTICS':
        yield Use('DIAGNOSTICS', False, way, interface, profile, overridable, file)
    calls = {id(n.func): n for n in ast.walk(topic) if isinstance(n, ast.Call)}
    for node in ast.walk(topic):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).rpartition('.')[2] == 'topics' and node.attr != 'device':
            given = calls.get(id(node))
            yield Use(node.attr, bool(given and given.args), way, interface, profile, overridable, file)


def _profiles(argument: ast.expr) -> Iterator[str]:
    for node in ast.walk(argument):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == 'qos':
            yield node.attr.removesuffix('_reader').removesuffix('_writer').upper()


def _interfaces(tree: ast.Module) -> dict[str, str]:
    """Return the messages and services that a module imports, by the name that it gives them."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.endswith(('.msg', '.srv')):
            package = node.module.partition('.')[0]
            for name in node.names:
                found[name.asname or name.name] = name.name if package == OWN else f'{package}/{name.name}'
    return found


def _files_of(node: ast.ImportFrom) -> list[str]:
    """Return the names of files in ``nodes/`` that an import may be of: its module's, and those of what it takes from a folder."""
    module = node.module or ''
    if not node.level and not f'{module}.'.startswith(f'{OWN}.nodes.'):
        return []
    return [module.rpartition('.')[2], *(alias.name for alias in node.names)]


def nodes_of(folder: Path) -> dict[str, list[str]]:
    """Return for each file in ``nodes/`` the nodes that it is a part of, by their imports."""
    files = {path.stem: path for path in folder.rglob('*.py')}
    imports = {}
    for file, path in files.items():
        tree = ast.parse(path.read_text(encoding='utf-8'))
        checking = {id(n) for top in tree.body if isinstance(top, ast.If) for n in ast.walk(top)}
        imports[file] = {
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and id(node) not in checking
            for name in _files_of(node)
        }
    parts: dict[str, list[str]] = {name: [] for name in imports}
    for node in NODES:
        reached, ahead = set(), [node]
        while ahead:
            file = ahead.pop()
            if file not in reached and file in imports:
                reached.add(file)
                ahead += imports[file]
        for file in reached:
            parts[file].append(node)
    return parts


def profiles(path: Path) -> dict[str, Profile]:
    """Return the profiles of qos.py by name, with the reason that stands under each."""
    body = ast.parse(path.read_text(encoding='utf-8')).body
    numbers: dict[str, int] = {}
    found: dict[str, Profile] = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name, value = node.target.id, node.value
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ''
        reason = ' '.join(str(text).split())
        if isinstance(value, ast.Constant) and isinstance(value.value, int):
            numbers[name] = value.value
        elif isinstance(value, ast.Name) and value.id in found:
            like = found[value.id]
            found[name] = Profile(name, like.depth, like.reliability, like.durability, reason)
        elif isinstance(value, ast.Call) and ast.unparse(value.func) == '_profile':
            depth, reliability, durability = map(ast.unparse, value.args)
            reliability, durability = (part.rpartition('.')[2].lower().replace('_', ' ') for part in (reliability, durability))
            found[name] = Profile(name, int(depth) if depth.isdigit() else numbers[depth], reliability, durability, reason)
    return found
