# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A YOLO-like detector: a CSP backbone, a neck in both directions, three heads."""

from __future__ import annotations

import torch
from torch import nn

from edge_dnn_partition.graph.zoo.blocks import convolution, divisible


def _conv(before: int, after: int, kernel: int = 1, stride: int = 1) -> nn.Module:
    return convolution(before, after, kernel, stride=stride, activation=nn.SiLU)


class Csp(nn.Module):  # type: ignore[misc]
    """Half of the channels go through residual bottlenecks, half around them."""

    def __init__(self, before: int, after: int, depth: int, *, shortcut: bool = True) -> None:
        super().__init__()
        half = after // 2
        self.left, self.right, self.join = _conv(before, half), _conv(before, half), _conv(2 * half, after)
        self.bodies = nn.ModuleList(nn.Sequential(_conv(half, half), _conv(half, half, 3)) for _ in range(depth))
        self.shortcut = shortcut

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return the joined halves."""
        left = self.left(value)
        for body in self.bodies:
            left = left + body(left) if self.shortcut else body(left)
        return self.join(torch.cat([left, self.right(value)], dim=1))


class Pyramid(nn.Module):  # type: ignore[misc]
    """Pooling at three sizes, one after the other (SPPF)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter, self.leave = _conv(channels, channels // 2), _conv(2 * channels, channels)
        self.pool = nn.MaxPool2d(5, 1, padding=2)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return the value seen at four sizes."""
        levels = [self.enter(value)]
        for _ in range(3):
            levels.append(self.pool(levels[-1]))
        return self.leave(torch.cat(levels, dim=1))


class Detector(nn.Module):  # type: ignore[misc]
    """The whole network; its outputs (batch, 3 (5 + classes), height, width) are raw."""

    def __init__(self, width: float, classes: int) -> None:
        super().__init__()
        a, b, c, d, e = (divisible(channels * width) for channels in (32, 64, 128, 256, 512))
        answers = 3 * (5 + classes)
        self.stem = nn.Sequential(_conv(3, a, 3, 2), _conv(a, b, 3, 2), Csp(b, b, 1))
        self.third = nn.Sequential(_conv(b, c, 3, 2), Csp(c, c, 2))
        self.fourth = nn.Sequential(_conv(c, d, 3, 2), Csp(d, d, 3))
        self.fifth = nn.Sequential(_conv(d, e, 3, 2), Csp(e, e, 1), Pyramid(e))
        self.up = nn.Upsample(scale_factor=2.0, mode='nearest')
        self.lateral_five, self.lateral_four = _conv(e, d), _conv(d, c)
        self.merge_four, self.merge_three = (Csp(2 * d, d, 1, shortcut=False), Csp(2 * c, c, 1, shortcut=False))
        self.down_three, self.down_four = _conv(c, c, 3, 2), _conv(d, d, 3, 2)
        self.again_four, self.again_five = (Csp(2 * c, d, 1, shortcut=False), Csp(2 * d, e, 1, shortcut=False))
        self.head_three, self.head_four, self.head_five = (nn.Conv2d(channels, answers, 1) for channels in (c, d, e))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what is seen at strides 32, 16 and 8."""
        third = self.third(self.stem(image))
        fourth = self.fourth(third)
        five = self.lateral_five(self.fifth(fourth))
        four = self.lateral_four(self.merge_four(torch.cat([self.up(five), fourth], dim=1)))
        three = self.merge_three(torch.cat([self.up(four), third], dim=1))
        four = self.again_four(torch.cat([self.down_three(three), four], dim=1))
        five = self.again_five(torch.cat([self.down_four(four), five], dim=1))
        return self.head_five(five), self.head_four(four), self.head_three(three)


def yolo(*, width: float = 1.0, classes: int = 80) -> nn.Module:
    """Return the detector for images whose sides are multiples of 32."""
    return Detector(width, classes)
