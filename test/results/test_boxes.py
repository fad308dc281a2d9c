# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression against one that is written straight from its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_dnn_partition.results.boxes import overlaps, suppressed


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(0, width) * max(0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


def brute_force(boxes, scores, classes, most_overlap, most):
    """Go through all boxes, best first; a box stays if no box that stayed is of its class and too near."""
    stay = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(classes[i] != classes[j] or overlap(boxes[i], boxes[j]) <= most_overlap for j in stay):
            stay.append(i)
    return stay[:most]


SIDE = st.integers(0, 12)
BOX = st.tuples(SIDE, SIDE, SIDE, SIDE).map(lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])))


@given(
    st.lists(st.tuples(BOX, st.integers(0, 5), st.integers(0, 2)), max_size=14),
    st.sampled_from([0.0, 0.2, 0.45, 0.9, 1.0]), st.integers(1, 8),
)  # fmt: skip
def test_against_the_definition(found, most_overlap, most):
    boxes = np.array([box for box, _, _ in found], np.float64).reshape(-1, 4)
    scores, classes = np.array([s / 5 for _, s, _ in found]), np.array([c for _, _, c in found], int)
    assert suppressed(boxes, scores, classes, most_overlap, most) == brute_force(boxes, scores, classes, most_overlap, most)


@given(BOX, st.lists(BOX, min_size=1, max_size=8))
def test_overlaps(box, others):
    result = overlaps(np.array(box, float), np.array(others, float))
    assert result == pytest.approx([overlap(box, other) for other in others])
    assert ((result >= 0) & (result <= 1)).all()
