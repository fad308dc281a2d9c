# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What a device is profiled with: images, and what encodings make of them where the camera gives pixels; constants."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from edge_dnn_partition.errors import UserError, WireError
from edge_dnn_partition.execution.profiling.coding_profile import Segments, compare, fastest
from edge_dnn_partition.graph.shapes import FIRST_INPUT
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing
from edge_dnn_partition.inputs.image import Pixels, decode_depth, is_depth
from edge_dnn_partition.inputs.images import encode, image_folder, made_up, made_up_depth, sample_image
from edge_dnn_partition.inputs.kinds import ImageKind
from edge_dnn_partition.inputs.preprocess import Preprocessing
from edge_dnn_partition.planning.fleet import inputs
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.planning.fleet.inputs import Camera, cameras_of
from edge_dnn_partition.planning.plans.encodings import IMAGE_ENCODINGS, JPEG, RAW, TensorCoding
from edge_dnn_partition.planning.plans.plan import IMAGE, image_name
from edge_dnn_partition.transport import tensor_codec
from edge_dnn_partition.transport.tensors import Array, Coded

COUNT: Final = 4
"""So many images an encoding's error is measured on, at most."""


class Samples(Protocol):
    """Values like those of frames."""

    @property
    def key(self) -> str:
        """What tells these samples from others."""

    @property
    def bytes(self) -> float:
        """What an image has on average that encodings are measured on; 0: there is none."""

    def prepare(self) -> None:
        """Do what the preprocessing of a frame does, to be timed."""

    def prepared(self) -> list[dict[str, Array]]:
        """Return inputs of the model, by name, for each sample."""

    def codings(self, segments: Segments) -> tuple[TensorCoding, ...]:
        """Measure the encodings of images on this device."""


@dataclass(frozen=True, eq=False)
class ImageSamples:
    """Images as one camera gives them; made when they are first asked for, which a profile from the cache never does.

    :param make: returns an image that times the preprocessing, and those that show what encodings lose.
    :param identity: what tells these images from others.
    :param entry: the model's input that is made of them.
    """

    preprocessing: Preprocessing
    make: Callable[[], tuple[CameraImage, ...]]
    identity: str
    entry: str = FIRST_INPUT

    @classmethod
    def of(cls, preprocessing: Preprocessing, timed: CameraImage, images: Sequence[CameraImage], entry: str = FIRST_INPUT
           ) -> ImageSamples:  # fmt: skip
        """Return samples that are there already."""
        return cls(preprocessing, lambda: (timed, *images), _content((timed, *images)), entry)

    @cached_property
    def _made(self) -> tuple[CameraImage, ...]:
        return self.make()

    @property
    def timed(self) -> CameraImage:
        """Times the preprocessing."""
        return self._made[0]

    @property
    def images(self) -> tuple[CameraImage, ...]:
        """Show what encodings lose."""
        return self._made[1:]

    def prepare(self) -> None:
        """Prepare the timed image."""
        self._prepared(self.timed)

    def prepared(self) -> list[dict[str, Array]]:
        """Return the model's input for each image."""
        return [{self.entry: self._prepared(image)} for image in self.images]

    def _prepared(self, image: CameraImage) -> Array:
        return self.preprocessing.apply(image.data, image.encoding)

    @property
    def key(self) -> str:
        """What tells these samples from others."""
        return hashlib.sha256(f'{self.preprocessing!r} {self.identity}'.encode()).hexdigest()

    @property
    def bytes(self) -> float:
        """What an image has on average that encodings are measured on."""
        return sum(image.data.nbytes for image in self.images) / len(self.images)

    def codings(self, segments: Segments) -> tuple[TensorCoding, ...]:
        """Measure the encodings of the images on this device: their mean bytes and seconds, and the largest error.

        Those that save no bytes are left out, and so are all where the camera's images are compressed already. JPEG's
        decoding is what the preprocessing takes longer with it.
        """
        found = []
        for encoding in IMAGE_ENCODINGS:
            if encoding == RAW or (encoding != JPEG and encoding not in tensor_codec.available()):
                continue
            fit = [one for one in self.images if not (one.is_compressed or (encoding == JPEG and is_depth(one.encoding)))]
            rows = [self._coded(image, encoding, segments) for image in fit]
            size, encoding_seconds, decoding_seconds, errors, changed = zip(*rows, strict=True) if rows else ((),) * 5
            if rows and np.mean(size) < self.bytes:
                found.append(TensorCoding(
                    IMAGE, encoding, round(float(np.mean(size))), float(np.mean(encoding_seconds)),
                    float(np.mean(decoding_seconds)), max(errors), any(changed),
                ))  # fmt: skip
        return tuple(found)

    def _coded(self, image: CameraImage, encoding: str, segments: Segments) -> tuple[int, float, float, float, bool]:
        """Return an image's bytes, seconds to encode and to decode, error, and whether another class comes out first."""
        codec = ImageKind()
        data, kind = codec.encode(image, encoding)
        seconds = fastest(partial(codec.encode, image, encoding))
        if isinstance(data, Coded):
            coded = tensor_codec.encode(image.data, encoding)
            assert isinstance(coded, Coded)
            return data.data.nbytes, seconds, fastest(partial(tensor_codec.decode, coded)), 0.0, False
        if kind == image.encoding:
            return data.nbytes, seconds, 0.0, 0.0, False
        plain = fastest(partial(self._prepared, image))
        slower = fastest(partial(self.preprocessing.apply, data, kind))
        exact, changed = (segments.run(segments.inputs({self.entry: self.preprocessing.apply(*p)})) for p in (
            (image.data, image.encoding), (data, kind)))  # fmt: skip
        return data.nbytes, seconds, max(0.0, slower - plain), *compare(exact, changed, segments.outputs)


