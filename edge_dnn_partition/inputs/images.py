# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where images come from beside a topic: a folder, a video file, a camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError, WireError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.planning.fleet.inputs import Camera

_SUFFIXES: Final = ('.jpg', '.jpeg', '.png')
JPEG_QUALITY: Final = 90


def encode(pixels: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> CameraImage:
    """Return pixels (BGR, ``[height, width, 3]``) as a JPEG image, or as they are for quality 0.

    :raises UserError: if OpenCV cannot encode them.
    """
    if quality == 0:
        return CameraImage(pixels, 'bgr8')
    import cv2

    done, data = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise UserError(f'an image of shape {list(pixels.shape)} cannot be encoded as JPEG')
    return CameraImage(np.asarray(data, np.uint8).reshape(-1), 'jpeg')


def image_folder(folder: Path) -> Iterator[CameraImage]:
    """Yield the images of a folder by name, over and over; their bytes are read as they are.

    :raises UserError: if there is none, or one is neither JPEG nor PNG.
    """
    paths = sorted(p for p in folder.glob('*') if p.suffix.lower() in _SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise UserError(f'{folder}: contains no image; put JPEG or PNG files there')
    while True:
        for path in paths:
            yield _read(path)


def _read(path: Path) -> CameraImage:
    try:
        return CameraImage.of_bytes(np.frombuffer(path.read_bytes(), np.uint8))
    except WireError as error:
        raise UserError(f'{path}: {error}') from error


def captured(device: Path | int, quality: int = JPEG_QUALITY) -> Iterator[CameraImage]:
    """Yield the frames of a video file (once) or a camera by number.

    :raises UserError: if it cannot be opened or has no frame.
    """
    import cv2

    capture = cv2.VideoCapture(device if isinstance(device, int) else str(device))
    try:
        if not capture.isOpened():
            what = f'camera {device}' if isinstance(device, int) else str(device)
            raise UserError(f'{what}: cannot be opened; check that it exists and that this user may read it')
        while True:
            there, pixels = capture.read()
            if not there:
                return
            yield encode(np.asarray(pixels, np.uint8), quality)
    finally:
        capture.release()


def images(camera: Camera, quality: int = JPEG_QUALITY) -> Iterator[CameraImage] | None:
    """Return the images that a fleet file names; None if they come over a topic.

    :raises UserError: when the first one is asked for, if there is none.
    """
    if camera.images is not None:
        return image_folder(camera.images)
    if camera.video is not None:
        return captured(camera.video, quality)
    if camera.camera is not None:
        return captured(camera.camera, quality)
    return None


def sample_image(camera: Camera) -> CameraImage:
    """Return an image to time the preprocessing with: the folder's first one, else a made-up one."""
    if camera.images is not None:
        try:
            return next(image_folder(camera.images))
        except (UserError, OSError, WireError):
            pass
    return made_up(0)


def made_up(seed: int) -> CameraImage:
    """Return a JPEG image of waves and noise, 1280 x 720."""
    rows, columns = np.mgrid[0:720, 0:1280]
    waves = np.stack([np.sin(rows / (7 + c) + seed) * np.cos(columns / (11 - c)) for c in range(3)], axis=-1)
    noise = np.random.default_rng(seed).normal(0, 12, waves.shape)
    return encode(np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8))


def made_up_depth(seed: int) -> CameraImage:
    """Return a depth image of a wall with waves, noise and holes, as PNG, 640 x 480."""
    import cv2

    rows, columns = np.mgrid[0:480, 0:640]
    random = np.random.default_rng(seed)
    metres = 2 + np.sin(rows / 60 + seed) * np.cos(columns / 90) + random.normal(0, 0.005, rows.shape)
    metres[random.random(rows.shape) < 0.05] = 0
    _, data = cv2.imencode('.png', np.round(1000 * metres).astype(np.uint16))
    return CameraImage(np.asarray(data, np.uint8).reshape(-1), 'png')
