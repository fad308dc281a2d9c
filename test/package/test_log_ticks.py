# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Logarithmic axes have two labels or more, plain where they can be, and none touches another."""

import pytest

pytest.importorskip('matplotlib')

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edge_dnn_partition.cli.log_ticks import plain_log_ticks


@pytest.mark.parametrize(('low', 'high', 'plain'), [
    (79.8, 85.1, True), (2.0, 50.0, True), (1.0, 300.0, True), (1e-3, 2e4, False), (40.0, 40.0, True),
])  # fmt: skip
def test_labels_do_not_touch(low, high, plain):
    figure = Figure(figsize=(9, 4), layout='constrained')
    FigureCanvasAgg(figure)
    for axes in figure.subplots(1, 3):
        axes.plot([low, high], [low, high])
        axes.set(xscale='log', yscale='log')
    plain_log_ticks(figure)
    figure.draw_without_rendering()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            first, last = axis.get_view_interval()
            ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
            labels = [label for value, label in ticks if first <= value <= last]
            boxes = [label.get_window_extent() for label in labels]
            assert len(boxes) >= 2 and not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
            assert all('10^' not in label.get_text() for label in labels) == plain
            assert not any(label.get_text() for label in axis.get_minorticklabels())
