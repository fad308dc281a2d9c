# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What every node shares: a lifecycle, gated and guarded callbacks, parameters, names, a clean end."""

from __future__ import annotations

import secrets
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from edge_dnn_partition.deployment.node_parameters import AUTOSTART, Parameter, Value
from edge_dnn_partition.errors import UserError

from .entities import EntityNode
from .parameters import ParameterTable
from .rclpy_gaps import guard_transitions
from .role import Role
from .seals import Seals

if TYPE_CHECKING:
    from edge_dnn_partition.planning.fleet.fleet import Fleet

    from .topics import Topics

__all__ = ['FleetNode', 'Parameter']

_DRAIN_STEP_SECONDS = 0.005


class FleetNode(EntityNode):
    """A lifecycle node of a fleet.

    A node overrides the hooks `setup`, `start`, `begin_drain`, `drained`, `stop`, `give_up`, `teardown` and `stop_work`,
    and makes its entities (`EntityNode`) in `setup` with `advertise`, `subscribe`, `every` and `serve`; they go at clean-up.

    :param name: the node's name.
    :param parameters: its parameters; ``autostart`` is added.
    :param check: see `ParameterTable`.
    :param per_device: whether its namespace is ``/<fleet>/<device>``; else it is ``/<fleet>``.
    :param one_for: of what one such node alone may be active at a time; empty: of nothing.
    :param kwargs: for `rclpy.node.Node`.
    :raises UserError: if the namespace or a parameter is no good.
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[Parameter] = (),
        *,
        check: Callable[[Mapping[str, Value]], None] | None = None,
        per_device: bool = True,
        one_for: Literal['', 'device', 'fleet'] = '',
        **kwargs: Any,
    ) -> None:
        super().__init__(name, per_device=per_device, **kwargs)
        self._one_for = one_for
        self.joined_at = time.monotonic()
        """When its process joined the network, steady clock."""
        self.kind = name
        """Its name, unless it was given another."""
        self.role: Role | None = None
        """Of a node that is the only one of its kind, while it is configured."""
        self.failed: Callable[[BaseException], None] = lambda _: None
        """Called when it could not be started."""
        self.incarnation = secrets.randbits(63)
        """Random, new each time the node is configured: what it knew and counted before is gone then."""
        self._failure: Exception | None = None
        self._yielding = self._reloading = False
        self.params = ParameterTable(self, [AUTOSTART, *parameters], check=check)
        guard_transitions(self)

    # Hooks --------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Configure: make the entities, load what is needed; may raise `UserError`."""

    def start(self) -> None:
        """Activate. Publishers work already; callbacks come after it."""

    def stop(self) -> None:
        """Deactivate. Publishers still work; no callback comes after it."""

    def teardown(self) -> None:
        """Let go of what `setup` made, other than the entities; called after a failed `setup` as well."""

    def begin_drain(self, *, ending: bool) -> float:  # noqa: ARG002
        """Take nothing more on; return for how many seconds at most to wait until `drained` says so, while callbacks come.

        :param ending: the process ends, and so a second is the most that is waited for; else the node is deactivated.
        """
        return 0.0

    def drained(self) -> bool:
        """Return whether nothing is under way any more."""
        return True

    def give_up(self) -> None:
        """The node ends after having been active: account for what is under way. Publishers still work."""

    def stop_work(self) -> None:
        """Make long work (an inference, a thread) end soon. Called once, from the main thread, at the end."""

    def load_fleet(self) -> Fleet:
        """Return what the parameter ``fleet_file`` names, whose key the node uses from now on; the first thing that `setup` does.

        The fleet is called as in the node's namespace, whatever the file says. Of a fleet of several sites the node hears the
        others from now on, and is heard there.

        :raises UserError: if the file or the key is no good.
        """
        # What reads fleet files takes 17 MB, which a node without one has no use for.
        from edge_dnn_partition.deployment.model_choice import with_chosen_model
        from edge_dnn_partition.planning.fleet.fleet import load_fleet

        self.fleet_as_written = load_fleet(self.params.text('fleet_file'), self.topics.fleet)
        fleet = with_chosen_model(self.fleet_as_written)
        self.seals = self.seals_of(fleet, self.topics)
        return fleet

    def seals_of(self, fleet: Fleet, topics: Topics) -> Seals:
        """Return what the node hears and says a fleet's messages with: its key, and its other sites if it has some.

        :raises UserError: if the key or a certificate is no good.
        """
        from edge_dnn_partition.deployment.fleet_key import fleet_key

        key, wide = fleet_key(fleet), None
        if fleet.network_kind == 'wan':
            from .wide import wide_area

            wide = wide_area(fleet, topics.device or str(self.params.get('device', '')), self.ticks.soon, self.repeats.warning)
        return Seals(self, topics, key, self.refuse, wide)

    # Lifecycle ----------------------------------------------------------------------------------------------

    def when_drained(self, action: Callable[[], None]) -> None:
        """Call ``action`` once what is under way is finished, or has had its time; callbacks come meanwhile."""
        deadline = time.monotonic() + self.begin_drain(ending=False)
        self._once(action, lambda: self.drained() or time.monotonic() >= deadline)

    def _once(self, action: Callable[[], None], ready: Callable[[], bool] = lambda: True) -> None:
        """Call ``action`` a little later, once ``ready`` says so, or the process ends."""

        def look() -> None:
            if self.ending.is_set() or ready():
                self.ticks.remove(tick)
                action()

        tick = self.ticks.every(_DRAIN_STEP_SECONDS, look)

    def autostart(self) -> None:
        """Configure and activate, as a lifecycle manager would, the latter when no other node has this one's role."""
        if self._made(self.trigger_configure):
            if self.role is None:
                self._activate()
            else:
                self.role.want(self._activate)

    def _activate(self) -> None:
        self._made(self.trigger_activate)

    def _made(self, trigger: Callable[[], TransitionCallbackReturn]) -> bool:
        """Make a transition of a start; return whether it was made, else report it to the process."""
        if self.ending.is_set():
            return False
        made = trigger() == TransitionCallbackReturn.SUCCESS
        if not made:
            self.failed(self._failure or RuntimeError(f'{self.get_name()} could not be started'))
        return made

    def _give_way(self, reason: str) -> None:
        """Yield to another node that has this one's role: account for all as at the process's end, and stand by anew."""
        self.get_logger().error(f'stepping down: {reason}')
        self._begin_anew()

    def reload(self, reason: str, *, drain: bool = True) -> None:
        """Begin anew with what the fleet is now.

        :param drain: finish what is under way before; else nothing is.
        """
        if not self._reloading:
            self._reloading = True
            self.get_logger().info(f'begins anew: {reason}')
            self._begin_anew(drain=drain)

    def _begin_anew(self, *, drain: bool = True) -> None:
        def leave() -> None:
            if self.active:
                self._yielding = True
                self.trigger_deactivate()
                self._yielding = False
                self.trigger_cleanup()
                self._reloading = False
                self._once(self.autostart)  # later, when the executor has let go of the old entities

        if drain:
            self.when_drained(leave)
        else:
            self._once(leave)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Set up; a failure leaves the node unconfigured."""
        result = super().on_configure(state)
        self.incarnation = secrets.randbits(63)
        if result == TransitionCallbackReturn.SUCCESS and not self._hook('setup', self.setup):
            self._clean()
            result = TransitionCallbackReturn.FAILURE
        elif result == TransitionCallbackReturn.SUCCESS and self._one_for:
            self.role = Role(self, self.topics.device if self._one_for == 'device' else '', self.joined_at, self._give_way)
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the publishers, start, let callbacks through; a failure leaves the node inactive."""
        result = super().on_activate(state)
        if result != TransitionCallbackReturn.SUCCESS:
            return result
        if not self._hook('start', self.start):
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        self.active = True
        for tick in self._ticks_gated:
            tick.start()
        if self.role is not None:
            self.role.taken()
        self.get_logger().info('active')
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold callbacks back, stop, close the publishers."""
        self._deactivate(giving_up=self._yielding)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let everything go."""
        result = super().on_cleanup(state)
        self._clean()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop if active, let everything go."""
        if self.active:
            self._deactivate(giving_up=True)
        result = super().on_shutdown(state)
        self._clean()
        return result

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured."""
        if self.active:
            self._deactivate()
        super().on_error(state)
        self._clean()
        return TransitionCallbackReturn.SUCCESS

    def shut_down(self) -> None:
        """Make the lifecycle's last transition, from whatever state the node is in."""
        if self._state_machine.current_state[1] in ('unconfigured', 'inactive', 'active'):
            self.trigger_shutdown()

    def has_logged(self, error: BaseException | None) -> bool:
        """Return whether an exception is one that a hook raised, which is in the log already."""
        return error is not None and error is self._failure

    def _deactivate(self, *, giving_up: bool = False) -> None:
        self.active = False
        for tick in self._ticks_gated:
            tick.stop()
        self._hook('stop', self.stop)
        if giving_up:
            self._hook('give_up', self.give_up)
        if self.role is not None:
            self.role.left()

    def _clean(self) -> None:
        self._hook('teardown', self.teardown)
        self.role = None
        entities, self._entities, self._ticks_gated = self._entities, [], []
        for destroy, entity in reversed(entities):
            destroy(entity)
        self.seals.close()
        self.seals = Seals(self, self.topics, None, self.refuse)

    def _hook(self, name: str, hook: Callable[[], None]) -> bool:
        """Call a hook, which rclpy would let fail in silence; return whether it went well."""
        try:
            with self.notifier.busy() if not self.ending.is_set() else nullcontext():  # nobody may listen at the end
                hook()
        except Exception as error:  # noqa: BLE001
            self._failure = error
            text = str(error) if isinstance(error, UserError) else f'\n{traceback.format_exc()}'
            self.get_logger().error(f'{name} failed: {text}')
            return False
        return True
