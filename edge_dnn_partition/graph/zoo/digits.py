# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A small network that is really trained, on scikit-learn's 1,797 handwritten digits of 8 x 8 pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edge_dnn_partition.graph.zoo.blocks import Residual, convolution, head

_TEST_SHARE = 0.25
_EPOCHS = 25
_BATCH = 64


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images (n, 1, 8, 8) from 0 to 1 and labels: for training, then for testing."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=_TEST_SHARE, random_state=0, stratify=labels)
    return train, train_labels, test, test_labels


def digits() -> nn.Module:
    """Return the trained network; a few seconds."""
    network = nn.Sequential(
        convolution(1, 16, 3),
        Residual(nn.Sequential(convolution(16, 16, 3), convolution(16, 16, 3, activation=None)),
                 nn.Identity(), nn.ReLU()),
        convolution(16, 32, 3, stride=2),
        Residual(nn.Sequential(convolution(32, 32, 3), convolution(32, 32, 3, activation=None)),
                 nn.Identity(), nn.ReLU()),
        head(32, 10))
    train, train_labels, _, _ = data()
    images, labels = torch.from_numpy(train), torch.from_numpy(train_labels)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _EPOCHS)
    network.train()
    for _ in range(_EPOCHS):
        for batch in torch.randperm(len(images)).split(_BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimiser.step()
        schedule.step()
    network.is_trained = True
    return network.eval()
