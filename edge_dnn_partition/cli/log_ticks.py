# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Writes plain numbers at logarithmic axes, and no more than find room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINEAR_BELOW: Final = 6.0
"""Ends of an axis that differ by less than this factor have ticks at equal distances."""
_PLAIN_BELOW: Final = 2000.0
"""And by less than this one, ticks at 1, 2 and 5 of each decade; else at powers of ten."""
_GAP_PIXELS: Final = 2.0


def plain_log_ticks(figure: Figure) -> None:
    """Give each logarithmic axis the finest ticks whose labels do not touch.

    :param figure: drawn; it has a canvas.
    """
    from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, LogLocator, MaxNLocator, NullFormatter

    plain = FuncFormatter(lambda value, _: f'{value:.6g}')
    for axes in figure.axes:
        for name, axis in axes._axis_map.items():  # noqa: SLF001 (the only way from an axis to its scale)
            if getattr(axes, f'get_{name}scale')() != 'log':
                continue
            low, high = sorted(axis.get_view_interval())
            tries: list[tuple[Any, Any]] = [(LogLocator(), LogFormatterSciNotation())]
            if high / low < _PLAIN_BELOW:
                tries[:0] = [(LogLocator(subs=(1.0, 2.0, 5.0)), plain), (LogLocator(subs=(1.0, 3.0)), plain), (LogLocator(), plain)]
            if high / low < _LINEAR_BELOW:
                tries[:0] = [(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]), plain) for most in (5, 3)]
            axis.set_minor_formatter(NullFormatter())
            for locator, formatter in tries:
                axis.set_major_locator(locator)
                axis.set_major_formatter(formatter)
                if _apart(figure, axis, low, high):
                    break


def _apart(figure: Figure, axis: Any, low: float, high: float) -> bool:
    """Tell whether an axis has two labels or more and none touches the next."""
    figure.draw_without_rendering()
    ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
    shown = [label for value, label in ticks if low <= value <= high and label.get_text()]
    boxes = [label.get_window_extent().padded(_GAP_PIXELS / 2) for label in shown]
    return len(boxes) > 1 and not any(a.overlaps(b) for a, b in zip(boxes, boxes[1:], strict=False))