@dataclass(frozen=True, eq=False)
class InputSamples:
    """Samples for a model with several inputs; those that are in neither are made up.

    :param cameras: in the order of the model's inputs.
    :param constants: by the model's input.
    """

    cameras: tuple[ImageSamples, ...] = ()
    constants: Mapping[str, Array] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """What tells these samples from others."""
        if len(self.cameras) == 1 and not self.constants:
            return self.cameras[0].key
        found = hashlib.sha256()
        for camera in self.cameras:
            found.update(f'{camera.entry} {camera.key}'.encode())
        for name, value in self.constants.items():
            found.update(name.encode() + value.tobytes())
        return found.hexdigest()

    @property
    def bytes(self) -> float:
        """What an image of the first camera has on average; 0: there is none."""
        return self.cameras[0].bytes if self.cameras else 0.0

    def prepare(self) -> None:
        """Prepare the timed image of each camera."""
        for camera in self.cameras:
            camera.prepare()

    def prepared(self) -> list[dict[str, Array]]:
        """Return what is known of the model's inputs, as often as the camera with the most images has one."""
        each = [camera.prepared() for camera in self.cameras]
        count = max(map(len, each), default=COUNT // 2)
        return [{**self.constants, **{k: v for one in each for k, v in one[i % len(one)].items()}} for i in range(count)]

    def codings(self, segments: Segments) -> tuple[TensorCoding, ...]:
        """Measure the encodings of each camera's images; see `ImageSamples.codings`.

        A further camera's are noted as if its images were as large as the first one's: they count per raw byte.
        """
        found: list[TensorCoding] = []
        for number, camera in enumerate(self.cameras):
            share = self.bytes / camera.bytes
            found += (
                replace(
                    coding, tensor=image_name(number, camera.entry), size=round(coding.size * share),
                    encode_seconds=coding.encode_seconds * share, decode_seconds=coding.decode_seconds * share,
                )
                for coding in camera.codings(segments)
            )  # fmt: skip
        return tuple(found)


def samples_for(fleet: Fleet, preprocessing: FramePreprocessing) -> InputSamples:
    """Return samples for the model of a fleet: of each camera, and the constants."""
    parameters = fleet.parameters.get('frame_source', {})
    cameras = []
    for name, camera in cameras_of(fleet, preprocessing.inputs).items():
        found = samples_of(camera, preprocessing.images[name], raw=inputs.gives_pixels(camera, parameters))
        cameras.append(replace(found, entry=name))
    return InputSamples(tuple(cameras), preprocessing.constants)


def gives_pixels(fleet: Fleet) -> bool:
    """Return whether a fleet's ``camera``, or who asks if there is none, gives images as pixels, as far as the fleet file says."""
    return inputs.gives_pixels(fleet.camera, fleet.parameters.get('frame_source', {}))


def samples_of(camera: Camera, preprocessing: Preprocessing, *, raw: bool) -> ImageSamples:
    """Return images like the camera's: those given for it, else crops of photographs, else made-up ones.

    :param raw: the camera gives pixels.
    """
    given, depth = tuple(_given(camera)), preprocessing.colour == 'depth'

    def make() -> tuple[CameraImage, ...]:
        if depth:
            chosen = given or tuple(map(made_up_depth, range(COUNT)))
        else:
            chosen = given or tuple(itertools.islice(_photographs(), COUNT)) or tuple(map(made_up, range(COUNT)))
        timed = chosen[0] if given or depth else sample_image(camera)
        return tuple(_pixels(image, preprocessing) if raw else image for image in (timed, *chosen))

    made_of = _content(given) if given else 'photographs' if find_spec('sklearn') is not None and not depth else 'made up'
    return ImageSamples(preprocessing, make, f'{made_of} {"pixels" if raw else "files"}')


def samples_of_files(paths: Sequence[str], preprocessing: Preprocessing, *, raw: bool) -> ImageSamples:
    """Return images that were named one by one, the first of them the timed one.

    :param raw: the camera gives pixels.
    :raises UserError: if a file cannot be read.
    :raises WireError: if it holds no image.
    """
    chosen = []
    for path in paths:
        try:
            data = np.frombuffer(Path(path).read_bytes(), np.uint8)
        except OSError as error:
            raise UserError(f'{path}: {error.strerror}; give a JPEG or PNG file') from None
        image = CameraImage.of_bytes(data)
        preprocessing.apply(image.data, image.encoding)
        chosen.append(_pixels(image, preprocessing) if raw else image)
    return ImageSamples.of(preprocessing, chosen[0], chosen)


def _content(images: Iterable[CameraImage]) -> str:
    found = hashlib.sha256()
    for image in images:
        found.update(image.encoding.encode() + repr(image.data.shape).encode() + image.data.tobytes())
    return found.hexdigest()


def _given(camera: Camera) -> Iterator[CameraImage]:
    folder = camera.samples or camera.images
    seen: set[bytes] = set()
    try:
        for image in itertools.islice(image_folder(folder), COUNT) if folder is not None else ():
            if (content := image.data.tobytes()) not in seen:  # a folder begins anew after its last image
                seen.add(content)
                yield image
    except (UserError, OSError, WireError):
        return


def _pixels(image: CameraImage, preprocessing: Preprocessing) -> CameraImage:
    if not image.is_compressed:
        return image
    if preprocessing.colour != 'depth':
        return CameraImage(image.pixels(), 'bgr8')
    millimetres = np.round(1000 * decode_depth(image.data, image.encoding, width=0, height=0)).astype('<u2')
    return CameraImage(millimetres.view(np.uint8).reshape(*millimetres.shape, 2), '16UC1')


def _photographs() -> Iterator[CameraImage]:
    """Yield crops of the photographs that come with scikit-learn, as JPEG; none without it.

    The crops begin between the 8 x 8 blocks of the JPEG files, every second one is mirrored: else a second JPEG would lose
    next to nothing.
    """
    import cv2

    package = find_spec('sklearn')
    folder = Path(str(package.origin)).parent / 'datasets' / 'images' if package is not None else None
    photographs: list[Any] = [cv2.imread(str(file)) for file in sorted(folder.glob('*.jpg'))] if folder is not None else []
    random = np.random.default_rng(0)
    for number in itertools.count() if photographs else ():
        pixels: Pixels = photographs[number // 2 % len(photographs)]
        top, left, bottom, right = random.choice((3, 5, 11, 13), 4)
        crop = pixels[top:-bottom, left:-right]
        yield encode(np.ascontiguousarray(crop[:, ::-1] if number % 2 else crop), 95)
