# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Draw docs/architecture.png: the nodes of a fleet, and what they say to each other, as their sources have it.

What is drawn is written into the image's metadata, so that a test can tell when it is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import topics_in_code
from topics_in_code import NODES
from write_reference import SOURCES, names

CHECKOUT = Path(__file__).resolve().parent.parent
IMAGE = CHECKOUT / 'docs' / 'architecture.png'
YOU: Final = 'you'
_DRAWN: Final = ('device_monitor', 'worker', 'frame_source', 'scheduler', YOU)
_INK, _BLUE, _GREY, _PAPER = '#1d2733', '#2563a8', '#6b7785', '#f4f6f8'


def edges() -> dict[str, list[str]]:
    """Return for each pair of nodes, as ``sender > receiver``, the topics that go that way; what no node hears is for you.

    What every node says to every other (`sessions`, `claim`) is left out.
    """
    parts, uses = topics_in_code.nodes_of(SOURCES), topics_in_code.uses(SOURCES)
    found: dict[str, list[str]] = {}
    for (attribute, _), (topic, _) in names().items():
        ends: dict[str, set[str]] = {'publishes': set(), 'hears': set(), 'serves': set()}
        for use in uses:
            if use.name == attribute:
                ends[use.way] |= {node for node in NODES if node in parts[use.file]}
        if ends['publishes'] >= set(NODES):
            continue
        leaf = topic if topic.startswith('/diag') else topic.rpartition('>/')[2]
        for server in sorted(ends['serves'] & {'scheduler', 'frame_source'}):
            if leaf not in found.setdefault(f'{YOU} > {server}', []):
                found[f'{YOU} > {server}'].append(leaf)
        hearers = ends['hears'] & set(_DRAWN) or {YOU}
        for sender in sorted(ends['publishes'] & set(_DRAWN)):
            for receiver in sorted(hearers):
                if leaf not in found.setdefault(f'{sender} > {receiver}', []):
                    found[f'{sender} > {receiver}'].append(leaf)
    return found


def _box(axes: Any, at: tuple[float, float, float, float], title: str, words: str = '', *, node: bool = True) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height = at
    face, edge, line = ('white', _INK, '-') if node else (_PAPER, _GREY, '--')
    shape = 'round,pad=0,rounding_size=0.12'
    box = FancyBboxPatch((x, y), width, height, boxstyle=shape, linewidth=1.2, facecolor=face, edgecolor=edge, linestyle=line)
    axes.add_patch(box)
    top = y + height - 0.24 if node else y + 0.25
    axes.text(x + width / 2 if node else x + 0.18, top, title, ha='center' if node else 'left', va='center', size=10, weight='bold')
    axes.text(x + width / 2, y + (height - 0.3) / 2, words, ha='center', va='center', size=8, color=_GREY, linespacing=1.35)


def _say(axes: Any, at: tuple[float, float], words: str, colour: str) -> None:
    behind = {'facecolor': 'white', 'edgecolor': 'none', 'pad': 1.5, 'alpha': 0.92}
    axes.text(*at, words, size=8, color=colour, ha='center', va='center', linespacing=1.3, bbox=behind)


def _arrow(
    axes: Any, start: tuple[float, float], end: tuple[float, float], words: str, label: tuple[float, float], *,
    colour: str = _INK, **style: Any,
) -> None:  # fmt: skip
    line = {'arrowstyle': '-|>', 'color': colour, 'lw': 1.4, 'shrinkA': 0, 'shrinkB': 0, **style}
    axes.annotate('', end, start, arrowprops=line)
    _say(axes, label, words, colour)


def _wrapped(topics: Iterable[str], width: int) -> str:
    lines = ['']
    for topic in topics:
        if len(lines[-1]) + len(topic) > width and lines[-1]:
            lines.append('')
        lines[-1] += (', ' if lines[-1] else '') + topic
    return ',\n'.join(lines)


