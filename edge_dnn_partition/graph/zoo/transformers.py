# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""ViT-B/16 (Dosovitskiy et al. 2020) and a BERT-like encoder (Devlin et al. 2018)."""

from __future__ import annotations

import torch
from torch import nn


class Attention(nn.Module):  # type: ignore[misc]
    """Multi-head attention, written out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self, states: torch.Tensor, bias: torch.Tensor | None = None, memory: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attend to the states, or to a memory; ``bias`` (1, 1, 1, length) is added to the scores."""
        batch, length, width = states.shape
        seen = states if memory is None else memory

        def split(rows: torch.Tensor) -> torch.Tensor:
            return rows.reshape(batch, rows.shape[1], self.heads, width // self.heads).transpose(1, 2)

        scores = split(self.query(states)) @ split(self.key(seen)).transpose(2, 3) * self.scale
        if bias is not None:
            scores = scores + bias
        mixed = torch.softmax(scores, dim=-1) @ split(self.value(seen))
        return self.output(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):  # type: ignore[misc]
    """An encoder block; ViT normalises before each half, BERT after it."""

    def __init__(self, width: int, heads: int, *, before: bool) -> None:
        super().__init__()
        self.before = before
        self.attention = Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, states: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Return the new states (batch, length, width)."""
        if self.before:
            states = states + self.attention(self.first(states), bias)
            return states + self.feed(self.second(states))
        states = self.first(states + self.attention(states, bias))
        return self.second(states + self.feed(states))


class VisionTransformer(nn.Module):  # type: ignore[misc]
    """Patches, a class token, positions, blocks, and a linear head on the class token."""

    def __init__(self, size: int, patch: int, width: int, depth: int, heads: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, before=True) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the scores (batch, classes) of images (batch, 3, size, size)."""
        patches = self.patches(image).flatten(2).transpose(1, 2)
        states = torch.cat([self.token.expand(image.shape[0], -1, -1), patches], dim=1) + self.positions
        for block in self.blocks:
            states = block(states)
        return self.head(self.norm(states)[:, 0])


class Encoder(nn.Module):  # type: ignore[misc]
    """Word and position embeddings, blocks with a mask, and a pooled first word."""

    def __init__(self, vocabulary: int, width: int, depth: int, heads: int, length: int) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads, before=False) for _ in range(depth))
        self.pool = nn.Sequential(nn.Linear(width, width), nn.Tanh())

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all states (batch, length, width) and the pooled ones (batch, width)."""
        places = torch.arange(input_ids.shape[1])
        states = self.norm(self.words(input_ids) + self.positions(places))
        bias = (1.0 - attention_mask[:, None, None, :].to(states.dtype)) * -1e4
        for block in self.blocks:
            states = block(states, bias)
        return states, self.pool(states[:, 0])


def vit(*, size: int = 224, patch: int = 16, width: int = 768, depth: int = 12, heads: int = 12,
        classes: int = 1000) -> nn.Module:
    """Return ViT, by default B/16."""
    return VisionTransformer(size, patch, width, depth, heads, classes)


def bert(*, vocabulary: int = 30522, width: int = 768, depth: int = 12, heads: int = 12,
         length: int = 128) -> nn.Module:
    """Return the encoder, by default of BERT-base's size."""
    return Encoder(vocabulary, width, depth, heads, length)
