# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Legends lie on no plot, and on none of its words."""

import pytest

pytest.importorskip('matplotlib')

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edge_dnn_partition.cli.legends import legends_below


def test_legends_lie_below_their_plots():
    figure = Figure(figsize=(9, 5.5), layout='constrained')
    FigureCanvasAgg(figure)
    *panels, empty = figure.subplots(2, 3).ravel()
    empty.plot([0, 1], [0, 1])
    with pytest.warns(UserWarning, match='No artists'):
        empty.legend()
    for number, axes in enumerate(panels):
        for line in range(number + 1):
            axes.plot([0, 1], [line, line], label=f'a line with a name, {line}')
        axes.set(xlabel='seconds', title='what is shown')
        axes.legend(fontsize='small')
    legends_below(figure)
    figure.draw_without_rendering()
    for axes in panels:
        legend = axes.get_legend().get_window_extent()
        assert not any(legend.overlaps(other.bbox) or legend.overlaps(other.title.get_window_extent()) for other in panels)
        assert not legend.overlaps(axes.xaxis.get_tightbbox())
        assert legend.x0 >= -1 and legend.x1 <= figure.bbox.x1 + 1 and legend.y0 >= -1
        assert len(axes.get_legend().get_texts()) == len(axes.lines)
