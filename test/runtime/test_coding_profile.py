# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured of encodings: bytes as they are sent, and the error in the model's output."""

import numpy as np
import pytest

from edge_dnn_partition.graph.cuts import candidate_boundaries
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.planning.encodings import is_lossy
from edge_dnn_partition.runtime.coding_profile import compare, measure_codings
from edge_dnn_partition.runtime.engine import CPU_PROVIDER, Engine
from edge_dnn_partition.runtime.span_timing import ProfilingCancelledError
from edge_dnn_partition.runtime.tensor_codec import decode, encode
from edge_dnn_partition.testbed import demo_model


def test_codings_of_a_model():
    model = load_model(demo_model.cached('tiny'))
    boundaries = candidate_boundaries(model, limit=6)
    entry = model.inputs[0]
    picture = np.random.default_rng(2).standard_normal(model.tensors[entry].shape).astype(np.float32)

    def measure(**more):
        return measure_codings(
            model, boundaries, providers=(CPU_PROVIDER,), threads=1, picture=lambda: picture, **more
        )

    found = measure(limit_seconds=60.0)
    assert len({(c.tensor, c.encoding) for c in found}) == len(found)
    assert all(0 < c.size < model.tensors[c.tensor].bytes for c in found)
    assert all((c.error > 0) == is_lossy(c.encoding) for c in found if c.encoding != 'float16' or c.error > 0)
    of_entry = {c.encoding: c for c in found if c.tensor == entry}
    assert of_entry['float16'].error < of_entry['int8'].error
    # the error of the model's input, found another way: the whole model on what comes out of the encoding
    engine = Engine(demo_model.cached('tiny'))
    exact, changed = engine.run({entry: picture}), engine.run({entry: decode(encode(picture, 'int8'))})
    error, top_changed = compare(exact, changed, model.outputs)
    assert of_entry['int8'].error == pytest.approx(error, rel=1e-3)
    assert of_entry['int8'].top_changed == top_changed
    assert measure(limit_seconds=0.0) == ()
    with pytest.raises(ProfilingCancelledError):
        measure(cancelled=lambda: True)


def test_errors_are_shares_of_the_range():
    one = {'y': np.array([[0.0, 4.0, 2.0]], np.float32), 'z': np.array([np.inf, 1.0])}
    assert compare(one, one, ('y', 'z')) == (0.0, False)
    assert compare(one, one | {'y': np.array([[0.0, 3.0, 2.0]])}, ('y', 'z')) == (0.25, False)
    assert compare(one, one | {'y': np.array([[5.0, 4.0, 2.0]])}, ('y',)) == (1.25, True)
    assert compare(one, one | {'z': np.array([2.0, 1.0])}, ('z',))[0] == 1e9
    assert compare({'c': np.ones(3)}, {'c': np.zeros(3)}, ('c',))[0] == 1e9
