# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Texts of others, which come from files and from the network, as a terminal may be given them."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({'Cc', 'Cf', 'Cs', 'Zl', 'Zp'})
"""Unicode's categories of characters that steer a terminal, turn the direction of a text, or are none."""


def printable(text: str) -> str:
    r"""Return a text with everything that a terminal would obey written out, such as ``\x1b``; line ends and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return ''.join(_written_out(character) if unicodedata.category(character) in _HIDDEN else character for character in text)


def _written_out(character: str) -> str:
    return character if character in '\n\t' else character.encode('unicode_escape', 'surrogatepass').decode()
