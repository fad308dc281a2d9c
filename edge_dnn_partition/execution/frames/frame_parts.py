# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""How long each device was at work on a frame, as the planner counts it."""

from __future__ import annotations

from typing import Any

from edge_dnn_partition.planning.plans.plan import Plan


def device_seconds(report: Any, plan: Plan) -> dict[str, float]:
    """Return for how many seconds each device of a plan was at work on a frame, by the stages' own clocks.

    Preprocessing counts, decoding of tensors does not: that is a part of their transfer.

    :param report: a FrameReport of a frame that ran under the plan.
    :return: empty if a stage of the plan was not timed.
    """
    found: dict[str, float] = {}
    timed = {timing.stage: timing for timing in report.stages}
    for index, stage in enumerate(plan.stages):
        timing = timed.get(index)
        if timing is None or timing.device != stage.device:
            return {}
        seconds = timing.run_seconds + (timing.decode_seconds if stage.preprocess else 0.0)
        found[stage.device] = found.get(stage.device, 0.0) + seconds
    return found