def draw(path: Path) -> None:
    """Draw the image."""
    import matplotlib as mpl

    mpl.use('Agg')
    from matplotlib import pyplot as plt

    said = edges()
    figure, axes = plt.subplots(figsize=(11.6, 7.2), dpi=110)
    axes.set(xlim=(0, 14.5), ylim=(0, 9), aspect='equal')
    axes.axis('off')
    _box(axes, (0.2, 0.1, 5.6, 4.1), 'device with the camera (source)', node=False)
    _box(axes, (8.7, 0.1, 5.6, 4.1), 'every other device', node=False)
    _box(axes, (0.5, 2.6, 2.3, 1.2), 'frame_source', 'accepts, keeps,\nnumbers, repeats')
    _box(axes, (3.3, 2.6, 2.2, 1.2), 'worker', 'runs its stages')
    _box(axes, (3.3, 0.9, 2.2, 0.9), 'device_monitor', 'looks at the host')
    _box(axes, (9.0, 2.6, 2.2, 1.2), 'worker', 'runs its stages')
    _box(axes, (11.8, 0.9, 2.2, 0.9), 'device_monitor', 'looks at the host')
    does = 'state of the fleet → planning problem\n→ policy → plan, explained in words'
    _box(axes, (5.1, 6.4, 4.3, 1.5), 'scheduler (once, anywhere)', does)
    _box(axes, (11.7, 7.3, 2.6, 1.4), 'you', 'top, dashboard, rviz2,\nrqt, your nodes')

    between = [*said['frame_source > worker'], *said['worker > frame_source'], *said['worker > worker']]
    tensors = [topic for topic in ('tensors', 'results', 'acks') if topic in between]
    _arrow(axes, (2.8, 3.2), (3.3, 3.2), '', (0, 0), colour=_BLUE, arrowstyle='<|-|>')
    _arrow(axes, (5.5, 3.2), (9.0, 3.2), f'{", ".join(tensors)}\n(paced; within one device\nby shared memory)', (7.25, 3.2),
           colour=_BLUE, arrowstyle='<|-|>')  # fmt: skip
    offered = ['images', *said.get(f'{YOU} > frame_source', ())]
    _arrow(axes, (1.65, 0.9), (1.65, 2.6), _wrapped(offered, 12), (1.65, 1.6), colour=_BLUE)
    plans = [t for t in said['scheduler > worker'] if t in said['scheduler > frame_source']]
    _arrow(axes, (6.3, 6.4), (4.7, 3.8), ', '.join(plans), (5.5, 5.1))
    _arrow(axes, (7.8, 6.4), (9.5, 3.8), _wrapped(said['scheduler > worker'], 14), (8.5, 5.3))
    _arrow(axes, (1.8, 3.8), (5.1, 7.0), _wrapped(said['frame_source > scheduler'], 22), (3.2, 5.5))
    _arrow(axes, (10.4, 3.8), (9.1, 6.4), _wrapped(said['worker > scheduler'], 12), (9.95, 4.75))
    _arrow(axes, (12.9, 1.8), (9.4, 6.7), _wrapped(said['device_monitor > scheduler'], 12), (12.35, 2.75))
    _arrow(axes, (9.4, 7.7), (11.7, 7.9), _wrapped(said[f'scheduler > {YOU}'], 18), (10.55, 8.1))
    _arrow(axes, (11.7, 7.5), (9.4, 7.2), _wrapped(said[f'{YOU} > scheduler'], 20), (10.7, 6.9))
    results = _wrapped(said[f'frame_source > {YOU}'], 36)
    corner = 'angle,angleA=90,angleB=0,rad=12'
    _arrow(axes, (0.9, 3.8), (11.7, 8.55), results, (2.9, 8.55), colour=_BLUE, connectionstyle=corner)
    figure.savefig(path, bbox_inches='tight', facecolor='white', metadata={'Description': json.dumps(said), 'Software': None})


if __name__ == '__main__':
    draw(IMAGE)
