# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's scenario: what befalls an emulated fleet, phase by phase, and its camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.inputs.frame import CameraImage
from edge_dnn_partition.inputs.images import encode

Link = tuple[str, str]

SLOWDOWNS: Final = {'pi': 9.0, 'jetson': 6.0, 'cloud': 1.0}
"""Time of a run over its time on one core of a machine that takes `MACHINE_SECONDS` for the demo's network."""
MACHINE_SECONDS: Final = 0.022

LINKS: Final[dict[Link, tuple[float, float]]] = {
    ('pi', 'jetson'): (20e6 / 8, 0.002),
    ('pi', 'cloud'): (8e6 / 8, 0.015),
    ('jetson', 'cloud'): (8e6 / 8, 0.015),
}
"""Rate in bytes per second and one-way latency in seconds."""


@dataclass(frozen=True)
class Phase:
    """Conditions that hold for a while.

    :param slowdowns: by device, where they differ from ``SLOWDOWNS``.
    :param rate_factors: by link, what its rate is multiplied by.
    :param stopped: a device whose worker is killed at the phase's beginning and restarted at its end.
    """

    name: str
    slowdowns: Mapping[str, float] = field(default_factory=dict)
    rate_factors: Mapping[Link, float] = field(default_factory=dict)
    stopped: str | None = None
    scheduler_killed: bool = False
    """Whether the scheduler is killed at the phase's beginning, and started anew in the middle of it."""

    def all_slowdowns(self) -> dict[str, float]:
        """Return every device's slowdown in this phase."""
        return {**SLOWDOWNS, **self.slowdowns}

    def factors(self) -> dict[str, float]:
        """Return by how much every device is slower than usual in this phase."""
        return {name: slowdown / SLOWDOWNS[name] for name, slowdown in self.all_slowdowns().items()}

    def all_links(self) -> dict[Link, tuple[float, float]]:
        """Return every link's rate and latency in this phase."""
        return {link: (rate * self.rate_factors.get(link, 1.0), delay) for link, (rate, delay) in LINKS.items()}

    def conditions(self) -> tuple[Any, ...]:
        """Return what makes two phases' conditions equal."""
        return tuple(self.all_slowdowns().items()), tuple(self.all_links().items()), self.stopped


PHASES: Final = (
    Phase('good network'),
    Phase('uplink at a tenth', rate_factors={('pi', 'cloud'): 0.1, ('jetson', 'cloud'): 0.1}),
    Phase('uplink back, Jetson busy', slowdowns={'jetson': 18.0}),
    Phase('cloud stopped', stopped='cloud'),
    Phase('back to normal'),
    Phase('scheduler killed', scheduler_killed=True),
)


def handicap(whole_seconds: float) -> float:
    """Return by how much this machine is to be slower, so that the devices are as slow as the scenario's links ask for.

    :param whole_seconds: what the demo's network takes here. A slower machine than the scenario's is left as it is.
    """
    return max(1.0, MACHINE_SECONDS / whole_seconds)


def fleet_document(model: str, preprocessing: str, *, handicap: float = 1.0) -> dict[str, Any]:
    """Return the demo's fleet as it stands in a fleet file; all devices are slower by `handicap`."""
    power = {
        'pi': {'idle': '2.7 W', 'active': '4.0 W', 'radio': '1.0 W'},
        'jetson': {'idle': '2.0 W', 'active': '8.0 W', 'radio': '1.0 W'},
        'cloud': {'active': '60 W', 'weight': 0},
    }
    return {
        'fleet': 'demo',
        'model': {'path': model, 'preprocessing': preprocessing},
        'source': 'pi',
        'objective': 'latency',
        'devices': {
            name: {'threads': 1, 'power': power[name], 'emulate': {'slowdown': slowdown * handicap}}
            for name, slowdown in SLOWDOWNS.items()
        },
        'links': [
            {'between': list(link), 'rate': f'{rate * 8e-6:g} Mbit/s', 'delay': f'{delay * 1e3:g} ms', 'emulate': True}
            for link, (rate, delay) in LINKS.items()
        ],
        'camera': {'topic': 'image/compressed', 'compressed': True},
        'parameters': {'worker': {'probe_period': 0.5}},
    }


def photographs() -> list[NDArray[np.uint8]]:
    """Return scikit-learn's two photographs, BGR ``[427, 640, 3]``.

    :raises UserError: if scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        raise UserError(
            'the demo takes its photographs from scikit-learn: pip install scikit-learn, '
            'or give --images, --video or --camera'
        ) from error
    return [np.ascontiguousarray(image[:, :, ::-1]) for image in load_sample_images().images]


def panning_camera(frames: int = 15, *, width: int = 1280, height: int = 720, quality: int = 92) -> list[CameraImage]:
    """Return the JPEG frames of a camera that pans over both photographs, side by side, and back to where it began.

    :param frames: images of one round. At the demo's 5 Hz that is 3 s, so that every fixed plan, which is
        measured for as long, gets the same images.
    """
    scale = height * 1.25 / 427
    wide = np.hstack(
        [cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for photo in photographs()]
    )
    images = []
    for step in range(frames):
        angle = 2 * np.pi * step / frames
        left = int((wide.shape[1] - width) * 0.5 * (1 - np.cos(angle)))
        top = int((wide.shape[0] - height) * 0.5 * (1 + np.sin(angle)))
        images.append(encode(np.ascontiguousarray(wide[top : top + height, left : left + width]), quality))
    return images
