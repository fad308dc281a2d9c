# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Write docs/parameters.md from the nodes' declarations, docs/messages.md from msg/, srv/, topics.py and qos.py, docs/metrics.md.

Parameters need the installed package with its messages (run it with .venv/bin/python); messages need no ROS.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import topics_in_code
from edge_dnn_partition.dashboard.metrics import METRICS
from edge_dnn_partition.deployment.node_parameters import AUTOSTART, NODE_PARAMETERS
from markdown import table
from topics_in_code import NODES, Use

CHECKOUT = Path(__file__).resolve().parent.parent
SOURCES = CHECKOUT / 'edge_dnn_partition' / 'nodes'
WRITTEN = 'This page is written by `scripts/write_reference.py`; a test fails when it is out of date.'

PARAMETERS_HEAD = f"""# Parameters

Every parameter of every node, from the nodes' own declarations: what `ros2 param describe` says as well.
{WRITTEN}

A parameter is set in a fleet file (`parameters: {{scheduler: {{least_gain: 0.1}}}}`), at the start (`-p least_gain:=0.1`) or,
unless the table says *at the start only*, while the node runs (`ros2 param set /robot/scheduler least_gain 0.1`).
A value that is no good is refused with the reason. What people and tools read or send has `qos_overrides` too
([messages.md](messages.md)).
"""

MESSAGES_HEAD = f"""# Topics, services and messages

What nodes say to each other and to you. {WRITTEN}

Names are absolute, `/<fleet>/…` or `/<fleet>/<device>/…`, so that two fleets share a network; every one can be remapped
(`-r /robot/result:=/detections`). `ros2 interface show edge_dnn_partition/msg/Plan` shows the same fields.

What is not known is NaN wherever a field says so, never 0 and never a number that could be one. JSON has no NaN: rosbridge makes it
`null` in numbers and in lists of any length (not in arrays of a fixed length, of which these messages have none); bridges that send
CDR leave it as it is. A client in JSON takes `null` as unknown; the reports and pages of this package write `null`, too.
"""

METRICS_HEAD = f"""# Metrics

The [dashboard](dashboard.md) serves what it knows of its fleets at `/metrics` in the OpenMetrics format, for Prometheus and
others that read it. {WRITTEN}

```yaml
scrape_configs:
  - job_name: robots
    scrape_interval: 5s
    static_configs:
      - targets: [127.0.0.1:8765]
```

`config/grafana.json` (installed under `share/edge_dnn_partition/config/`) is a Grafana dashboard of all of them: Dashboards → New →
Import. A test compares its queries with this table; it **was not opened** in Grafana, nor was a Prometheus server run: the answers
are read back by prometheus_client's own strict parser.

- Who may connect may read the metrics, as with the page. They need no token. Prometheus on another machine needs
  `host:=0.0.0.0`, or a tunnel.
- Every sample has the label `fleet`. A device that has left has no samples any more; what is unknown has none either (there is no
  NaN). Counters of joules and bytes, and the histogram, count from the dashboard's start, the frame source's counters from its own
  start.
- A client that asks for `text/plain` alone, as Prometheus before 2.5 does, gets the older text format.
- They need prometheus_client, which `make setup` installs (`pip install '.[dashboard]'`); without it `/metrics` answers 501 and
  says so.
"""

FOOTNOTE = """† takes `qos_overrides` as parameters: `qos_overrides: {/robot/result: {publisher: {depth: 8}}}` in a parameters file.
The others are what the nodes say to each other: overridden they would only break the fleet. Cameras, power meters and
batteries have topics of their own, which the fleet file and the [parameters](parameters.md) name; these are heard best
effort."""


def type_of(default: Any) -> str:
    """Return a parameter's type as ROS calls it."""
    if isinstance(default, (list, tuple)):
        return f'{type_of(default[0])}[]' if default else 'list'
    return {bool: 'bool', int: 'integer', float: 'double', str: 'string'}[type(default)]


