# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Profiles with made-up times, links of one rate, and the planning problem that a pipeline makes of them."""

from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.link import LinkEstimate

EACH = (0, 1, 2, 3, 4, 5, 6)
"""A segment for each of the six layers of `skip`: a, b, c, d in a row, e = d + a, y = e and x joined."""
RATE, DELAY = 1e4, 0.5
LINKS = {pair: LinkEstimate(RATE, DELAY, measured=True) for pair in (('pi', 'cloud'), ('cloud', 'pi'))}


def profile(model, device, boundaries=EACH, **changes):
    """Return a profile whose segments take 1, 2, … ms, with boundary overheads of a tenth of that."""
    count = len(boundaries) - 1
    values = {
        'model_sha256': model.sha256, 'device': device, 'provider': 'CPUExecutionProvider', 'threads': 1,
        'boundaries': boundaries, 'segment_seconds': tuple(1e-3 * (i + 1) for i in range(count)),
        'seam_seconds': tuple(1e-4 * (i + 1) for i in range(count - 1)), 'preprocess_seconds': 4e-3,
    }  # fmt: skip
    return Profile(**values | changes)


def problem(made, **changes):
    values = {'devices': ('pi', 'cloud'), 'factors': {}, 'links': LINKS, 'input_bytes': 1000.0}
    return made.problem(**values | changes)
