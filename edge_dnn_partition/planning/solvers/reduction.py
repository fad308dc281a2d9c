# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a mixed-integer program smaller before it is solved, and its solution whole again afterwards.

Three rules until none applies (Andersen and Andersen, "Presolving in linear programming", Mathematical
Programming 71, 1995): a row of one variable becomes a bound; a variable whose bounds meet becomes a constant;
one that costs nothing less by being larger, and that no row holds up, sits at its lower bound.

HiGHS knows these rules and many more, but the presolve of the release in scipy 1.17 runs for ever on some of
the planner's programs, and its limits on time and nodes are not looked at there. So it is left out, and with the
rules below it is hardly missed: in a program in which most nodes are fixed they leave little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csr_matrix

from edge_dnn_partition.planning.cost_model.problem import Bools, Floats, Ints

_TOLERANCE: Final = 1e-9


@dataclass(eq=False)
class Reduction:
    """A program ``min cost x``, ``low <= matrix x <= high``, ``lower <= x <= upper``, and what is left of it.

    :param integral: which variables are whole numbers.
    """

    cost: Floats
    lower: Floats
    upper: Floats
    integral: Bools
    matrix: csr_matrix
    low: Floats
    high: Floats

    def __post_init__(self) -> None:
        """Apply the rules."""
        self.feasible = True
        self.rows: Ints = np.arange(len(self.low))
        self.columns: Ints = np.arange(len(self.cost))
        self._values: Floats = np.zeros(len(self.cost))
        self.constant = 0.0
        """What the variables that were left out cost."""
        while self.feasible and self._bound_by_single_rows() | self._hold_down() | self._drop_constants():
            pass

    def restore(self, solution: Floats) -> Floats:
        """Return all variables from those that are left."""
        values = self._values.copy()
        values[self.columns] = solution
        return values

    def _bound_by_single_rows(self) -> bool:
        entries = np.diff(self.matrix.indptr)
        empty, single = entries == 0, entries == 1
        if not (empty | single).any():
            return False
        if (self.low[empty] > _TOLERANCE).any() or (self.high[empty] < -_TOLERANCE).any():
            self.feasible = False
            return False
        at = self.matrix.indptr[:-1][single]
        column, entry = self.matrix.indices[at], self.matrix.data[at]
        with np.errstate(invalid='ignore'):
            ends = np.stack([self.low[single] / entry, self.high[single] / entry])
        ends = np.where(entry > 0, ends, ends[::-1])
        np.maximum.at(self.lower, column, ends[0])
        np.minimum.at(self.upper, column, ends[1])
        whole = self.integral
        self.lower[whole] = np.ceil(self.lower[whole] - _TOLERANCE)
        self.upper[whole] = np.floor(self.upper[whole] + _TOLERANCE)
        self._keep_rows(~(empty | single))
        self.feasible = bool((self.lower <= self.upper + _TOLERANCE * np.maximum(1.0, np.abs(self.lower))).all())
        return True

    def _hold_down(self) -> bool:
        """Fix the variables that nothing wants larger at their lower bound."""
        row = np.repeat(np.arange(len(self.low)), np.diff(self.matrix.indptr))
        up = np.where(self.matrix.data > 0, np.isfinite(self.low[row]), np.isfinite(self.high[row]))
        held = np.zeros(len(self.cost), dtype=np.bool_)
        held[self.matrix.indices[up]] = True
        free = ~held & (self.cost >= 0) & np.isfinite(self.lower) & (self.upper > self.lower)
        self.upper[free] = self.lower[free]
        return bool(free.any())

    def _drop_constants(self) -> bool:
        fixed = self.upper <= self.lower
        if not fixed.any():
            return False
        values = np.where(fixed, self.lower, 0.0)
        self._values[self.columns[fixed]] = values[fixed]
        self.constant += float(self.cost @ values)
        shift = self.matrix @ values
        self.low, self.high = self.low - shift, self.high - shift
        keep = ~fixed
        self.matrix = self.matrix[:, np.flatnonzero(keep)].tocsr()
        self.columns = self.columns[keep]
        self.cost, self.lower, self.upper = self.cost[keep], self.lower[keep], self.upper[keep]
        self.integral = self.integral[keep]
        return True

    def _keep_rows(self, keep: Bools) -> None:
        self.matrix = self.matrix[np.flatnonzero(keep)].tocsr()
        self.low, self.high, self.rows = self.low[keep], self.high[keep], self.rows[keep]
