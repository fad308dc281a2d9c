# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 and ResNet-50 (He et al. 2015; the stride in the 3x3 convolution)."""

from __future__ import annotations

from torch import nn

from edge_dnn_partition.graph.zoo.blocks import Residual, convolution, head


def resnet18(*, width: int = 64, classes: int = 1000) -> nn.Module:
    """Return ResNet-18."""
    return _resnet((2, 2, 2, 2), width, classes, expansion=1)


def resnet50(*, width: int = 64, classes: int = 1000) -> nn.Module:
    """Return ResNet-50."""
    return _resnet((3, 4, 6, 3), width, classes, expansion=4)


def _resnet(depths: tuple[int, ...], width: int, classes: int, *, expansion: int) -> nn.Module:
    layers: list[nn.Module] = [convolution(3, width, 7, stride=2), nn.MaxPool2d(3, 2, padding=1)]
    before = width
    for level, depth in enumerate(depths):
        inner = width << level
        after = inner * expansion
        for block in range(depth):
            stride = 2 if level and not block else 1
            body = _basic(before, inner, stride) if expansion == 1 else _bottleneck(before, inner, after, stride)
            plain = stride == 1 and before == after
            shortcut = nn.Identity() if plain else convolution(before, after, 1, stride=stride, activation=None)
            layers.append(Residual(body, shortcut, nn.ReLU()))
            before = after
    return nn.Sequential(*layers, head(before, classes))


def _basic(before: int, inner: int, stride: int) -> nn.Module:
    return nn.Sequential(convolution(before, inner, 3, stride=stride), convolution(inner, inner, 3, activation=None))


def _bottleneck(before: int, inner: int, after: int, stride: int) -> nn.Module:
    return nn.Sequential(convolution(before, inner, 1), convolution(inner, inner, 3, stride=stride),
                         convolution(inner, after, 1, activation=None))
