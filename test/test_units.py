# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Quantities with units."""

import pytest

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.units import parse


@pytest.mark.parametrize(('kind', 'text', 'value'), [
    ('rate', '40 Mbit/s', 5e6), ('rate', '1KiB/s', 1024), ('rate', '8 kbps', 1e3), ('time', '2 ms', 2e-3),
    ('time', '1.5 min', 90), ('size', '2 GiB', 2 * 2**30), ('power', '350 mW', 0.35), ('time', 3, 3.0), ('time', '1e-3', 1e-3),
])  # fmt: skip
def test_parse(kind, text, value):
    assert parse(kind, text) == pytest.approx(value)


@pytest.mark.parametrize(('kind', 'text'), [
    ('rate', '40 ms'), ('time', '-1 s'), ('time', 'soon'), ('size', True), ('size', float('nan')), ('size', float('inf')),
    ('time', '1e999 s'), ('rate', '40 mbit/s'),
])  # fmt: skip
def test_refusals_name_the_value(kind, text):
    with pytest.raises(UserError, match='delay: '):
        parse(kind, text, what='delay')
