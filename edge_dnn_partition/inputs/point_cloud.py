# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""`sensor_msgs/PointCloud2` as a tensor of a fixed number of points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError, WireError

Array = NDArray[Any]
_TYPES: Final = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}
"""PointField's numbers."""


def points_of(cloud: Any, names: Sequence[str]) -> Array:
    """Return fields of a cloud's points, float64 ``[points, len(names)]``; points of which one is not finite are left out.

    The fields may lie in any order, with gaps between them, behind each point and behind each row.

    :param cloud: with the fields of the message.
    :raises WireError: if it has no such field, or fewer bytes than it says.
    """
    known = {field.name: field for field in cloud.fields}
    if missing := [name for name in names if name not in known]:
        raise WireError(f'the point cloud has no field {missing[0]!r}; it has {", ".join(known)}')
    order = '>' if cloud.is_bigendian else '<'
    try:
        layout = np.dtype({
            'names': list(names), 'formats': [order + _TYPES[known[name].datatype] for name in names],
            'offsets': [known[name].offset for name in names], 'itemsize': cloud.point_step,
        })  # fmt: skip
        rows = np.frombuffer(cloud.data, np.uint8, cloud.row_step * cloud.height).reshape(cloud.height, cloud.row_step)
        if cloud.width * cloud.point_step > cloud.row_step:
            raise ValueError('rows are shorter than their points')
        used = np.ascontiguousarray(rows[:, :cloud.width * cloud.point_step])
        points = used.reshape(-1).view(layout) if used.size else np.zeros(0, layout)
    except (ValueError, KeyError) as error:
        raise WireError(
            f'a point cloud of {cloud.width} x {cloud.height} points of {cloud.point_step} bytes whose fields or '
            f'{len(cloud.data)} bytes do not fit; check its publisher'
        ) from error
    values = np.stack([points[name].astype(np.float64) for name in names], -1)
    return np.asarray(values[np.isfinite(values).all(-1)])


def laid_out(points: Array, shape: Sequence[int], count: int | None, what: str) -> Array:
    """Return points in the model's shape, ``[points, fields]`` or ``[fields, points]`` behind axes of 1.

    Of more points than the model takes, so many are kept at even distances in the cloud's order; behind fewer there are zeros.

    :param count: how many points the fleet file says; None: as many as the shape has.
    :param what: the input, for errors.
    :raises UserError: if the shape is none for so many points of these fields.
    """
    wide = points.shape[1]
    inner = tuple(shape)
    while len(inner) > 2 and inner[0] == 1:
        inner = inner[1:]
    if len(inner) != 2 or wide not in inner or (most := inner[0] if inner[1] == wide else inner[1]) != (count or most):
        raise UserError(
            f'{what}: the model takes {list(shape)}, which is not {count or "a number of"} points of {wide} fields; '
            'correct points and fields'
        )
    result = np.zeros((most, wide))
    kept = points if len(points) <= most else points[np.arange(most) * len(points) // most]
    result[:len(kept)] = kept
    return (result if inner[1] == wide else result.T).reshape(tuple(shape))
