# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The worker's profile of its device: measured or taken from the cache at the start, and anew when it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from std_srvs.srv import Trigger

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.profiling.image_samples import samples_for
from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, ProfilingCancelledError, load_or_profile
from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.graph.by_hash import with_made_up_weights
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing
from edge_dnn_partition.nodes.conversions.plan_messages import profile_message
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.core.rclpy_gaps import DeferredResponse
from edge_dnn_partition.nodes.execution.task_thread import TaskThread
from edge_dnn_partition.planning.fleet.fleet import Device, Fleet
from edge_dnn_partition.planning.plans.profile import Profile

_PROGRESS_SECONDS: Final = 3.0


class DeviceProfiler:
    """Measures on a thread of its own, while frames already run under a first guess.

    :param node: has the parameter ``profile_runs``.
    :param publisher: of Profile.
    :param config: returns what the fleet file and the parameters say of the device.
    :param hardware: of the device.
    :param learned: takes each new profile.
    :param turns: how often a frame's stage has begun or ended, see `profile_model`.
    """

    def __init__(
        self, node: FleetNode, publisher: Any, model: Model, fleet: Fleet, preprocessing: FramePreprocessing,
        config: Callable[[], Device], hardware: Hardware, learned: Callable[[Profile], None], turns: Callable[[], int],
    ) -> None:  # fmt: skip
        self._node, self._profiles, self._model, self._fleet, self._preprocessing = node, publisher, model, fleet, preprocessing
        self._config, self._hardware, self._learned, self._turns = config, hardware, learned, turns
        self.thread = TaskThread(node, 'profile')
        self._again: Future[str] | None = None
        self.profile: Profile | None = None
        """Of this device, once it is known."""

    def measure(self, *, refresh: bool = False) -> None:
        """Profile the model, or take what was measured before, and publish it.

        :param refresh: measure in any case.
        :raises UserError: if a stage cannot be run.
        """
        node, config = self._node, self._config()
        samples = samples_for(self._fleet, self._preprocessing)
        options = ProfileOptions(
            device=node.topics.device if self._hardware.real else 'host',
            providers=config.providers, threads=config.threads, runs=node.params.whole('profile_runs'),
        )  # fmt: skip
        model = self._model if self._model.weights is None else with_made_up_weights(self._model)
        progress = _Progress(node.get_logger().info)
        try:
            found = load_or_profile(
                model, options, samples=samples, cancel=node.ending, accept_throttled=not self._hardware.real,
                refresh=refresh, progress=progress, turns=self._turns, guessed=self._guessed,
            )  # fmt: skip
        except ProfilingCancelledError:
            return
        profile = self._publish(found)
        node.get_logger().info(
            f'profile: {profile.total_seconds * 1e3:.1f} ms for the whole model, '
            f'predicts stages to {profile.relative_error:.0%}'
            + (', measured while throttled' if profile.throttled else '')
        )

    def _guessed(self, found: Profile) -> None:
        guess = self._publish(found)
        self._node.get_logger().info(
            f'first guess: {guess.total_seconds * 1e3:.1f} ms for the whole model; frames can run while it is profiled'
        )

    def _publish(self, found: Profile) -> Profile:
        profile = self.profile = self._hardware.profile(found)
        self._learned(profile)
        self._profiles.publish(profile_message(profile, self._node.topics.device))
        return profile

    def serve(self, _: Trigger.Request, response: Trigger.Response) -> Any:
        """Profile again; the response comes when that is done."""
        if self._again is not None and not self._again.done():
            raise PlanError(f'{self._node.topics.device} is already being profiled')
        again: Future[str] = Future()
        self._again = again
        before = self.profile

        def task() -> None:
            try:
                self.measure(refresh=True)
            except Exception as error:
                again.set_exception(error)
                raise
            again.set_result(self._words(before))

        self.thread.put(task)
        later = DeferredResponse()

        def answer(work: Future[str]) -> Trigger.Response:
            response.success, response.message = True, work.result()
            return response

        later.follow(self._node, again, answer, response)
        return later

    def _words(self, before: Profile | None) -> str:
        now = self.profile
        if now is None or now is before:
            raise PlanError(f'{self._node.topics.device}: profiling was cancelled')
        was = f', before {before.total_seconds * 1e3:.1f} ms' if before is not None else ''
        return f'{self._node.topics.device}: {now.total_seconds * 1e3:.1f} ms for the whole model{was}'


class _Progress:
    """Logs every few seconds how far the profile is, and how long it still takes."""

    def __init__(self, log: Callable[[str], object]) -> None:
        self._log, self._begin = log, time.monotonic()
        self._logged = self._begin

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if 0 < share < 1 and now - self._logged >= _PROGRESS_SECONDS:
            self._logged = now
            left = (now - self._begin) * (1 - share) / share
            self._log(f'profiling: {share:.0%} done, about {left:.0f} s left')
