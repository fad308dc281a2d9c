# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The worker's profile of its device: measured or taken from the cache at the start, and anew when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from std_srvs.srv import Trigger

from edge_dnn_partition.errors import PlanError
from edge_dnn_partition.execution.profiling.image_samples import samples_for
from edge_dnn_partition.execution.profiling.profiler import ProfileOptions, ProfilingCancelledError, load_or_profile
from edge_dnn_partition.execution.stages.hardware import Hardware
from edge_dnn_partition.graph.model import Model
from edge_dnn_partition.inputs.frame_preprocessing import FramePreprocessing
from edge_dnn_partition.nodes.conversions.plan_messages import profile_message
from edge_dnn_partition.nodes.core.base import FleetNode
from edge_dnn_partition.nodes.core.rclpy_gaps import DeferredResponse
from edge_dnn_partition.planning.fleet.fleet import Device, Fleet
from edge_dnn_partition.planning.plans.profile import Profile


class DeviceProfiler:
    """Measures on the worker's preparation thread.

    :param node: has the parameter ``profile_runs``.
    :param publisher: of Profile.
    :param config: returns what the fleet file and the parameters say of the device.
    :param hardware: of the device.
    :param put: queues a task for that thread.
    :param learned: takes each new profile.
    """

    def __init__(
        self, node: FleetNode, publisher: Any, model: Model, fleet: Fleet, preprocessing: FramePreprocessing,
        config: Callable[[], Device], hardware: Hardware, put: Callable[[Callable[[], None]], None],
        learned: Callable[[Profile], None],
    ) -> None:  # fmt: skip
        self._node, self._profiles, self._model, self._fleet, self._preprocessing = node, publisher, model, fleet, preprocessing
        self._config, self._hardware, self._put, self._learned = config, hardware, put, learned
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
        try:
            found = load_or_profile(
                self._model, options, samples=samples, cancel=node.ending, accept_throttled=not self._hardware.real,
                refresh=refresh,
            )  # fmt: skip
        except ProfilingCancelledError:
            return
        profile = self.profile = self._hardware.profile(found)
        self._learned(profile)
        self._profiles.publish(profile_message(profile, node.topics.device))
        node.get_logger().info(
            f'profile: {profile.total_seconds * 1e3:.1f} ms for the whole model, '
            f'predicts stages to {profile.relative_error:.0%}'
            + (', measured while throttled' if profile.throttled else '')
        )

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

        self._put(task)
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
