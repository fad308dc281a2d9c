# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Parts that several networks of the zoo share."""

from __future__ import annotations

import torch
from torch import nn


def convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Return a convolution that keeps the size, batch normalisation, and an activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs)]
    nn.init.kaiming_normal_(layers[0].weight, mode='fan_out', nonlinearity='relu')
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


def head(inputs: int, classes: int) -> nn.Sequential:
    """Return global average pooling and one linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def divisible(channels: float, by: int = 8) -> int:
    """Round a number of channels to a multiple, never below 90 % of it (MobileNet's rule)."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


def initialise_plain(network: nn.Module) -> nn.Module:
    """Initialise a network without normalisation so that its signal keeps its size."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
            nn.init.normal_(module.bias, 0.0, 0.05)
    return network


class Residual(nn.Module):  # type: ignore[misc]
    """A body with a shortcut around it, and an activation after the sum."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return ``activation(body(x) + shortcut(x))``."""
        return self.activation(self.body(value) + self.shortcut(value))
