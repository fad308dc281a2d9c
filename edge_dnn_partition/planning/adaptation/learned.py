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

FORMAT: Final = 1


def key_of(model_sha256: str, fleet: str, boundaries: Sequence[int], objective: str) -> str:
    """Return what learned values belong to: they are of no use to another model, fleet, split or objective.

    :param fleet: a text that changes with the fleet, such as its file's content.
    """
    text = json.dumps([FORMAT, model_sha256, fleet, list(boundaries), objective])
    return hashlib.sha256(text.encode()).hexdigest()


def save(path: Path, key: str, policy: QLearningPolicy) -> None:
    """Write what a policy has learned, if that can be written; a reader sees the old file or the new, never a part."""
    document = {
        'format': FORMAT,
        'key': key,
        'devices': list(policy.predictor.devices),
        'plans': [list(plan) for plan in policy.candidates.plans],
        'table': policy.table.to_json(),
        'residuals': policy.filter.to_json(),
    }
    keep(path, json.dumps(document, allow_nan=False).encode())


def load(path: Path, key: str, policy: QLearningPolicy) -> bool:
    """Take up what was saved; return False if there is nothing, or it is of another model, fleet or release.

    :param policy: a fresh policy; it is left as it is unless all of the file is right.
    :raises PlanError: if the file is malformed.
    """
    try:
        document: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        raise PlanError(f'{path}: what was learned cannot be read; delete the file') from None
    if not isinstance(document, dict):
        raise PlanError(f'{path}: what was learned is malformed; delete the file')
    if (document.get('format'), document.get('key')) != (FORMAT, key):
        return False
    devices = set(policy.near.fleet)
    plans = document.get('plans')
    if (
        not isinstance(plans, list)
        or len(plans) > policy.candidates.limit
        or not all(isinstance(plan, list) and plan and set(map(str, plan)) <= devices for plan in plans)
    ):
        raise PlanError(f'{path}: its plans are not of this fleet; delete the file')
    about = document.get('devices')
    if not isinstance(about, list) or not set(map(str, about)) <= devices:
        raise PlanError(f'{path}: its devices are not of this fleet; delete the file')
    before = policy.near.devices
    policy.adopt(list(map(str, about)))
    table, residuals = policy.table.to_json(), policy.filter.to_json()
    try:
        policy.table.restore(document.get('table'))
        policy.filter.restore(document.get('residuals'))
    except PlanError as error:
        policy.adopt(before)
        policy.table.restore(table)
        policy.filter.restore(residuals)
        raise PlanError(f'{path}: {error}') from None
    policy.candidates.plans = [tuple(map(str, plan)) for plan in plans]
    return True
