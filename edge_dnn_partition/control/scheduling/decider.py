# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""A policy on a thread of its own: planning may take long, and must not hold up who hears heartbeats."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, TypeVar

from edge_dnn_partition.control.decision.learned import load, save
from edge_dnn_partition.control.decision.policies import learner_of
from edge_dnn_partition.control.decision.policy import Assignment, Choice, Conditions, Frame, Policy
from edge_dnn_partition.errors import PlanError

SAVE_SECONDS: Final = 30.0

_Answer = TypeVar('_Answer')


class Decider:
    """Asks one policy, tells it what happened, and keeps what it has learned. May be called from any thread.

    :param policy: used from this object's thread only.
    :param file: where what it learns is kept; None: nowhere.
    :param key: what that belongs to (`control.decision.learned.key_of`).
    :param complain: takes a line for each thing that went wrong.
    """

    def __init__(self, policy: Policy, file: Path | None, key: str, complain: Callable[[str], None]) -> None:
        self._policy, self._file, self._key, self._complain = policy, file, key, complain
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._saved_at = float('-inf')
        self.thought_seconds = 0.0
        """The processor's time that the last choice took."""
        self._thread = threading.Thread(target=self._run, name='decider', daemon=True)
        self._tasks.put(self._load)
        self._thread.start()

    def choose(self, conditions: Conditions) -> Future[Choice]:
        """Return what will be the policy's choice."""
        future: Future[Choice] = Future()

        def task() -> None:
            begin = time.thread_time()
            try:
                choice = self._policy.choose(conditions)
            except Exception as error:  # noqa: BLE001
                future.set_exception(error)
                return
            self.thought_seconds = time.thread_time() - begin
            future.set_result(choice)
            self._policy.maintain(conditions)
            if conditions.now - self._saved_at >= SAVE_SECONDS:
                self._save()
                self._saved_at = conditions.now

        self._tasks.put(task)
        return future

    def prefetch_candidates(self) -> Future[Sequence[Assignment]]:
        """Return what will be the plans that are worth being kept prepared."""
        return self._ask(self._policy.prefetch_candidates)

    def shadow(self, warm: Collection[Assignment]) -> Future[Assignment | None]:
        """Count a frame; return what will be the prepared plan that a shadow frame is to run under, or None."""
        return self._ask(lambda: self._policy.shadow(warm))

    def _ask(self, question: Callable[[], _Answer]) -> Future[_Answer]:
        future: Future[_Answer] = Future()

        def task() -> None:
            try:
                future.set_result(question())
            except Exception as error:
                future.set_exception(error)
                raise

        self._tasks.put(task)
        return future

    def moved(self, now: float, assignment: tuple[str, ...]) -> None:
        """Say that a plan has come into force."""
        self._tasks.put(lambda: self._policy.moved(now, assignment))

    def learn(self, frame: Frame) -> None:
        """Say what a frame cost."""
        self._tasks.put(lambda: self._policy.learn(frame))

    def close(self, seconds: float = 0.3) -> None:
        """Keep what was learned and end, if that takes no longer."""
        self._tasks.put(self._save)
        self._tasks.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except PlanError as error:  # noqa: PERF203
                self._complain(str(error))
            except Exception:  # noqa: BLE001
                self._complain(f'the policy failed, going on:\n{traceback.format_exc()}')

    def _load(self) -> None:
        learner = learner_of(self._policy)
        if learner is not None and self._file is not None:
            load(self._file, self._key, learner)

    def _save(self) -> None:
        learner = learner_of(self._policy)
        if learner is not None and self._file is not None and learner.candidates.plans:
            save(self._file, self._key, learner)
