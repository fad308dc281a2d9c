# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What was learned, kept between runs: one file, written at once, of one model and fleet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from edge_dnn_partition.cache import keep
from edge_dnn_partition.errors import PlanError

from .qlearning import QLearningPolicy

FORMAT: Final = 2


def key_of(model_sha256: str, fleet: str, boundaries: Sequence[int], objective: str) -> str:
    """Return what learned values belong to: they are of no use to another model, fleet, split or objective.

    :param fleet: a text that changes with the fleet, such as its file's content.
    """
    text = json.dumps([FORMAT, model_sha256, fleet, list(boundaries), objective])
    return hashlib.sha256(text.encode()).hexdigest()


def save(path: Path, key: str, policy: QLearningPolicy) -> None:
    """Write what a policy has learned, if that can be written; a reader sees the old file or the new, never a part."""
    plans = [list(plan) for plan in policy.candidates.plans]
    document = {'format': FORMAT, 'key': key, 'plans': plans, 'table': policy.table.to_json()}
    keep(path, json.dumps(document, allow_nan=False).encode())


def load(path: Path, key: str, policy: QLearningPolicy) -> bool:
    """Take up what was saved; return False if there is nothing, or it is of another model, fleet or release.

    :param policy: a fresh policy; it is left as it is unless all of the file is right.
    :raises PlanError: if the file is malformed.
    """
    try:
        document: Any = json.loads(path.read_bytes())
        if (document['format'], document['key']) != (FORMAT, key):
            return False
        plans = [tuple(map(str, plan)) for plan in document['plans'] if isinstance(plan, list) and plan]
        if not 0 < len(plans) == len(document['plans']) <= policy.candidates.limit:
            raise ValueError(path)
        policy.table.restore(document['table'])
    except FileNotFoundError:
        return False
    except PlanError as error:
        raise PlanError(f'{path}: {error}') from None
    except (OSError, ValueError, TypeError, KeyError):
        raise PlanError(f'{path}: the learned table cannot be read; delete the file') from None
    policy.candidates.plans = plans
    return True
