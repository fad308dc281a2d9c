# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The numbers in a ROS message as an input of the model. Messages are known by their fields alone; nothing here imports ROS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError, WireError, nearest
from edge_dnn_partition.graph.model import Model, TensorInfo
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.fleet.inputs import GROUP, ImageInput, MessageInput, OtherInput, model_inputs
from edge_dnn_partition.transport.tensors import DTYPES

from .point_cloud import laid_out, points_of
from .preprocess import Preprocessing

Array = NDArray[Any]
_TENSOR: Final = 'TensorData'
_CLOUD: Final = 'PointCloud2'


class Reader(Protocol):
    """Makes one of the model's inputs of a topic's messages."""

    @property
    def topic(self) -> str:
        """Which topic."""

    @property
    def type(self) -> str:
        """Of its messages, such as ``sensor_msgs/msg/Imu``."""

    @property
    def latest(self) -> bool:
        """Whether a frame takes the newest message, however old it is."""

    @property
    def missing(self) -> str:
        """What no message has told of yet, in words."""

    def __call__(self, message: Any) -> Array | None:
        """Return the input, in the model's dtype and shape; None while something is missing.

        :raises WireError: if the message does not have it.
        """


Factory = Callable[[Mapping[str, Any], TensorInfo, Path], Reader]
"""Of a further kind: takes its other keys in the fleet file, what the model wants, and the folder of relative paths."""


def readers_of(fleet: Fleet, model: Model, base: Path) -> dict[str, Reader]:
    """Return what reads the inputs of a fleet's model that come in messages, by input.

    Further kinds are entry points in the group ``edge_dnn_partition.inputs``, each a `Factory`.

    :param base: the folder that relative paths start from.
    :raises UserError: if the keys of one do not go together, or not with the model's input.
    """
    readers: dict[str, Reader] = {}
    for name, given in fleet.inputs.items():
        if isinstance(given, MessageInput):
            preprocessing = None if given.image is None else _preprocessing_of(fleet, model, name, given)
            readers[name] = MessageReader(name, given, model.tensors[name], preprocessing)
        elif isinstance(given, OtherInput):
            factory: Factory = next(point for point in entry_points(group=GROUP) if point.name == given.kind).load()
            reader = factory(given.model_extra or {}, model.tensors[name], base)
            readers[name] = _Checked(name, reader, model.tensors[name])
    return readers


def _preprocessing_of(fleet: Fleet, model: Model, name: str, given: MessageInput) -> Preprocessing:
    """Return what resizes the image that a camera matrix is of."""
    if given.type.rpartition('/')[2] != 'CameraInfo' or given.field != 'k':
        raise UserError(f'inputs.{name}.image: it belongs to type: sensor_msgs/msg/CameraInfo with field: k')
    images = list(model_inputs(fleet, model).images)
    if given.image not in images:
        close = nearest(str(given.image), images)
        raise UserError(f'inputs.{name}.image: {given.image!r} is not made of an image{close}; such are {", ".join(images)}')
    named = fleet.inputs.get(given.image)
    file = named.preprocessing if isinstance(named, ImageInput) else None
    if file is None and fleet.model is not None:
        file = fleet.model.preprocessing
    assert file is not None
    return Preprocessing.from_yaml(file)


def message_class(name: str, reader: Reader) -> type:
    """Return the class of the messages that an input comes in; their package is imported.

    :param name: of the input, for errors.
    :raises UserError: if there is no such type here, or it lacks a field that the fleet file names.
    """
    package, _, message = reader.type.partition('/')
    try:
        found: type = getattr(import_module(f'{package}.msg'), message.rpartition('/')[2])
    except (ImportError, AttributeError):
        raise UserError(f'inputs.{name}.type: there is no {reader.type} here; install {package}, or source its workspace') from None
    known = list(_fields_of(found))
    for path in reader.paths if isinstance(reader, MessageReader) else ():
        if (first := path.split('.')[0]) not in known:
            its = ', '.join(known)
            raise UserError(f'inputs.{name}: {reader.type} has no field {first!r}{nearest(first, known)}; it has {its}')
    return found


