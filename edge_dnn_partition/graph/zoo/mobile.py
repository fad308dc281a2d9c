# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 (Sandler et al. 2018) and EfficientNet-B0 (Tan and Le 2019)."""

from __future__ import annotations

import torch
from torch import nn

from edge_dnn_partition.graph.zoo.blocks import Residual, convolution, divisible, head

# expansion, channels, repeats, stride
_MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# the same, and the kernel
_EFFICIENT = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
              (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))


class Squeeze(nn.Module):  # type: ignore[misc]
    """Squeeze and excitation: each channel scaled by what all channels say on average."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inner, 1), nn.SiLU(),
                                   nn.Conv2d(inner, channels, 1), nn.Sigmoid())

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return the scaled channels."""
        return value * self.scale(value)


def mobilenetv2(*, width: float = 1.0, classes: int = 1000) -> nn.Module:
    """Return MobileNetV2."""
    before = divisible(32 * width)
    layers: list[nn.Module] = [convolution(3, before, 3, stride=2, activation=nn.ReLU6)]
    for expansion, channels, repeats, stride in _MOBILENET:
        after = divisible(channels * width)
        for repeat in range(repeats):
            step = stride if not repeat else 1
            inner = before * expansion
            body = nn.Sequential(
                *([convolution(before, inner, 1, activation=nn.ReLU6)] if expansion > 1 else []),
                convolution(inner, inner, 3, stride=step, groups=inner, activation=nn.ReLU6),
                convolution(inner, after, 1, activation=None))
            layers.append(_around(body, step == 1 and before == after))
            before = after
    last = divisible(1280 * max(1.0, width))
    return nn.Sequential(*layers, convolution(before, last, 1, activation=nn.ReLU6), head(last, classes))


def efficientnet_b0(*, width: float = 1.0, classes: int = 1000) -> nn.Module:
    """Return EfficientNet-B0."""
    before = divisible(32 * width)
    layers: list[nn.Module] = [convolution(3, before, 3, stride=2, activation=nn.SiLU)]
    for expansion, channels, repeats, stride, kernel in _EFFICIENT:
        after = divisible(channels * width)
        for repeat in range(repeats):
            step = stride if not repeat else 1
            inner = before * expansion
            body = nn.Sequential(
                *([convolution(before, inner, 1, activation=nn.SiLU)] if expansion > 1 else []),
                convolution(inner, inner, kernel, stride=step, groups=inner, activation=nn.SiLU),
                Squeeze(inner, max(1, before // 4)),
                convolution(inner, after, 1, activation=None))
            layers.append(_around(body, step == 1 and before == after))
            before = after
    last = divisible(1280 * max(1.0, width))
    return nn.Sequential(*layers, convolution(before, last, 1, activation=nn.SiLU), head(last, classes))


def _around(body: nn.Module, shortcut: bool) -> nn.Module:
    return Residual(body, nn.Identity(), nn.Identity()) if shortcut else body
