# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How few bytes any closed set of a model's layers has on its frontier near a share of the work.

A minimum cut of the graph with one more row, the share, which makes it an integer programme (HiGHS); its proven bound counts.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from edge_dnn_partition.graph.cuts import END_SHARE, SHARE_TOLERANCE, SHARES, candidate_boundaries, linear_cuts, work_shares
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.graph.work import layer_operations

ALLOWED: Final = 1.05
_SECONDS: Final = 5.0
_GAP: Final = 0.01


class Frontiers:
    """The integer programme of one model: a variable per layer (done or not), one per tensor (carried or not)."""

    def __init__(self, model: Model) -> None:
        layers, work = len(model.layers), np.array(layer_operations(model))
        producer = {name: layer.index for layer in model.layers for name in layer.outputs}
        readers: dict[str, list[int]] = {}
        for layer in model.layers:
            for name in dict.fromkeys(layer.inputs):
                readers.setdefault(name, []).append(layer.index)
        self._constant = float(sum(model.tensors[name].bytes for name in model.inputs if name in model.outputs))
        costs = [0.0] * layers
        rows: list[tuple[dict[int, int], int]] = []  # coefficients, and what their sum is at least
        for name in dict.fromkeys((*model.inputs, *producer)):
            made, size = producer.get(name), model.tensors[name].bytes
            carried = None
            if name in model.outputs:
                if made is not None:
                    costs[made] += size
            elif name in readers:
                carried = len(costs)
                costs.append(float(size))
            for reader in readers.get(name, ()):
                if made is not None:
                    rows.append(({made: 1, reader: -1}, 0))
                if carried is not None:
                    rows.append(({carried: 1, reader: 1} | ({} if made is None else {made: -1}), 1 if made is None else 0))
        self._layers, self._unit = layers, max(*costs, 1.0)
        self._costs = np.array(costs) / self._unit
        entries = [(value, row, column) for row, (terms, _) in enumerate(rows) for column, value in terms.items()]
        values, at, columns = zip(*entries, strict=True) if entries else ((), (), ())
        self._rows = LinearConstraint(coo_matrix((values, (at, columns)), shape=(len(rows), len(costs))).tocsr(),
                                      [least for _, least in rows], np.inf)  # fmt: skip
        self._work = coo_matrix((work / work.sum(), (np.zeros(layers, dtype=int), np.arange(layers))), shape=(1, len(costs)))

    def least(self, low: float, high: float) -> float | None:
        """Return a lower bound of the bytes of closed sets with a share of the work between two; None: there are none."""
        found = milp(self._costs, constraints=[self._rows, LinearConstraint(self._work.tocsr(), low, high)],
                     integrality=(np.arange(len(self._costs)) < self._layers).astype(int), bounds=Bounds(0, 1),
                     options={'time_limit': _SECONDS, 'mip_rel_gap': _GAP})  # fmt: skip
        if found.status == 2:
            return None
        return float(found.mip_dual_bound or 0.0) * self._unit + self._constant


def offered(model: Model, family: str) -> dict[str, Any]:
    """Return, per share at which cuts exist, what the order and the candidates offer over the least possible (inf: nothing)."""
    shares, cuts, candidates = work_shares(model), linear_cuts(model), set(candidate_boundaries(model))
    frontiers = Frontiers(model)
    rows = []
    for number in range(SHARES):
        middle = (number + 0.5) / SHARES
        low, high = max(middle - SHARE_TOLERANCE, END_SHARE), min(middle + SHARE_TOLERANCE, 1 - END_SHARE)
        bound = frontiers.least(low, high)
        if bound is None:
            continue
        near = [cut for cut in cuts if low <= shares[cut.index] <= high]

        def over(sizes: list[int], bound: float = bound) -> float:
            return min(sizes, default=math.inf) / max(bound, 1.0)

        rows.append({'share': middle, 'least_bytes': bound, 'order': over([cut.bytes for cut in near]),
                     'candidates': over([cut.bytes for cut in near if cut.index in candidates])})
    worst = max((row['candidates'] for row in rows), default=1.0)
    return {
        'kind': 'bytes', 'model': model.name, 'family': family, 'layers': len(model.layers), 'points': len(rows),
        'above': [round(row['share'], 3) for row in rows if not row['candidates'] <= ALLOWED],
        'order_above': sum(not row['order'] <= ALLOWED for row in rows), 'worst': worst if math.isfinite(worst) else None,
    }  # fmt: skip
