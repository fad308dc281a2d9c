# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame begins with: named values, of which a camera's image is one kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.planning.plans.plan import IMAGE

from .image import (
    COMPRESSED,
    Pixels,
    compressed_encoding,
    decode_compressed,
    decode_compressed_depth,
    decode_depth,
    decode_raw,
    image_size,
    is_depth,
    raw_size,
    without_padding,
)


@dataclass(frozen=True, eq=False)
class CameraImage:
    """One camera image.

    :param data: uint8, the bytes of a compressed image or of pixels, ``[rows, width, bytes of a pixel]``, little-endian; there
        are more rows than the image is high where planes of colour follow (nv12).
    :param encoding: ``jpeg``, ``png``, or a raw one such as ``bgr8`` (`image.ENCODINGS`).
    """

    data: NDArray[np.uint8]
    encoding: str

    @classmethod
    def of_bytes(cls, data: NDArray[np.uint8], said: str = '') -> CameraImage:
        """Return a compressed image: a JPEG or PNG, by its first bytes, or what image_transport calls compressedDepth.

        :param data: its bytes; zeros behind it are left out.
        :param said: what its publisher calls it.
        :raises WireError: if it is none of these.
        """
        if 'compresseddepth' in said.lower():
            depth = decode_compressed_depth(data, said)
            return cls(depth.view(np.uint8).reshape(*depth.shape, -1), '16UC1' if depth.dtype == np.uint16 else '32FC1')
        return cls(without_padding(data), compressed_encoding(data, said))

    @property
    def is_compressed(self) -> bool:
        """Whether the data are the bytes of a JPEG or PNG, and not pixels."""
        return self.encoding in COMPRESSED

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels.

        :raises WireError: if a compressed image's header is broken.
        """
        if self.is_compressed:
            return image_size(self.data, self.encoding)
        return raw_size(self.data.shape, self.encoding)

    @property
    def nbytes(self) -> int:
        """The size of the data in bytes."""
        return self.data.nbytes

    def pixels(self) -> Pixels:
        """Return BGR pixels ``[height, width, 3]``.

        :raises WireError: if the image is broken, or one of depth.
        """
        if self.is_compressed:
            return decode_compressed(self.data, self.encoding)
        width, height = self.size
        return decode_raw(self.data, self.encoding, width=width, height=height)


    def shown(self) -> Pixels:
        """Return BGR pixels to look at; of raw depth, the nearer the brighter, and black where nothing was measured.

        :raises WireError: if the image is broken.
        """
        if not is_depth(self.encoding):
            return self.pixels()
        width, height = self.size
        metres = decode_depth(self.data, self.encoding, width=width, height=height)
        nearest = metres[metres > 0].min(initial=np.inf)
        shades = np.divide(255 * nearest, metres, out=np.zeros_like(metres), where=metres > 0)
        return np.repeat(shades.astype(np.uint8)[:, :, None], 3, axis=2)


InputValue = CameraImage | NDArray[Any]
"""Of any kind in `kinds.KINDS`."""


@dataclass(frozen=True, eq=False)
class FrameInputs:
    """The inputs of one frame.

    :param values: by name. The preprocessing makes one of the model's inputs of each `CameraImage`, which is named as
        `ModelInputs.images` says, `IMAGE` if it is the only one; an array is itself the model's input of that name.
    :param header: of the message that the frame began with, for its result; None: an empty one.
    :param reset_state: the frame begins with the initial state, where the model carries one (docs/state.md).
    """

    values: Mapping[str, InputValue] = field(default_factory=dict)
    header: Any = None
    reset_state: bool = False

    @classmethod
    def of_image(cls, image: CameraImage, header: Any = None) -> FrameInputs:
        """Return the inputs of a frame that has an image alone."""
        return cls({IMAGE: image}, header)

    @property
    def image(self) -> CameraImage | None:
        """The first camera's image; None if the frame has none."""
        value = self.values.get(IMAGE)
        return value if isinstance(value, CameraImage) else None

    @property
    def nbytes(self) -> int:
        """The size of all values in bytes."""
        return sum(value.nbytes for value in self.values.values())
