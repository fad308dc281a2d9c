# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured of encodings: bytes as they are sent, and the error in the model's output."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.execution.profiling import image_samples
from edge_dnn_partition.execution.profiling.coding_profile import Segments, compare, measure_codings
from edge_dnn_partition.execution.profiling.image_samples import COUNT, ImageSamples, InputSamples, samples_of, samples_of_files
from edge_dnn_partition.execution.profiling.spans import ProfilingCancelledError
from edge_dnn_partition.execution.stages.engine import CPU_PROVIDER, Engine
from edge_dnn_partition.graph.cuts import candidate_boundaries
from edge_dnn_partition.graph.model import load_model
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.images import made_up
from edge_dnn_partition.inputs.kinds import ImageKind
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet.inputs import Camera
from edge_dnn_partition.planning.plans.encodings import is_lossy
from edge_dnn_partition.planning.plans.plan import IMAGE
from edge_dnn_partition.testbed import demo_model
from edge_dnn_partition.transport.tensor_codec import decode, encode


def test_codings_of_a_model():
    model = load_model(demo_model.cached('tiny'))
    boundaries = candidate_boundaries(model, limit=6)
    entry = model.inputs[0]
    random = np.random.default_rng(2)
    prepared = [random.standard_normal(model.tensors[entry].shape).astype(np.float32) for _ in range(3)]
    segments = Segments(model, boundaries, providers=(CPU_PROVIDER,), threads=1)

    def measure(given=prepared, **more):
        return measure_codings(segments, [{entry: p} for p in given], **more)

    found = measure(limit_seconds=60.0)
    assert len({(c.tensor, c.encoding) for c in found}) == len(found)
    assert all(0 < c.size < model.tensors[c.tensor].bytes for c in found)
    assert all((c.error > 0) == is_lossy(c.encoding) for c in found if c.encoding != 'float16' or c.error > 0)
    of_entry = {c.encoding: c for c in found if c.tensor == entry}
    assert of_entry['float16'].error < of_entry['int8'].error
    # the error of the model's input, found another way: the whole model on what comes out of the encoding
    engine = Engine(demo_model.cached('tiny'))
    errors, top_changed = zip(*(
        compare(engine.run({entry: p}), engine.run({entry: decode(encode(p, 'int8'))}), model.outputs) for p in prepared),
        strict=True)  # fmt: skip
    assert of_entry['int8'].error == pytest.approx(max(errors), rel=1e-3)
    assert of_entry['int8'].top_changed == any(top_changed)
    first = {(c.tensor, c.encoding): c for c in measure(prepared[:1], limit_seconds=60.0)}
    assert first.keys() == {(c.tensor, c.encoding) for c in found}
    assert all(c.error >= first[c.tensor, c.encoding].error for c in found)
    assert any(c.error > 1.01 * first[c.tensor, c.encoding].error for c in found), 'one image says less than three'
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


def test_codings_of_images():
    model = load_model(demo_model.cached('tiny'))
    segments = Segments(model, (0, len(model.layers)), providers=(CPU_PROVIDER,), threads=1)
    preprocessing = Preprocessing.from_dict(demo_model.preprocessing('tiny'))
    samples = samples_of(Camera(topic='image'), preprocessing, raw=True)
    assert {image.encoding for image in (samples.timed, *samples.images)} == {'bgr8'}
    assert len({image.data.tobytes() for image in samples.images}) == COUNT
    found = {c.encoding: c for c in samples.codings(segments)}
    assert {c.tensor for c in found.values()} == {IMAGE}
    jpeg = found['jpeg']
    assert 0.02 * samples.bytes < jpeg.size < 0.5 * samples.bytes
    assert jpeg.encode_seconds > 0 < jpeg.error < 0.5
    assert all(c.error == 0 and jpeg.size < c.size < samples.bytes for c in found.values() if c is not jpeg)
    engine, entry, errors = Engine(demo_model.cached('tiny')), model.inputs[0], []
    for image in samples.images:
        data, encoding = ImageKind().encode(image, 'jpeg')
        outputs = [engine.run({entry: preprocessing.apply(*p)}) for p in ((image.data, 'bgr8'), (data, encoding))]
        errors.append(compare(*outputs, model.outputs)[0])
    assert jpeg.error == pytest.approx(max(errors), rel=1e-3)
    compressed = samples_of(Camera(topic='image'), preprocessing, raw=False)
    assert compressed.codings(segments) == ()
    assert compressed.key != samples.key


