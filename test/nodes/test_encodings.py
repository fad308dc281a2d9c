# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Images and tensors that travel encoded over slow links, in real processes: exactly, or within what is permitted."""

import itertools

import numpy as np
import pytest

pytest.importorskip('edge_dnn_partition.msg', reason='the messages are not built')

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.planning.plans.coding import image_encoding

LOSSLESS, LOSSY = {'zstd', 'lz4'}, {'float16', 'float16+zstd', 'float16+lz4'}
LARGEST_ERROR = 0.2
"""Above what JPEG makes of the images that are shown, which are those that the devices were profiled with."""


@pytest.fixture(autouse=True)
def own_cache(ros_domain, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path / 'cache'))


def test_tensors_travel_encoded_as_the_parameters_permit(tmp_path):
    from trial_fleet import DEVICES, images, trial_fleet

    from edge_dnn_partition.execution.stages.engine import Engine
    from edge_dnn_partition.graph.cuts import candidate_boundaries
    from edge_dnn_partition.inputs.frame import CameraImage
    from edge_dnn_partition.inputs.image import decode_compressed
    from edge_dnn_partition.inputs.preprocess import Preprocessing

    settings = {'dwell_seconds': 0.0, 'confirmations': 1, 'least_gain': 0.01, 'encodings': ['raw'], 'largest_error': LARGEST_ERROR}
    samples = tmp_path / 'samples'
    samples.mkdir()
    for number, image in enumerate(images()):
        (samples / f'{number}.jpg').write_bytes(image.data.tobytes())
    shown = [CameraImage(decode_compressed(p.data, p.encoding), 'bgr8') for p in images()]
    camera = {'topic': 'image', 'compressed': False, 'samples': str(samples)}
    with trial_fleet(tmp_path, parameters={'scheduler': settings}, camera=camera, shown=shown) as trial:
        client = trial.client
        for bad, words in (
            ({'encodings': ['raw', 'int9']}, "unknown encoding 'int9'"),
            ({'encodings': 'raw'}, 'must be a list'),
            ({'largest_error': 1.5}, 'at most 1|out of range'),
        ):
            with pytest.raises(UserError, match=words):
                client.set_scheduler(bad)
        slow = dict.fromkeys(itertools.permutations(DEVICES, 2), (4000000.0 / 8, 0.001))
        client.emulate(dict.fromkeys(DEVICES, 1.0), slow)
        inner = candidate_boundaries(trial.model, limit=20)[1:-1]
        half = inner[len(inner) // 2]
        trial.follow(f'jetson:pre-{half} cloud:{half}-end')

        def between():
            return {t.encoding for t in client.plan.transfers if t.from_stage == 0 and t.to_device == 'cloud'}

        def size(receiver='cloud'):
            client.wait_for(lambda: trial.news.report.plan_version == client.plan.version, 30.0, 'a frame of the plan in force')
            report = trial.news.report
            return next(hop.size for hop in report.hops if hop.receiver == receiver)

        assert (between(), image_encoding(client.plan)) == ({'raw'}, 'raw')
        versions, sizes, image_sizes = {'raw': client.plan.version}, {'raw': size()}, {'raw': size('jetson')}
        for kind, names, wanted, way in (
            ('lossless', ['raw', 'zstd', 'lz4'], LOSSLESS, LOSSLESS),
            ('lossy', ['raw', 'float16', 'zstd', 'jpeg'], LOSSY, {'jpeg'}),
        ):  # fmt: skip
            client.set_scheduler({'encodings': names})
            client.wait_for(
                lambda wanted=wanted, way=way: between() <= wanted and image_encoding(client.plan) in way, 30.0,
                f'{kind} encodings',
            )  # fmt: skip
            versions[kind] = client.plan.version
            trial.more_frames(5, client.plan.version)
            sizes[kind], image_sizes[kind] = size(), size('jetson')
        client.set_scheduler({'largest_error': 0.0})
        client.wait_for(
            lambda: not (between() & LOSSY or image_encoding(client.plan) == 'jpeg'), 30.0, 'no lossy encoding')
        trial.more_frames(3, client.plan.version)
        trial.settle()
    status = trial.news.status
    assert (status.lost, status.accepted) == (0, status.delivered + status.in_flight)
    engine, preprocessing = Engine(trial.fleet.model.path), Preprocessing.from_yaml(tmp_path / 'preprocessing.yaml')
    entry = trial.model.inputs[0]
    whole = [engine.run({entry: preprocessing.apply(p.data, p.encoding)}) for p in shown]
    results = {kind: {} for kind in versions}
    for frame in trial.news.frames:
        kind = next((k for k, version in versions.items() if version == frame.plan_version), None)
        if kind is None:
            continue
        number = trial.camera.shown[frame.stamp_ns]
        for name, expected in whole[number].items():
            tolerance = 1.1 * LARGEST_ERROR * np.ptp(expected) if kind == 'lossy' else 1e-4
            np.testing.assert_allclose(frame.outputs[name], expected, rtol=0 if kind == 'lossy' else 1e-4, atol=tolerance)
            results[kind].setdefault((number, name), frame.outputs[name])
    both = set(results['raw']) & set(results['lossless'])
    assert both and all(np.array_equal(results['raw'][k], results['lossless'][k]) for k in both)
    assert sizes['lossy'] < sizes['lossless'] < sizes['raw']
    assert image_sizes['lossy'] < image_sizes['lossless'] < image_sizes['raw'] == shown[0].data.nbytes
