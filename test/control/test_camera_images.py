# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the scheduler learns of a frame's inputs: the size of each, and what an encoding makes of the first image."""

from types import SimpleNamespace

import pytest

from edge_dnn_partition.control.state.fleet_estimator import CameraImages
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE, Plan, Transfer


def status(size, **others):
    return SimpleNamespace(
        image_encoding='bgr8', image_bytes=size, input_names=list(others), input_bytes=list(others.values())
    )  # fmt: skip


def test_sizes_follow_what_comes():
    images = CameraImages(150_000)
    images.on_source_status(status(1000, **{'@image:depth': 600, 'pose': 28}))
    assert images.bytes == 1000 and images.others == {'@image:depth': 600, 'pose': 28}
    for _ in range(50):
        images.on_source_status(status(1000, **{'@image:depth': 1200, 'pose': 28}))
    assert images.others['@image:depth'] == pytest.approx(1200, rel=1e-3)


def test_what_goes_with_an_image_is_not_counted_as_the_image():
    images = CameraImages(150_000)
    images.on_source_status(status(1000, **{'@image:depth': 600, 'pose': 28}))
    transfers = [Transfer(name, SOURCE_STAGE, 'pi', device, encoding=encoding) for name, device, encoding in (
        (IMAGE, 'box', 'jpeg'), ('@image:depth', 'box', 'raw'), ('pose', 'hub', 'raw'))]  # fmt: skip
    plan = Plan(1, 'a' * 64, 'pi', 'pi', (), tuple(transfers))
    hops = [SimpleNamespace(from_stage=SOURCE_STAGE, receiver=receiver, size=size) for receiver, size in (('box', 900), ('hub', 28))]
    images.on_report(SimpleNamespace(hops=hops), plan)
    assert images.pixels.shares == {'jpeg': pytest.approx(0.3)}


@pytest.mark.parametrize(('encoding', 'shares'), [('jpeg', {'jpeg': 0.25}), ('zstd', {})])
def test_two_images_that_are_encoded_are_not_told_apart(encoding, shares):
    images = CameraImages(150_000)
    images.on_source_status(status(1000, **{'@image:wrist': 600}))
    transfers = (Transfer(IMAGE, SOURCE_STAGE, 'pi', 'box', encoding='jpeg'),
                 Transfer('@image:wrist', SOURCE_STAGE, 'pi', 'box', encoding=encoding))  # fmt: skip
    hop = SimpleNamespace(from_stage=SOURCE_STAGE, receiver='box', size=400)
    images.on_report(SimpleNamespace(hops=[hop]), Plan(1, 'a' * 64, 'pi', 'pi', (), transfers))
    assert images.pixels.shares == shares
