# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps the legends of plots off what they explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAP_POINTS: Final = 3.0
_MOST_COLUMNS: Final = 5
_WIDEST: Final = 2.5
"""So wide a marker may be in a legend, in the letters' size."""
_HANDLE: Final = 6.0
"""What a handle and the space about it take, in the letters' size."""


def legends_below(figure: Figure) -> None:
    """Put each legend that lies on its plot below it, under the words of the axis; the layout makes room.

    :param figure: drawn, with the layout ``constrained``; it has a canvas.
    """
    from matplotlib.transforms import offset_copy

    figure.draw_without_rendering()
    for axes in figure.axes:
        legend: Any = axes.get_legend()
        handles, labels = axes.get_legend_handles_labels()
        if legend is None or not labels or not legend.get_window_extent().overlaps(axes.bbox):
            continue
        words = axes.xaxis.get_tightbbox()
        below = (axes.bbox.y0 - words.y0 if words is not None else 0.0) * 72 / figure.dpi + _GAP_POINTS
        texts = legend.get_texts()
        size = texts[0].get_fontsize()
        widest = max(text.get_window_extent().width for text in texts) + _HANDLE * size * figure.dpi / 72
        columns = max(1, min(len(labels), _MOST_COLUMNS, int(axes.bbox.width // widest)))
        legend = axes.legend(
            handles, labels, loc='upper center', bbox_to_anchor=(0.5, 0.0), fontsize=size, ncols=columns, handlelength=3.0,
            bbox_transform=offset_copy(axes.transAxes, figure, y=-below, units='points'), borderaxespad=0.0, frameon=False,
        )  # fmt: skip
        for handle in legend.legend_handles:
            if hasattr(handle, 'set_markersize'):
                handle.set_markersize(min(handle.get_markersize(), _WIDEST * size))
