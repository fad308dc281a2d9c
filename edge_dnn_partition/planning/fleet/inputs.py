# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet file's ``inputs``: where each input of the model comes from (docs/inputs.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from edge_dnn_partition.errors import PlanError, nearest
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.planning.plans.model_inputs import ModelInputs
from edge_dnn_partition.planning.plans.plan import image_name
from edge_dnn_partition.schema import FilePath, Seconds, Strict, describe
from edge_dnn_partition.units import shortened

if TYPE_CHECKING:
    from .fleet import Fleet

GROUP: Final = 'edge_dnn_partition.inputs'
"""Of the entry points of further kinds."""
_TOPIC: Final = re.compile(r'(?:~/|/)?[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z_][A-Za-z0-9_]*)*')
_TYPE: Final = re.compile(r'[a-z][a-z0-9_]*/(?:msg/)?[A-Z][A-Za-z0-9]*')


def check_topic(given: str) -> str:
    """Return a topic's name.

    :raises ValueError: if it is none.
    """
    if not _TOPIC.fullmatch(given):
        raise ValueError(f'{shortened(given)!r} is not a ROS topic; write one such as image/compressed')
    return given


def _type(given: str) -> str:
    if not _TYPE.fullmatch(given):
        raise ValueError(f'{shortened(given)!r} is not a message type; write one such as sensor_msgs/msg/JointState')
    return given


Topic = Annotated[str, AfterValidator(check_topic)]
MessageType = Annotated[str, AfterValidator(_type)]


class Camera(Strict):
    """Where images come from: a topic, a folder of images, a video file or the number of a camera."""

    topic: Topic | None = None
    images: FilePath | None = None
    video: FilePath | None = None
    camera: int | None = None
    samples: FilePath | None = None
    """A folder of images like the camera's, to profile with."""
    rate: float = Field(default=10.0, gt=0, le=1000)
    compressed: bool = True

    @model_validator(mode='after')
    def _one(self) -> Camera:
        given = [name for name in ('topic', 'images', 'video', 'camera') if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f'give one of topic, images, video, camera; not {" and ".join(given)}')
        return self


    @property
    def given(self) -> bool:
        """Whether it says where images come from."""
        return any(value is not None for value in (self.topic, self.images, self.video, self.camera))


class Input(Strict):
    """One input of the model. A ``private`` one is not sent off the source: what reads it runs there."""

    kind: str
    private: bool = False


class ImageInput(Camera, Input):
    """A camera's image, which the preprocessing makes the input of."""

    preprocessing: FilePath

    @model_validator(mode='after')
    def _some(self) -> ImageInput:
        if not self.given:
            raise ValueError('give one of topic, images, video, camera')
        return self


class MessageInput(Input):
    """The numbers in a topic's messages: one ``field``, several one after the other, or ``fields`` of each point of a cloud.

    A number becomes ``(number * scale - mean) / std``; one that is not finite is ``invalid`` first.
    """

    topic: Topic
    type: MessageType
    field: str | None = None
    fields: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Of the joints, in the model's order."""
    points: int | None = Field(default=None, gt=0, le=10_000_000)
    image: str | None = None
    """Of CameraInfo's k: the input whose image it is of, as the preprocessing resizes it."""
    latest: bool = False
    """Each frame takes the newest message, however old it is, and does not wait for one of its own."""
    invalid: float | None = None
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @model_validator(mode='after')
    def _together(self) -> MessageInput:
        if self.field is not None and self.fields:
            raise ValueError('give either field or fields')
        if min(self.std, default=0) <= 0 or not self.mean:
            raise ValueError('mean and std are one number or one for each value, and std is above 0')
        return self


class ConstantInput(Input):
    """The same value for each frame, known to every device."""

    value: Any = None
    file: FilePath | None = None
    """Of NumPy (``.npy``)."""

    @model_validator(mode='after')
    def _one(self) -> ConstantInput:
        if (self.value is None) == (self.file is None):
            raise ValueError('give either value or file')
        return self


class StateInput(Input):
    """What an output was for the frame before; for the first one ``initial``, or the array in ``file`` (``.npy``)."""

    output: str
    initial: float = 0.0
    file: FilePath | None = None


class OtherInput(Input):
    """Of a kind that another package brings; its keys are checked there."""

    model_config = ConfigDict(extra='allow')