def range_of(parameter: Any) -> str:
    """Return what a parameter may be, as far as its declaration says."""
    if parameter.choices:
        return ', '.join(f'`{choice}`' if choice else '(empty)' for choice in parameter.choices)
    if parameter.minimum is not None:
        return f'{parameter.minimum:g} … {parameter.maximum:g}'
    return f'a {parameter.quantity}' if parameter.quantity else ''


def parameters_page() -> str:
    """Return docs/parameters.md.

    :raises ModuleNotFoundError: without ROS and the built messages.
    """
    lines = [PARAMETERS_HEAD]
    for node in (None, *NODES):
        module = importlib.import_module(f'edge_dnn_partition.nodes.{node}') if node else None
        words = inspect.getdoc(module).split('\n', 1)[0] if module else 'Of every node.'  # type: ignore[union-attr]
        rows = [
            (f'`{p.name}`', type_of(p.default), f'`{p.default!r}`', range_of(p), 'at the start only' if p.read_only else 'any time',
             p.description)
            for p in (NODE_PARAMETERS[node] if node else [AUTOSTART])
        ]  # fmt: skip
        head = ('parameter', 'type', 'default', 'range', 'set', 'what')
        lines += [f'## {node or "All nodes"}', '', words, '', *table(head, rows), '']
    return '\n'.join(lines)


def linked(kind: str, known: set[str]) -> str:
    """Return a field's type, as a link if this page has it."""
    match = re.match(r'\w+', kind)
    name = match[0] if match else ''
    return f'[{name}](#{name.lower()}){kind[len(name) :]}' if name in known else f'`{kind}`'


def fields(lines: list[str], known: set[str]) -> Iterator[tuple[str, str, str]]:
    """Return rows of name, type, meaning; a comment on a line of its own becomes a row."""
    for line in lines:
        text, _, comment = (part.strip() for part in line.partition('#'))
        if not text:
            yield '', '', f'*{comment}*'
            continue
        kind, _, name = text.partition(' ')
        name, _, value = name.strip().partition('=')
        yield f'`{name}`' + (f' = {value}' if value else ''), linked(kind, known), comment


