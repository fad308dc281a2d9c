# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Policies by name, as the scheduler's parameter has them."""

from __future__ import annotations

from typing import Final

from .auto import AutoPolicy, TakeoverSettings
from .exact import ExactPolicy
from .hysteresis import Settings
from .policy import Policy
from .qlearning import LearningSettings, QLearningPolicy
from .recorded import RecordedPolicy

LEARNING: Final = ('q_learning', 'auto')


def policy_of(
    name: str,
    settings: Settings,
    *,
    takeover: TakeoverSettings | None = None,
    exploration: float = LearningSettings.shadow_share,
) -> Policy:
    """Return a new policy; whatever it is, its moves pass through a hysteresis of the settings.

    :param name: ``exact``, ``q_learning`` or ``auto``.
    :param exploration: shadow frames for each frame, at most.
    :raises ValueError: if there is no such policy.
    """
    if name == 'exact':
        return ExactPolicy(settings)
    learning = LearningSettings(shadow_share=exploration)
    if name == 'q_learning':
        return QLearningPolicy(settings, learning)
    if name == 'auto':
        return AutoPolicy(settings, learning, takeover)
    raise ValueError(f'there is no policy {name!r}')


def learner_of(policy: Policy) -> QLearningPolicy | None:
    """Return what learns in a policy; None if nothing does."""
    if isinstance(policy, RecordedPolicy):
        return learner_of(policy.policy)
    return policy if isinstance(policy, QLearningPolicy) else None
