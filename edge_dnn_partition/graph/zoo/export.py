# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Building a network of the zoo with seeded weights, and exporting it with torch."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from edge_dnn_partition.graph.zoo.catalog import Entry

#: The exporter through TorchScript takes a second where the newer one takes ten, and ends at opset 20.
_OPSET = 17
_SEED = 20260
_CALIBRATION_IMAGES = 4


def build(entry: Entry, path: Path) -> None:
    """Build, initialise and export one network; about 10 s for a large one."""
    with torch.random.fork_rng(), _one_thread():
        torch.manual_seed(_SEED)
        module = importlib.import_module(f'edge_dnn_partition.graph.zoo.{entry.module}')
        network: nn.Module = getattr(module, entry.function)(**entry.arguments)
        examples = _examples(entry, 1)
        if not getattr(network, 'is_trained', False):
            settle_statistics(network, _examples(entry, _CALIBRATION_IMAGES))
        network.eval()
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                network, examples, str(path), dynamo=False, opset_version=_OPSET,
                input_names=list(entry.inputs), output_names=list(entry.outputs),
                dynamic_axes={name: [axis] for name, axis in entry.open_axes.items()} or None)


def settle_statistics(network: nn.Module, examples: tuple[torch.Tensor, ...]) -> None:
    """Give batch normalisations seeded scales, and statistics of what really flows through them."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    network.eval()
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.7, 1.3)
        nn.init.normal_(norm.bias, 0.0, 0.2)
        norm.momentum = None
        norm.train()
    if norms:
        with torch.no_grad():
            network(*examples)
    network.eval()


def _examples(entry: Entry, batch: int) -> tuple[torch.Tensor, ...]:
    examples = []
    for name, shape in entry.inputs.items():
        wide = (batch, *shape[1:])
        if entry.words is None or name.startswith('past_'):
            examples.append(torch.randn(wide))
        elif name == 'attention_mask':
            examples.append(torch.ones(wide, dtype=torch.int64))
        else:
            examples.append(torch.randint(0, entry.words, wide))
    return tuple(examples)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: equal results everywhere, and no fight for the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress off the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(disabled)