def interface(path: Path, known: set[str]) -> list[str]:
    """Return the section of a message or service."""
    lines = [line for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
    first = next(i for i, line in enumerate(lines) if not line.startswith('#'))
    words = ' '.join(line.lstrip('# ') for line in lines[:first])
    section = [f'### {path.stem}', '', words, '']
    head = ('field', 'type', 'what')
    if path.suffix == '.msg':
        return [*section, *table(head, fields(lines[first:], known)), '']
    at = lines.index('---')
    for title, part in (('Request', lines[first:at]), ('Response', lines[at + 1 :])):
        section += [f'{title}:', '', *table(head, fields(part, known)), '']
    return section


def names() -> dict[tuple[str, bool], tuple[str, str]]:
    """Return for each attribute of `Topics` (and whether it was asked for a device) its name and meaning."""
    topics = importlib.import_module('edge_dnn_partition.nodes.core.topics')
    of = topics.Topics('FLEET', 'DEVICE')
    found = {}
    for name, member in vars(topics.Topics).items():
        meaning = re.sub(r' \((?:[A-Z]|\w+_msgs/)\w+(, \w+)?\)', '', (inspect.getdoc(member) or '').split('\n')[0]).rstrip('.')
        meaning = meaning.removeprefix('Return ').partition('; this device')[0].partition('; to this device')[0]
        if isinstance(member, property):
            found[name, False] = str(getattr(of, name)), meaning
        elif inspect.isfunction(member) and name[0] != '_':
            asked = {'plot': ['FIGURE'], 'shares': ['GROUP'], 'group_sessions': ['GROUP'], 'claim': ['NODE']}.get(name, [])
            found[name, bool(asked)] = str(member(of, *asked)), meaning
            if name == 'profile_again':
                found[name, True] = str(of.profile_again('DEVICE')), meaning
    found['DIAGNOSTICS', False] = topics.DIAGNOSTICS, 'the health of each device and of the pipeline, once a second (REP 107)'
    for key, (name, meaning) in found.items():
        for part in ('FLEET', 'DEVICE', 'FIGURE', 'GROUP', 'NODE'):
            name = name.replace(part, f'<{part.lower()}>')  # noqa: PLW2901
        found[key] = name, meaning[:1].lower() + meaning[1:]
    return found


INJECTED = {'emulation': '`worker`, `frame_source`'}
"""Readers that are no part of ``nodes/``, by topic: see testbed/emulation.py."""


def ends(found: list[Use], parts: dict[str, list[str]], way: str) -> str:
    """Return the nodes that have one end of a topic; the command line and its tools where no node has."""
    nodes = [node for node in NODES if any(use.way == way and node in parts[use.file] for use in found)]
    tools = any(use.way == way and not parts[use.file] for use in found)
    return ', '.join([*(f'`{node}`' for node in nodes), *(['tools'] if tools and not nodes else [])])


def messages_page() -> str:
    """Return docs/messages.md."""
    files = {kind: sorted((CHECKOUT / kind).glob(f'*.{kind}')) for kind in ('msg', 'srv')}
    known = {path.stem for paths in files.values() for path in paths}
    parts, profiles = topics_in_code.nodes_of(SOURCES), topics_in_code.profiles(SOURCES / 'core' / 'qos.py')
    all_uses = topics_in_code.uses(SOURCES)
    topics, services = [], []
    for key, (name, meaning) in names().items():
        found = [use for use in all_uses if (use.name == key[0] and (use.device == key[1] or use.way != 'serves'))]
        if not found:
            raise ValueError(f'no node uses {name} of topics.py')
        kind = linked(found[0].interface, known)
        if found[0].way == 'serves':
            served = [use for use in found if use.device == key[1]]
            services.append((f'`{name}`', linked(served[0].interface, known), ends(served, parts, 'serves'), meaning))
            continue
        (profile,) = {use.profile for use in found}
        overridable = ' †' if any(use.overridable for use in found) else ''
        heard = ends(found, parts, 'hears').replace('tools', '') or INJECTED.get(key[0], 'you')
        quality = f'[{profile}](#quality-of-service){overridable}'
        topics.append((f'`{name}`', kind, ends(found, parts, 'publishes'), heard, quality, meaning))
    rows = [
        (f'`{p.name}`', f'{p.reliability}, {p.durability}, keeps {p.depth}', p.reason) for p in profiles.values()
    ]
    head = ('topic', 'type', 'published by', 'heard by', 'quality of service', 'what')
    lines = [
        MESSAGES_HEAD, '## Topics', '', *table(head, topics), '',
        FOOTNOTE, '',
        '## Services', '', *table(('service', 'type', 'served by', 'what'), services), '',
        '## Quality of service', '', 'Both ends of a topic have the same one.', '', *table(('name', 'what', 'why'), rows), '',
        '## Message types', '',
    ]  # fmt: skip
    for path in files['msg']:
        lines += interface(path, known)
    lines += ['## Service types', '']
    for path in files['srv']:
        lines += interface(path, known)
    return '\n'.join(lines)


def metrics_page() -> str:
    """Return docs/metrics.md."""
    rows = [(f'`{m.sample}`', m.kind, ', '.join(f'`{label}`' for label in m.labels), m.meaning) for m in METRICS]
    return '\n'.join([METRICS_HEAD, *table(('name', 'type', 'labels', 'what'), rows), ''])


def main() -> None:
    """Write the pages."""
    for name, page in (('messages', messages_page()), ('parameters', parameters_page()), ('metrics', metrics_page())):
        (CHECKOUT / 'docs' / f'{name}.md').write_text(page, encoding='utf-8')


if __name__ == '__main__':
    main()
