# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The errors that a user is meant to read."""


class UserError(Exception):
    """Bad input: the message is one line and says what is wrong and what to do.

    The command line prints it as ``error: <message>`` and exits with code 2; a
    node logs it, counts what it refused, and goes on as before.
    """


class ModelError(UserError):
    """A model file that cannot be read, checked, prepared, split or run."""


class PlanError(UserError):
    """A plan, cost file or fleet file that is malformed or cannot be met."""


class WireError(UserError):
    """A message whose parts contradict each other, or that nobody expects."""
