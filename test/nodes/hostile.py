# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments that no sender sends: random, cut short, changed, contradictory, repeated, out of order."""

import dataclasses
import random

from edge_dnn_partition.errors import WireError
from edge_dnn_partition.transport.fragment_codec import encode
from edge_dnn_partition.transport.fragments import FRAME, Address, TensorMessage
from edge_dnn_partition.transport.tensors import WireTensor

LEAST_NUMBER = 1 << 31
"""Hostile messages are numbered from here, senders' own from 1."""


class Hostile:
    """Makes them; each call of `message` gives one as bytes. The same seed gives the same ones.

    :param sender: whom they claim to come from.
    :param most_bytes: the largest message that they claim to be of.
    """

    def __init__(self, seed, sender, most_bytes):
        self._random = random.Random(seed)
        self._sender = sender
        self._most_bytes = most_bytes
        self._begun = []
        self._sent = b''

    def message(self):
        """Return the next one."""
        kinds = (self._noise, self._cut, self._changed, self._contradiction, self._unfinished, self._again)
        message = self._random.choice(kinds)()
        self._sent = message
        return message

    def _fragment(self):
        """A fragment that is right by itself, of a message that is new, or goes on."""
        if not self._begun or self._random.random() < 0.3:
            size = self._random.choice((1, 500, 30_000, self._random.randrange(1, self._most_bytes)))
            number = self._random.randrange(LEAST_NUMBER, 1 << 32)
            layout = (WireTensor('t', 2, (size,), 'raw', 0, size),)
            address = Address('m', 1, 1 << 40, 0, 0)
            message = TensorMessage(FRAME, self._sender, 1, address, number, memoryview(bytes(size)), layout,
                            fragment_bytes=self._random.choice((1_000, 20_000, 60_000)))  # fmt: skip
            self._begun = [*self._begun[-20:], message]
        message = self._random.choice(self._begun)
        return message.fragment(self._random.randrange(message.count), paced=self._random.random() < 0.5, sent_ns=5)

    def _noise(self):
        head = self._random.choice((b'', b'\0\1\0\0', b'\0\0\0\0'))
        return head + self._random.randbytes(self._random.randrange(200))

    def _cut(self):
        raw = encode(self._fragment())
        return raw[: self._random.randrange(len(raw))]

    def _changed(self):
        raw = bytearray(encode(self._fragment()))
        for _ in range(self._random.randrange(1, 5)):
            raw[self._random.randrange(min(len(raw), 200))] = self._random.randrange(256)
        return bytes(raw)

    def _contradiction(self):
        fragment = self._fragment()
        change = self._random.choice((
            {'index': self._random.randrange(1 << 32)}, {'count': self._random.randrange(1 << 32)},
            {'total': self._random.randrange(1 << 32)}, {'sender': 'nobody'}, {'kind': self._random.randrange(256)},
            {'segment': '../../etc/passwd'}, {'segment': 'edge_dnn_partition_nothing'}, {'data': fragment.data[1:]},
            {'layout': (WireTensor('t', 99, (-1,), 'raw', 7, 1 << 60),)},
        ))  # fmt: skip
        try:
            return encode(dataclasses.replace(fragment, **change))
        except WireError:
            return self._noise()

    def _unfinished(self):
        return encode(self._fragment())

    def _again(self):
        return self._sent or self._noise()
