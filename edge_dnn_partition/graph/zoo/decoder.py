# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A decoder of Llama's shape (Touvron et al. 2023) that reads one token at a time and carries its keys and values."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Norm(nn.Module):  # type: ignore[misc]
    """Normalises by the root mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return states of unit size, weighted."""
        return self.weight * states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + 1e-6)


class Attention(nn.Module):  # type: ignore[misc]
    """Attention with rotary positions, in which several heads share their keys and values."""

    def __init__(self, width: int, heads: int, shared: int) -> None:
        super().__init__()
        self.heads, self.shared, self.size = heads, shared, width // heads
        self.query, self.output = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.key, self.value = (nn.Linear(width, shared * self.size, bias=False) for _ in range(2))

    def forward(
        self, states: torch.Tensor, waves: tuple[torch.Tensor, torch.Tensor], bias: torch.Tensor, keys: torch.Tensor,
        values: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
        """Return the mixed states (1, 1, width), and keys and values (1, shared, tokens + 1, size) with the new token's."""
        query = _turned(self.query(states).reshape(1, 1, self.heads, self.size).transpose(1, 2), waves)
        key = _turned(self.key(states).reshape(1, 1, self.shared, self.size).transpose(1, 2), waves)
        keys = torch.cat([keys, key], dim=2)
        values = torch.cat([values, self.value(states).reshape(1, 1, self.shared, self.size).transpose(1, 2)], dim=2)
        grouped = query.reshape(1, self.shared, self.heads // self.shared, self.size)
        scores = grouped @ keys.transpose(2, 3) * self.size**-0.5 + bias
        mixed = (torch.softmax(scores, dim=-1) @ values).reshape(1, 1, -1)
        return self.output(mixed), keys, values


def _turned(heads: torch.Tensor, waves: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    first, second = heads.chunk(2, dim=-1)
    return heads * waves[0] + torch.cat([-second, first], dim=-1) * waves[1]


class Block(nn.Module):  # type: ignore[misc]
    """Attention and a gated feed-forward net, each normalised before."""

    def __init__(self, width: int, heads: int, shared: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads, shared)
        self.gate, self.up = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(2 * width, width, bias=False)
        self.first, self.second = Norm(width), Norm(width)

    def forward(
        self, states: torch.Tensor, waves: tuple[torch.Tensor, torch.Tensor], bias: torch.Tensor, keys: torch.Tensor,
        values: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
        """Return the new states, keys and values, see `Attention.forward`."""
        mixed, keys, values = self.attention(self.first(states), waves, bias, keys, values)
        states = states + mixed
        fed = self.second(states)
        return states + self.down(functional.silu(self.gate(fed)) * self.up(fed)), keys, values


class Decoder(nn.Module):  # type: ignore[misc]
    """Embedding, blocks, and scores of the next token."""

    def __init__(self, vocabulary: int, width: int, depth: int, heads: int, shared: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads, shared) for _ in range(depth))
        self.norm, self.head = Norm(width), nn.Linear(width, vocabulary, bias=False)
        size = width // heads
        self.register_buffer('rates', 1e4 ** -(torch.arange(0, size, 2).float() / size))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor, *past: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return scores (1, 1, vocabulary), then each block's keys and values.

        :param attention_mask: ``(1, tokens + 1)``, 0 for places of the past that hold nothing.
        :param past: each block's keys and values of the tokens before.
        """
        angles = position_ids[..., None].float() * self.rates
        turns = torch.cat([angles, angles], dim=-1)[:, None]
        waves, bias = (turns.cos(), turns.sin()), (1.0 - attention_mask[:, None, None, :].float()) * -1e9
        states, present = self.words(input_ids), []
        for index, block in enumerate(self.blocks):
            states, keys, values = block(states, waves, bias, past[2 * index], past[2 * index + 1])
            present += [keys, values]
        return self.head(self.norm(states)), *present


def decoder(*, vocabulary: int = 32000, width: int = 2048, depth: int = 22, heads: int = 32, shared: int = 4) -> nn.Module:
    """Return the decoder, by default of TinyLlama's size."""
    return Decoder(vocabulary, width, depth, heads, shared)
