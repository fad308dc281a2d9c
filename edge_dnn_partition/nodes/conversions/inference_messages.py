# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a user's own node asks of a fleet and gets back: arrays to requests of `infer`, its answers to results or errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.msg import ClassScore, Detection, TensorData
from edge_dnn_partition.results.postprocess import Box, Keypoint, Score
from edge_dnn_partition.srv import Infer

from .camera_messages import compressed_message, from_image_message, image_message
from .wire import tensor_array, tensor_message

ImageGiven: TypeAlias = NDArray[np.uint8] | bytes | Image | CompressedImage
Given: TypeAlias = ImageGiven | Mapping[str, Any]
"""The first image, or arrays by the names of the model's inputs."""

_ENCODINGS: Final = {1: 'mono8', 3: 'rgb8', 4: 'rgba8'}


class InferenceError(UserError):
    """There is no result of an image; the message says why."""


class InferenceRefusedError(InferenceError):
    """The fleet did not take the image: it is busy, has no plan, or the image is no good."""


class InferenceExpiredError(InferenceError):
    """The frame became older than the frame source's ``max_age`` before its result was there."""


class InferenceLostError(InferenceError):
    """The fleet took the image and gave its frame up."""


class InferenceFailedError(InferenceError):
    """The image cannot be processed: decoding it or running the model on it fails."""


class InferenceTimeoutError(InferenceError):
    """No answer came in time, or nobody serves that fleet."""


_ERRORS: Final = {
    Infer.Response.LOST: InferenceLostError, Infer.Response.EXPIRED: InferenceExpiredError,
    Infer.Response.FAILED: InferenceFailedError,
}  # fmt: skip


@dataclass(frozen=True)
class InferenceResult:
    """What the model says of one image.

    ``outputs`` holds the model's tensors by name. ``classes`` and ``detections`` (best first, in pixels of the image) and
    ``mask`` (a class for each pixel, uint8 ``[height, width]``) are empty unless the fleet file's ``postprocessing`` makes them.
    """

    frame_number: int
    plan_version: int
    latency_seconds: float
    """From the frame's acceptance to its result, on the frame source's clock."""
    message: str
    """How it went, in words."""
    outputs: Mapping[str, NDArray[Any]] = field(repr=False)
    classes: tuple[Score, ...] = ()
    detections: tuple[Box, ...] = ()
    mask: NDArray[np.uint8] | None = field(default=None, repr=False)


def request_of(
    image: Given, encoding: str, header: Header | None, wait_seconds: float, *, reset_state: bool = False
) -> Infer.Request:
    """Return the request for an image, or for tensors.

    :param image: uint8 ``[height, width]`` or ``[height, width, channels]``, the bytes of a JPEG or PNG, or a camera's message;
        or a mapping of the model's inputs: arrays, numbers or lists of them, for an image as above but for messages.
    :param encoding: of an array, as in ``sensor_msgs/Image``; empty: ``mono8``, ``rgb8`` or ``rgba8`` by its channels.
    :param header: of the result; None: the message's, else an empty one.
    :raises ValueError: if it is none of these; what a message holds is for the fleet to check.
    """
    request = Infer.Request(wait_seconds=float(wait_seconds), reset_state=reset_state)
    if isinstance(image, Mapping):
        request.tensors = [_tensor_of(name, value) for name, value in image.items()]
    elif isinstance(image, Image):
        request.image = image
    elif isinstance(image, CompressedImage):
        request.compressed = image
    elif isinstance(image, bytes):
        try:
            compressed = CameraImage.of_bytes(np.frombuffer(image, np.uint8))
        except UserError:
            raise ValueError('the bytes are neither a JPEG nor a PNG; give pixels as an array') from None
        request.compressed = compressed_message(compressed.data, compressed.encoding, Header())
    elif isinstance(image, np.ndarray):
        request.image = _image_of(image, encoding)
    else:
        raise ValueError(
            f"an image is an array, bytes, or a camera's message, not {type(image).__name__}; give other inputs by name"
        )
    if header is not None:
        (request.image if request.image.encoding else request.compressed).header = header
    return request


def _tensor_of(name: str, value: Any) -> TensorData:
    try:
        array = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.asarray(value)
        return tensor_message(name, array)
    except (UserError, ValueError) as error:
        raise ValueError(f'input {name!r}: {error}; give an array of numbers') from None


def _image_of(image: NDArray[Any], encoding: str) -> Image:
    channels = image.shape[2] if image.ndim == 3 else 1
    known = bool(encoding) or channels in _ENCODINGS
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0 or not known:
        raise ValueError(
            f'an array of {image.dtype} {list(image.shape)}; give uint8 [height, width] or [height, width, 3 (RGB) or 4 '
            '(RGBA)], or name another encoding'
        )
    message = image_message(image, encoding or _ENCODINGS[channels], Header())
    try:
        fits = from_image_message(message).data.size == image.size
    except UserError as error:
        raise ValueError(str(error)) from None
    if not fits:
        raise ValueError(f'an array of shape {list(image.shape)} holds no {message.encoding} pixels; name another encoding')
    return message


def result_of(response: Infer.Response) -> InferenceResult:
    """Return the result in an answer.

    :raises InferenceError: if there is none.
    """
    if not response.success:
        raise _ERRORS.get(response.status, InferenceRefusedError)(response.message)
    result, mask = response.result, response.mask
    return InferenceResult(
        frame_number=result.frame_number, plan_version=result.plan_version, latency_seconds=result.latency_seconds,
        message=response.message, outputs={tensor.name: tensor_array(tensor) for tensor in result.outputs},
        classes=tuple(map(_score, response.classes)),
        detections=tuple(map(_box, response.detections)),
        mask=np.frombuffer(mask.data, np.uint8).reshape(mask.height, mask.width) if mask.height else None,
    )  # fmt: skip


def _box(message: Detection) -> Box:
    points = tuple(Keypoint(point.x, point.y, point.score) for point in message.keypoints)
    return Box(message.left, message.top, message.right, message.bottom, _score(message.what), message.angle, points)


def _score(message: ClassScore) -> Score:
    return Score(message.index, message.label, message.score)
