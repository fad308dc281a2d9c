# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where each input of a model arises, and under which name the source sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_dnn_partition.graph.model import Model

from .plan import IMAGE


@dataclass(frozen=True)
class ModelInputs:
    """Where a model's inputs arise; each is in one of the first four.

    :param images: made by the preprocessing, in the first stage of a plan: the image's name (`image_name`) by the input's.
    :param tensors: sent by the source under their own names.
    :param constants: known to every device, never sent.
    :param states: the output of the frame before, by input; it stays where its layers run, and is sent where it is not there.
    :param private: inputs that do not leave the source, and neither do images that they are made of.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    tensors: tuple[str, ...] = ()
    constants: frozenset[str] = frozenset()
    states: Mapping[str, str] = field(default_factory=dict)
    private: frozenset[str] = frozenset()

    @classmethod
    def of_image(cls, model: Model) -> ModelInputs:
        """Return those of a model whose first input is made of one image; the others come as tensors."""
        return cls({model.inputs[0]: IMAGE}, tuple(model.inputs[1:]))

    @property
    def given(self) -> frozenset[str]:
        """The names of the values that a frame begins with, on the source."""
        return frozenset((*self.images.values(), *self.tensors))

    @property
    def sent(self) -> frozenset[str]:
        """The names of what the source may send: also constants that a stage with no other input waits for, and state."""
        return self.given | self.kept

    @property
    def kept(self) -> frozenset[str]:
        """The inputs that nobody gives: constants and state, which devices have themselves."""
        return self.constants | self.states.keys()

    @property
    def held(self) -> frozenset[str]:
        """The names of what may not be sent to another device: private inputs, and the images that they are made of."""
        return self.private.union(self.images.get(name, name) for name in self.private)
