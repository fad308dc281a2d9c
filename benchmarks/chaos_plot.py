# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A disturbed stream as an image: each frame, what befell the fleet, and what its processes held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .chaos_watch import EXPIRED, FAILED, LOST, OK, totals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edge_dnn_partition.nodes.clients.fleet_client import FrameRecord

Row = dict[str, Any]

_NAMED: Final = 20
"""With more events than these, their victims' names would lie on each other."""


def draw(
    figure: Figure, frames: Sequence[FrameRecord], events: Sequence[Row], pauses: Sequence[Row], samples: Sequence[Row],
) -> None:
    """Draw on an empty figure.

    :param events: with times in seconds since the first frame, as those of pauses.
    :param samples: of `Usage`.
    """
    begin = frames[0].at
    latency, lanes, memory, held = figure.subplots(4, 1, sharex=True, height_ratios=(3, 2.2, 1.5, 1))
    _frames(latency, frames, begin)
    kinds = sorted({row['kind'] for row in events})
    for row in events:
        at, lane = row['at'], kinds.index(row['kind'])
        end = row['until'] if row['up'] is None else row['up']
        lanes.barh(lane, max(end - at, 0.2), left=at, height=0.7, color='dimgrey')
        if len(events) <= _NAMED:
            lanes.text(end, lane, f' {row["victim"]}', fontsize=6, va='center')
    for row in pauses:
        if row['seconds'] >= 1:
            for axes in (latency, lanes):
                axes.axvspan(row['at'], row['at'] + row['seconds'], color='tab:red', alpha=0.15, linewidth=0)
    lanes.set_yticks(range(len(kinds)), kinds, fontsize=7)
    lanes.invert_yaxis()
    lanes.set_title('what befell it, until it had passed or the process was active again; red: no frame ended for 1 s or more',
                    fontsize=8, loc='left')  # fmt: skip
    for label in sorted({sample['label'] for sample in samples}):
        own = [sample for sample in samples if sample['label'] == label]
        at = [sample['at'] - begin for sample in own]
        memory.plot(at, [sample['pss_bytes'] / 1e6 for sample in own], linewidth=0.8, label=label)
    memory.set(ylabel='PSS, MB', ylim=(0, None))
    memory.legend(fontsize=5, loc='center left', bbox_to_anchor=(1.0, 0.5))
    for key, colour in (('descriptors', 'tab:blue'), ('threads', 'tab:green')):
        at, many = totals(samples, key)
        held.plot(np.array(at) - begin, many, linewidth=0.8, color=colour, label=key)
    held.set(ylabel='all', xlabel='time, s')
    held.margins(y=0.2)
    held.set_ylim(bottom=0)
    held.legend(fontsize=6, loc='center left', bbox_to_anchor=(1.0, 0.5))


def _frames(axes: Any, frames: Sequence[FrameRecord], begin: float) -> None:
    times = np.array([frame.at for frame in frames]) - begin
    milliseconds = 1e3 * np.array([frame.latency_seconds for frame in frames])
    status = np.array([frame.status for frame in frames])
    devices = np.array(['+'.join(dict.fromkeys(stage.device for stage in frame.stages)) for frame in frames])
    for name in sorted(set(devices), key=lambda name: (name.count('+'), name)):
        mine = (status == OK) & (devices == name)
        if name and mine.any():
            axes.plot(times[mine], milliseconds[mine], '.', markersize=2, label=name)
    for which, colour, word in ((FAILED, 'grey', 'failed'), (EXPIRED, 'tab:orange', 'expired'), (LOST, 'red', 'lost')):
        mine = status == which
        if mine.any():
            axes.plot(times[mine], np.full(mine.sum(), 1.0), '|', markersize=5, color=colour, label=word)
    axes.set(yscale='log', ylabel='latency, ms')
    axes.set_title('each frame that ended, by the devices that made its result', fontsize=8, loc='left')
    axes.legend(fontsize=6, loc='center left', bbox_to_anchor=(1.0, 0.5), markerscale=2)
