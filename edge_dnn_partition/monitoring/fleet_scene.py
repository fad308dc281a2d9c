# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet as shapes in space, for rviz: devices as boxes, links as lines, words above them. Pure geometry, in metres."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge_dnn_partition.planning.plans.plan import Plan
from edge_dnn_partition.units import format_rate

Point = tuple[float, float, float]
Colour = tuple[float, float, float, float]
"""Red, green, blue, alpha; 0 to 1."""

RADIUS: Final = 2.0
BOX: Final = 0.7
_LEAST_HEIGHT: Final = 0.15
_FULL_HEIGHT: Final = 1.0
_LEAST_WIDTH: Final = 0.015
_MOST_WIDTH: Final = 0.12
GONE: Final[Colour] = (0.5, 0.5, 0.5, 0.4)
IDLE_LINK: Final[Colour] = (0.6, 0.6, 0.65, 0.6)
USED_LINK: Final[Colour] = (0.2, 0.45, 0.9, 0.95)
WORDS: Final[Colour] = (0.95, 0.95, 0.95, 1.0)


@dataclass(frozen=True)
class DeviceLook:
    """What is known of a device; ``load`` is its CPU, 0 to 1, and ``watts`` its power, both NaN if unknown."""

    name: str
    alive: bool
    load: float
    watts: float
    energy_kind: str = ''


@dataclass(frozen=True)
class LinkLook:
    """What is known of one direction of a link."""

    sender: str
    receiver: str
    bytes_per_second: float
    latency_seconds: float
    measured: bool


@dataclass(frozen=True)
class Box:
    """A device. ``centre`` is that of a box of ``size``, which stands on the ground."""

    name: str
    centre: Point
    size: Point
    colour: Colour


@dataclass(frozen=True)
class Line:
    """A link, both directions as one; ``width`` follows the slower one's bandwidth."""

    name: str
    start: Point
    end: Point
    width: float
    colour: Colour


@dataclass(frozen=True)
class Label:
    """Words that face the viewer; ``height`` is that of a capital letter."""

    name: str
    position: Point
    text: str
    height: float


@dataclass(frozen=True)
class Scene:
    """All of a fleet's shapes; names are unique within each kind."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]


def load_colour(load: float) -> Colour:
    """Return green for an idle device, by yellow to red for a busy one; blue-grey where the load is unknown."""
    if math.isnan(load):
        return (0.45, 0.55, 0.65, 0.9)
    share = min(1.0, max(0.0, load))
    return (min(1.0, 0.2 + 1.4 * share), min(0.8, 1.5 * (1.0 - share) + 0.1), 0.2, 0.9)


def link_width(bytes_per_second: float) -> float:
    """Return a line's width: four decades, 100 kbit/s to 1 Gbit/s, from the thinnest to the thickest."""
    if not bytes_per_second > 0:
        return _LEAST_WIDTH
    share = (math.log10(bytes_per_second * 8) - 5.0) / 4.0
    return _LEAST_WIDTH + (_MOST_WIDTH - _LEAST_WIDTH) * min(1.0, max(0.0, share))


def places(names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return where each device stands: on a circle, the first one to the left; one alone in the middle."""
    if len(names) == 1:
        return {names[0]: (0.0, 0.0)}
    angles = (math.pi + 2 * math.pi * i / len(names) for i in range(len(names)))
    return {name: (RADIUS * math.cos(a), RADIUS * math.sin(a)) for name, a in zip(names, angles, strict=True)}


def used_pairs(plan: Plan | None) -> frozenset[frozenset[str]]:
    """Return the pairs of devices between which a plan sends something."""
    if plan is None:
        return frozenset()
    return frozenset(frozenset((t.from_device, t.to_device)) for t in plan.transfers if t.from_device != t.to_device)


def stage_words(plan: Plan | None, device: str) -> str:
    """Return what a device runs under a plan, such as ``decode, layers 0–6``; empty if nothing."""
    parts = []
    for stage in plan.stages if plan is not None else ():
        if stage.device == device:
            parts += ['decode'] if stage.preprocess else []
            parts += [f'layers {a}–{b - 1}' if b - a > 1 else f'layer {a}' for a, b in stage.layers]
    return ', '.join(parts)


def scene(devices: Sequence[DeviceLook], links: Sequence[LinkLook], plan: Plan | None) -> Scene:
    """Return a fleet's shapes.

    :param devices: in the order in which they stand around the circle.
    :param links: one-way; those between the same two devices become one line. Unknown devices are left out.
    :param plan: the one in force; None: none yet.
    """
    at = places([device.name for device in devices])
    boxes, labels = [], []
    for device in devices:
        x, y = at[device.name]
        load = 0.0 if math.isnan(device.load) else min(1.0, max(0.0, device.load))
        height = _LEAST_HEIGHT + (_FULL_HEIGHT - _LEAST_HEIGHT) * load
        colour = load_colour(device.load) if device.alive else GONE
        boxes.append(Box(device.name, (x, y, height / 2), (BOX, BOX, height), colour))
        words = [device.name if device.alive else f'{device.name} (gone)', stage_words(plan, device.name) or 'no layers']
        if device.alive:
            load_text = '' if math.isnan(device.load) else f'CPU {device.load:.0%}'
            power_text = '' if math.isnan(device.watts) else f'{device.watts:.1f} W {device.energy_kind}'.strip()
            words += [', '.join(part for part in (load_text, power_text) if part)]
        labels.append(Label(device.name, (x, y, height + 0.45), '\n'.join(word for word in words if word), 0.16))
    lines, link_labels = _links(links, at, used_pairs(plan))
    if plan is not None:
        text = f'plan {plan.version}: {plan.label()}' + (f'\n{plan.reason}' if plan.reason else '')
        labels.append(Label('plan', (0.0, 0.0, 2.2), text, 0.2))
    return Scene(tuple(boxes), tuple(lines), (*labels, *link_labels))


def _links(
    links: Sequence[LinkLook], at: Mapping[str, tuple[float, float]], used: frozenset[frozenset[str]]
) -> tuple[list[Line], list[Label]]:
    pairs: dict[tuple[str, str], list[LinkLook]] = {}
    for link in links:
        if link.sender in at and link.receiver in at and link.sender != link.receiver:
            a, b = sorted((link.sender, link.receiver))
            pairs.setdefault((a, b), []).append(link)
    lines, labels = [], []
    for (a, b), both in sorted(pairs.items()):
        rate = min(link.bytes_per_second for link in both)
        latency = max(link.latency_seconds for link in both)
        guess = '' if all(link.measured for link in both) else ' (guess)'
        (ax, ay), (bx, by) = at[a], at[b]
        colour = USED_LINK if frozenset((a, b)) in used else IDLE_LINK
        lines.append(Line(f'{a} {b}', (ax, ay, 0.1), (bx, by, 0.1), link_width(rate), colour))
        words = f'{format_rate(rate)}{guess}, {latency * 1e3:.1f} ms'
        labels.append(Label(f'{a} {b}', ((ax + bx) / 2, (ay + by) / 2, 0.35), words, 0.13))
    return lines, labels
