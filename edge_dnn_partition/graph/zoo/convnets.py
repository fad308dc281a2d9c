# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""AlexNet (Krizhevsky 2014, the one-column form) and VGG-16 (Simonyan and Zisserman 2014)."""

from __future__ import annotations

from torch import nn

from edge_dnn_partition.graph.zoo.blocks import initialise_plain

_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def alexnet(*, width: float = 1.0, classes: int = 1000) -> nn.Module:
    """Return AlexNet for images of at least 63 pixels."""
    a, b, c, d = (int(width * channels) for channels in (64, 192, 384, 256))
    hidden = int(width * 4096)
    return initialise_plain(nn.Sequential(
        nn.Conv2d(3, a, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(a, b, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(b, c, 3, padding=1), nn.ReLU(),
        nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
        nn.Conv2d(d, d, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(6 if width == 1.0 else 1), nn.Flatten(),
        nn.Linear(d * (36 if width == 1.0 else 1), hidden), nn.ReLU(),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)))


def vgg16(*, width: float = 1.0, classes: int = 1000) -> nn.Module:
    """Return VGG-16 for images of 224 pixels, or of 32 where it is narrow."""
    layers: list[nn.Module] = []
    before = 3
    for channels in _VGG16:
        if not channels:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(before, int(width * channels), 3, padding=1), nn.ReLU()]
        before = int(width * channels)
    hidden = int(width * 4096)
    return initialise_plain(nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(before * (49 if width == 1.0 else 1), hidden), nn.ReLU(),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)))
