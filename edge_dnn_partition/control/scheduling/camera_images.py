# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a scheduler knows of the camera's images: their size, whether they come as pixels, what encodings make of them."""

from __future__ import annotations

from typing import Any

from edge_dnn_partition.inputs.image import COMPRESSED
from edge_dnn_partition.planning.plans.coding import Pixels, image_encoding
from edge_dnn_partition.planning.plans.encodings import RAW
from edge_dnn_partition.planning.plans.plan import IMAGE, SOURCE_STAGE, Plan
from edge_dnn_partition.planning.plans.profile import Profile

_NEWEST = 0.3
"""What the newest image counts in the size of an image..."""
_NEWEST_SHARE = 0.2
"""... and in how small an encoding makes it."""


class CameraImages:
    """Not thread safe.

    :param bytes_: of an image as the camera gives it, until one was seen.
    """

    def __init__(self, bytes_: float) -> None:
        self.bytes = bytes_
        self._are_pixels: bool | None = None
        self._shares: dict[str, float] = {}

    @property
    def pixels(self) -> Pixels | None:
        """What is known of images that may be encoded; None: the camera's are compressed already."""
        return Pixels(dict(self._shares)) if self._are_pixels else None

    def source(self, message: Any) -> None:
        """Take in what images the frame source gets (SourceStatus)."""
        if message.image_bytes > 0:
            pixels = message.image_encoding not in COMPRESSED
            weight = _NEWEST if pixels == self._are_pixels else 1.0  # the first says it all
            self._are_pixels = pixels
            self.bytes += weight * (message.image_bytes - self.bytes)

    def frame(self, message: Any, plan: Plan) -> None:
        """Take in how small a plan's encoding has made a frame's image (FrameReport)."""
        encoding = image_encoding(plan)
        for hop in message.hops:
            if hop.from_stage == SOURCE_STAGE and encoding != RAW and self._are_pixels:
                share = hop.size / self.bytes
                known = self._shares.get(encoding, share)
                self._shares[encoding] = known + _NEWEST_SHARE * (share - known)

    def preprocessing_seconds(self, profile: Profile, plan: Plan) -> float:
        """Return what a profile says of the preprocessing of an image that comes as the plan says."""
        seconds = profile.preprocess_seconds or 0.0
        if self._are_pixels and profile.image_bytes > 0:
            coding = next((c for c in profile.codings if (c.tensor, c.encoding) == (IMAGE, image_encoding(plan))), None)
            seconds += coding.decode_seconds * self.bytes / profile.image_bytes if coding is not None else 0.0
        return seconds