def test_codings_of_several_cameras_count_per_byte_of_the_firsts():
    model = SimpleNamespace(run=lambda _: {'y': np.ones(3)}, inputs=dict, outputs=('y',))
    small, large = Preprocessing(16, 16), Preprocessing(8, 8)
    shown = [CameraImage(np.tile(np.arange(width, dtype=np.uint8), (60, 1))[..., None].repeat(3, 2), 'bgr8') for width in (80, 160)]
    front, wrist = (ImageSamples.of(p, one, (one,), name) for p, one, name in zip((small, large), shown, ('front', 'wrist'), strict=True))
    both = InputSamples((front, wrist), {'task': np.ones(2)})
    assert both.bytes == 80 * 60 * 3 and both.key != InputSamples((front, wrist)).key
    (feeds,) = both.prepared()
    assert {name: value.shape for name, value in feeds.items()} == {'task': (2,), 'front': (1, 3, 16, 16), 'wrist': (1, 3, 8, 8)}
    found = {(c.tensor, c.encoding): c for c in both.codings(model)}
    (alone,) = (c for c in wrist.codings(model) if c.encoding == 'zstd')
    assert {tensor for tensor, _ in found} == {IMAGE, '@image:wrist'}
    assert found['@image:wrist', 'zstd'].size == round(alone.size / 2)


@pytest.mark.parametrize('raw', [True, False])
def test_samples_of_depth_are_of_depth(raw, tmp_path):
    preprocessing = Preprocessing.from_dict({'size': [24, 16], 'colour': 'depth'})
    model = SimpleNamespace(run=lambda _: {'y': np.ones(3)}, inputs=dict, outputs=('y',))
    cv2.imwrite(str(tmp_path / 'wall.png'), np.full((40, 60), 1500, np.uint16))
    for camera in (Camera(topic='depth'), Camera(topic='depth', samples=tmp_path)):
        samples = samples_of(camera, preprocessing, raw=raw)
        samples.prepare()
        assert {image.encoding for image in (samples.timed, *samples.images)} == {'16UC1' if raw else 'png'}
        depth = samples.prepared()[0]['']
        assert depth.shape == (1, 1, 16, 24) and 1 < np.median(depth) < 3
        found = {coding.encoding for coding in samples.codings(model)}
        assert found <= {'zstd', 'lz4'} and bool(found) == raw  # JPEG holds no distances
    (one,) = samples_of_files([str(tmp_path / 'wall.png')], preprocessing, raw=raw).images
    np.testing.assert_allclose(preprocessing.apply(one.data, one.encoding), 1.5)


def test_images_that_nobody_looks_at_are_not_made(monkeypatch):
    """A worker whose profile is in the cache needs their key alone."""
    preprocessing = Preprocessing.from_dict(demo_model.preprocessing('tiny'))
    keys = [samples_of(Camera(topic='image'), preprocessing, raw=raw).key for raw in (False, True)]
    for name in ('made_up', '_photographs', 'sample_image'):
        monkeypatch.setattr(image_samples, name, None)
    assert keys == [samples_of(Camera(topic='image'), preprocessing, raw=raw).key for raw in (False, True)]
    assert len({*keys, samples_of(Camera(topic='image'), preprocessing, raw=False).key}) == 2


def test_images_that_the_user_gives(tmp_path):
    preprocessing = Preprocessing.from_dict(demo_model.preprocessing('tiny'))
    for number in range(3):
        (tmp_path / f'{number}.jpg').write_bytes(made_up(number).data.tobytes())
    samples = samples_of(Camera(topic='image', samples=tmp_path), preprocessing, raw=False)
    assert [p.data.tobytes() for p in samples.images] == [made_up(n).data.tobytes() for n in range(3)]
    assert samples.timed is samples.images[0]
    (tmp_path / '1.jpg').write_bytes(made_up(7).data.tobytes())
    assert samples_of(Camera(topic='image', samples=tmp_path), preprocessing, raw=False).key != samples.key
    with pytest.raises(UserError, match='give a JPEG'):
        samples_of_files([str(tmp_path / 'none.jpg')], preprocessing, raw=True)
