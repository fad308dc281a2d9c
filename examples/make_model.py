# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a model for the examples: an architecture with seeded random weights, in place of your own export.

    python examples/make_model.py detector model.onnx           a YOLO-like detector for images of 320 x 320
    python examples/make_model.py act model.onnx                a policy with two images and a state, of ACT's shape
    python examples/make_model.py vit_b16 model.onnx            any network of the zoo by its name
    python examples/make_model.py detector_small model.onnx     for images of 64 x 64

It needs torch (pip install '.[export]').
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from torch import nn

from edge_dnn_partition.graph import zoo
from edge_dnn_partition.graph.zoo.detector import yolo
from edge_dnn_partition.graph.zoo.export import settle_statistics

ANCHORS = (((116, 90), (156, 198), (373, 326)), ((30, 61), (62, 45), (59, 119)), ((10, 13), (16, 30), (33, 23)))
STRIDES = (32, 16, 8)


class Boxes(nn.Module):
    """A detector whose three heads become one list of boxes, ``[1, boxes, 5 + classes]``, as YOLOv5 exports it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return x, y, width, height in pixels, objectness, and the classes' scores."""
        found = []
        for head, anchors, stride in zip(self.network(image), ANCHORS, STRIDES, strict=True):
            _, channels, height, width = head.shape
            values = head.reshape(1, 3, channels // 3, height, width).permute(0, 1, 3, 4, 2).sigmoid()
            rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
            middle = (2 * values[..., :2] - 0.5 + torch.stack([columns, rows], -1)) * stride
            size = (2 * values[..., 2:4]) ** 2 * torch.tensor(anchors, dtype=torch.float32)[:, None, None, :]
            found.append(torch.cat([middle, size, values[..., 4:]], -1).reshape(1, -1, channels // 3))
        return torch.cat(found, 1)


def detector(path: Path, *, small: bool) -> None:
    """Export the detector."""
    torch.manual_seed(3)
    side, network = (64, yolo(width=0.25, classes=4)) if small else (320, yolo())
    settle_statistics(network, (torch.randn(4, 3, side, side),))
    example = torch.randn(1, 3, side, side)
    with torch.no_grad():
        torch.onnx.export(
            Boxes(network).eval(), (example,), str(path), dynamo=False, opset_version=17, input_names=['image'],
            output_names=['boxes'],
        )  # fmt: skip


def main(name: str, out: str) -> None:
    """Write the model of a name."""
    if name in ('detector', 'detector_small'):
        detector(Path(out), small=name.endswith('small'))
    else:
        shutil.copyfile(zoo.model_path(name), out)


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