class _Checked:
    """A reader of a further kind, whose arrays are checked."""

    latest = False
    missing = 'all it needs'

    def __init__(self, name: str, reader: Reader, tensor: TensorInfo) -> None:
        self._name, self._reader, self._tensor = name, reader, tensor
        self.topic, self.type = reader.topic, reader.type
        self.latest = getattr(reader, 'latest', False)

    def __call__(self, message: Any) -> Array | None:
        value = self._reader(message)
        if value is None:
            return None
        if value.dtype != DTYPES[self._tensor.dtype] or value.shape != self._tensor.shape:
            raise WireError(
                f'inputs.{self._name}: its kind made {value.dtype} {list(value.shape)} of {self.topic}; the model takes '
                f'{DTYPES[self._tensor.dtype]} {list(self._tensor.shape)}'
            )
        return value


class MessageReader:
    """Makes one of the model's inputs of messages. With ``names`` it remembers, as arms and grippers often tell of their joints
    in messages of their own.

    :param name: of the model's input, for errors.
    :param given: what the fleet file says of it.
    :param tensor: what the model wants.
    :param preprocessing: of the image whose camera matrix the messages have; None: the numbers count as they are.
    :raises UserError: if the fleet file's keys do not go together, or not with the model's input.
    """

    def __init__(
        self, name: str, given: MessageInput, tensor: TensorInfo, preprocessing: Preprocessing | None = None
    ) -> None:
        self._preprocessing = preprocessing
        self._what, self._given, self._tensor = f'inputs.{name}', given, tensor
        self.topic, self.type, self.latest = given.topic, given.type, given.latest
        self._dtype, self._shape = DTYPES[tensor.dtype], tuple(tensor.shape)
        self._kind = given.type.rpartition('/')[2]
        self._fields = given.fields or ((given.field,) if given.field else ())
        self._seen: dict[str, list[Any]] = {}
        if self._kind == _CLOUD:
            laid_out(np.zeros((0, len(self._fields))), self._shape, given.points, self._what)
        elif self._kind != _TENSOR and not self._fields:
            if not given.type.startswith('std_msgs/'):
                raise UserError(f'{self._what}: say which field of {given.type}, such as field: position')
            self._fields = ('data',)

    def __call__(self, message: Any) -> Array | None:
        """Return a message's numbers in the dtype and shape of the model's input; None while joints are missing that were named.

        :raises WireError: if the message does not have them.
        """
        if self._kind == _TENSOR:
            return self._whole(message)
        if self._kind == _CLOUD:
            points = self._finite(points_of(message, self._fields))
            return self._cast(laid_out(self._scaled(points), self._shape, self._given.points, self._what))
        if self._given.names:
            self._remember(message)
            if not self._seen.keys() >= set(self._given.names):
                return None
            columns = [self._seen[joint] for joint in self._given.names]
            values = np.asarray([value for field in zip(*columns, strict=True) for value in field])
        else:
            values = np.concatenate([numbers_in(message, path) for path in self._fields])
        if self._preprocessing is not None:
            if min(message.width, message.height) == 0:
                raise WireError(f'{self._what}: {self._given.topic} tells of no image size; check its publisher')
            values = self._preprocessing.intrinsics(values, (message.width, message.height)).reshape(-1)
        size = math.prod(self._shape)
        if size >= 0 and values.size != size:
            hint = '; choose with names' if hasattr(message, 'name') and not self._given.names else ''
            raise WireError(
                f'{self._what}: {" and ".join(self._fields)} of {self._given.topic} has {values.size} values, '
                f'but the model takes {size}{hint}'
            )
        return self._cast(self._scaled(self._finite(values))).reshape(self._shape)

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields of a message that are read."""
        return () if self._kind in (_TENSOR, _CLOUD) else self._fields

    @property
    def missing(self) -> str:
        """The joints that were named and that no message has told of yet."""
        return ', '.join(joint for joint in self._given.names if joint not in self._seen)

    def _remember(self, message: Any) -> None:
        names = list(getattr(message, 'name', ()))
        columns = [numbers_in(message, path) for path in self._fields]
        for path, column in zip(self._fields, columns, strict=True):
            if len(column) != len(names):
                raise WireError(f'{self._what}: {self._given.topic} has {len(names)} names, but {len(column)} values of {path}')
        for joint, *values in zip(names, *columns, strict=True):
            if joint in self._given.names:
                self._seen[joint] = values

    def _whole(self, message: Any) -> Array:
        dtype = DTYPES.get(message.dtype)
        shape = tuple(message.shape)
        if dtype != self._dtype or len(shape) != len(self._shape) or any(
            want not in (-1, have) for want, have in zip(self._shape, shape, strict=True)
        ):
            raise WireError(
                f'{self._what}: {self._given.topic} has a tensor of ONNX element type {message.dtype} and shape {list(shape)}; '
                f'the model takes {self._tensor.dtype} and {list(self._shape)}'
            )
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(message.data):
            raise WireError(f'{self._what}: {self._given.topic} has {len(message.data)} bytes, which do not fit its shape')
        return np.frombuffer(message.data, dtype).reshape(shape)

    def _finite(self, values: Array) -> Array:
        """Put ``invalid`` in place of what is no number; of a cloud, points that have such are left out already."""
        if values.dtype.kind != 'f':
            return values
        wrong = ~np.isfinite(values)
        if not wrong.any():
            return values
        if self._given.invalid is None:
            raise WireError(
                f'{self._what}: {self._given.topic} has {int(wrong.sum())} values that are not finite; '
                'say what stands for them, such as invalid: 0.0'
            )
        return np.where(wrong, self._given.invalid, values)

    def _scaled(self, values: Array) -> Array:
        given = self._given
        if (given.scale, given.mean, given.std) == (1.0, (0.0,), (1.0,)):
            return values
        try:
            return (values.astype(np.float64) * given.scale - given.mean) / given.std
        except ValueError:
            counts = f'mean has {len(given.mean)} and std {len(given.std)}'
            raise WireError(f'{self._what}: {values.shape[-1]} values, but {counts}') from None

    def _cast(self, values: Array) -> Array:
        """Return values in the model's dtype.

        :raises WireError: if that changes them by more than rounding.
        """
        with np.errstate(over='ignore', invalid='ignore'):
            cast = values.astype(self._dtype)
        fits = np.isfinite(cast) if self._dtype.kind == 'f' else cast == values
        if not np.all(fits):
            value = values[~fits].reshape(-1)[0]
            raise WireError(f'{self._what}: {self._given.topic} has the value {value:g}, which is no {self._dtype.name}')
        return cast


def numbers_in(message: Any, path: str) -> Array:
    """Return the numbers of a message's field, flat; those of a field that is itself a message in the order of its fields.

    :param path: names with dots between them, and places in lists: ``pose.pose.position``, ``transforms.0.transform``.
    :raises WireError: if there is no such field, or it holds no numbers.
    """
    value = message
    for part in path.split('.'):
        if part.isdigit() and isinstance(value, (list, tuple)) and int(part) < len(value):
            value = value[int(part)]
        elif part in _fields_of(value):
            value = getattr(value, part)
        else:
            its = _fields_of(value)
            raise WireError(f'{type(message).__name__} has no field {path!r}: {part!r} is none of {", ".join(its) or "its values"}')
    parts = list(_flat(value))
    if not parts:
        return np.zeros(0)
    found = np.concatenate(parts)
    if found.dtype.kind not in 'biuf':
        raise WireError(f'field {path!r} of {type(message).__name__} holds no numbers')
    if path == 'data' and (layout := getattr(message, 'layout', None)) is not None:
        return found[layout.data_offset:]
    return found


def _flat(value: Any) -> Iterable[Array]:
    fields = _fields_of(value)
    if fields:
        for name in fields:
            yield from _flat(getattr(value, name))
    elif isinstance(value, (list, tuple)) and value and _fields_of(value[0]):
        for one in value:
            yield from _flat(one)
    else:
        yield np.atleast_1d(np.asarray(value)).reshape(-1)


def _fields_of(value: Any) -> Mapping[str, str]:
    fields = getattr(value, 'get_fields_and_field_types', None)
    return fields() if fields is not None else {}
