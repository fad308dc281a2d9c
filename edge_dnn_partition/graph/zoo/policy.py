# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A policy of the shape of ACT (Zhao et al. 2023): two images and the joints' state in, the next actions of the joints out."""

from __future__ import annotations

import math

import torch
from torch import nn

from edge_dnn_partition.graph.zoo.resnets import resnet18
from edge_dnn_partition.graph.zoo.transformers import Attention, Block


class Decoder(nn.Module):  # type: ignore[misc]
    """One decoder block: the actions' places look at each other and at what was encoded."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own, self.cross = Attention(width, heads), Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, places: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Return the new states of the places (batch, steps, width)."""
        states = self.norms[0](places + self.own(places))
        states = self.norms[1](states + self.cross(states, memory=memory))
        return self.norms[2](states + self.feed(states))


class ActionChunker(nn.Module):  # type: ignore[misc]
    """ACT at inference (its latent is zero): one ResNet for both cameras, an encoder, a decoder of one block.

    With random weights it still moves an arm gently: each action lies at most ``reach`` radians from the one before, and the
    state is pulled to where the images point.
    """

    def __init__(self, width: int, channels: int, depth: int, heads: int, joints: int, steps: int, side: int, reach: float) -> None:
        super().__init__()
        self.reach = reach
        self.eyes = nn.Sequential(*list(resnet18(width=channels))[:-1])
        tokens = (side // 32) ** 2
        self.project = nn.Conv2d(8 * channels, width, 1)
        self.state, self.latent = nn.Linear(joints, width), nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, 2 + 2 * tokens, width) * 0.02)
        self.encoder = nn.ModuleList(Block(width, heads, before=False) for _ in range(depth))
        self.decoder, self.head = Decoder(width, heads), nn.Linear(width, joints)
        self.register_buffer('places', _waves(steps, width))

    def forward(self, front: torch.Tensor, wrist: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return actions (batch, steps, joints) of images (batch, 3, side, side) and a state (batch, joints), in radians."""
        seen = [self.project(self.eyes(image)).flatten(2).transpose(1, 2) for image in (front, wrist)]
        latent = self.latent.expand(state.shape[0], -1, -1)
        tokens = torch.cat([latent, self.state(state)[:, None], *seen], dim=1) + self.positions
        for block in self.encoder:
            tokens = block(tokens)
        goals = self.head(self.decoder(self.places.expand(state.shape[0], -1, -1), tokens))
        start = state[:, None]
        return start + self.reach * torch.cumsum(torch.tanh(goals - start), dim=1)


def _waves(steps: int, width: int) -> torch.Tensor:
    """Return sinusoidal places (1, steps, width), which neighbours share nearly (Vaswani et al. 2017)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(1, steps, width)


def act(*, width: int = 512, channels: int = 64, depth: int = 4, heads: int = 8, joints: int = 6, steps: int = 50,
        side: int = 224, reach: float = 0.02) -> nn.Module:
    """Return the policy, by default of ACT's size."""
    return ActionChunker(width, channels, depth, heads, joints, steps, side, reach)
