# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""An Inception-like network: GoogLeNet's modules (Szegedy et al. 2014) with batch normalisation."""

from __future__ import annotations

import torch
from torch import nn

from edge_dnn_partition.graph.zoo.blocks import convolution, head

# the 1x1 branch; before and in the 3x3 branch; before and in the 5x5 branch; after the pooling; 0 is a pooling
_MODULES = (
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), None,
    (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), None,
    (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))


class Branches(nn.Module):  # type: ignore[misc]
    """Four branches side by side, concatenated."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return all branches' channels."""
        return torch.cat([branch(value) for branch in self.branches], dim=1)


def inception(*, width: float = 1.0, classes: int = 1000) -> nn.Module:
    """Return the network; its modules have 64 to 1024 channels at full width."""
    def scaled(channels: int) -> int:
        return max(4, int(channels * width))

    first, second = scaled(64), scaled(192)
    layers: list[nn.Module] = [
        convolution(3, first, 7, stride=2), nn.MaxPool2d(3, 2, padding=1),
        convolution(first, first, 1), convolution(first, second, 3), nn.MaxPool2d(3, 2, padding=1)]
    before = second
    for module in _MODULES:
        if module is None:
            layers.append(nn.MaxPool2d(3, 2, padding=1))
            continue
        one, to_three, three, to_five, five, pooled = (scaled(channels) for channels in module)
        layers.append(Branches([
            convolution(before, one, 1),
            nn.Sequential(convolution(before, to_three, 1), convolution(to_three, three, 3)),
            nn.Sequential(convolution(before, to_five, 1), convolution(to_five, five, 5)),
            nn.Sequential(nn.MaxPool2d(3, 1, padding=1), convolution(before, pooled, 1))]))
        before = one + three + five + pooled
    return nn.Sequential(*layers, head(before, classes))