class Synchronise(Strict):
    """Which messages of several topics make a frame: each of ``reference`` (the first input that the file names), with those of
    the others whose stamps are nearest, at most ``slop`` away. It waits for them for ``wait`` at most.
    """

    slop: Seconds = 0.05
    wait: Seconds = 1.0
    reference: str | None = None


BUILT_IN: Final[Mapping[str, type[Input]]] = {
    'image': ImageInput, 'message': MessageInput, 'constant': ConstantInput, 'state': StateInput,
}  # fmt: skip


@cache
def other_kinds() -> frozenset[str]:
    """Return the kinds that other packages bring."""
    return frozenset(point.name for point in entry_points(group=GROUP)) - BUILT_IN.keys()


def _read(given: Any, info: ValidationInfo) -> Any:
    if isinstance(given, Input):
        return given
    known = [*BUILT_IN, *sorted(other_kinds())]
    if not isinstance(given, Mapping):
        raise ValueError(f'write a table such as {{kind: image, …}}, not {shortened(repr(given))}')
    if 'kind' not in given:
        raise ValueError(f'kind is missing; choose {", ".join(known)}')
    if given['kind'] not in known:
        raise ValueError(f'kind: there is no {given["kind"]!r}{nearest(str(given["kind"]), known)}')
    schema = BUILT_IN.get(given['kind'], OtherInput)
    try:
        return schema.model_validate(dict(given), context=info.context)
    except ValidationError as error:
        raise ValueError(describe(error, schema)) from None


AnyInput = Annotated[SerializeAsAny[Input], BeforeValidator(_read)]
"""Of the class that its kind says."""


def cameras_of(fleet: Fleet, inputs: ModelInputs) -> dict[str, Camera]:
    """Return where the images come from, by the model's input: as ``inputs`` says, else from ``camera``."""
    named = {name: fleet.inputs.get(name) for name in inputs.images}
    return {name: given if isinstance(given, ImageInput) else fleet.camera for name, given in named.items()}


def states_of(fleet: Fleet) -> dict[str, str]:
    """Return what a fleet's model carries from frame to frame: outputs by the inputs that they become."""
    return {name: given.output for name, given in fleet.inputs.items() if isinstance(given, StateInput)}


def gives_pixels(camera: Camera, parameters: Mapping[str, Any]) -> bool:
    """Return whether a camera, or who asks if there is none, gives images as pixels, as far as the fleet file says.

    :param parameters: of the frame source, as they stand in the file.
    """
    if all(given is None for given in (camera.images, camera.video, camera.camera)):
        return not (camera.compressed and parameters.get('compressed', True))
    return camera.images is None and parameters.get('jpeg_quality') == 0


def place_of(fleet: Fleet, name: str) -> str:
    """Return the keys under which a fleet file says where the images for a model's input come from."""
    return f'inputs.{name}' if name in fleet.inputs else 'camera'


def model_inputs(fleet: Fleet, model: Model) -> ModelInputs:
    """Return where the inputs of a fleet's model arise.

    An input that the file does not name comes by ``infer`` alone, except the first one where ``model.preprocessing`` makes it.

    :raises PlanError: if the file names an input or output that the model does not have, or one input twice.
    """
    named = fleet.inputs
    for name in named:
        if name not in model.inputs:
            raise PlanError(f'inputs: {model.name} has no input {name!r}{nearest(name, model.inputs)}')
    short = fleet.model is None or fleet.model.preprocessing is not None
    first = model.inputs[0] if model.inputs else ''
    if short and first in named:
        raise PlanError(f'inputs.{first}: model.preprocessing makes it of the camera already; remove one of the two')
    made = [name for name in model.inputs if (name == first and short) or isinstance(named.get(name), ImageInput)]
    states = states_of(fleet)
    for name, output in states.items():
        if output not in model.outputs:
            raise PlanError(f'inputs.{name}.output: {model.name} has no output {output!r}{nearest(output, model.outputs)}')
    constants = frozenset(name for name, given in named.items() if isinstance(given, ConstantInput))
    return ModelInputs(
        images={name: image_name(number, name) for number, name in enumerate(made)},
        tensors=tuple(name for name in model.inputs if name not in {*made, *constants, *states}),
        constants=constants, states=states, private=frozenset(name for name, given in named.items() if given.private),
    )  # fmt: skip
