# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CameraImage:
    """One camera image and what its header said.

    ``data`` holds uint8: the bytes of a compressed image, or pixels ``[height, width, channels]``.
    """

    data: NDArray[np.uint8]
    encoding: str
    header: Any = None
