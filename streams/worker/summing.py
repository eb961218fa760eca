"""Shell: sums up recovered partitions side by side, in processes of their own, while others are still being read.

A process takes a partition's records over a pipe and gives its totals back. When this worker ends, however it does, the pipe
closes, and so they end. What a process does not give (it was killed, or a record cannot be read) is left to the worker itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import queue
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from ingest.contract.plan import Plan
from streams.partition import Summary, summed, unsummed
from streams.rules import Rules

log = logging.getLogger(__name__)

#: With fewer records the processes would take longer to start than the sums take.
FEW_RECORDS = 50_000
_MOST_PROCESSES = 4
_END_SECONDS = 5.0

Base = dict[bytes, bytes]


class _Job:
    """A partition to be summed up, and its totals once they are known."""

    __slots__ = ("base", "number", "summary")

    def __init__(self, number: int, base: Base) -> None:
        self.number = number
        self.base = base
        self.summary: Summary | None = None


class Summing:
    """The processes, and what they were given: `begin`, `add` as partitions become known, `totals`.

    few   records that are not worth it
    """

    def __init__(self, plan: Plan, partitions: int, few: int = FEW_RECORDS) -> None:
        self._plan = plan
        self._partitions = partitions
        self._few = few
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._helpers: list[tuple[SpawnProcess, Connection, threading.Thread]] = []
        self._jobs: dict[int, _Job] = {}

    def begin(self, partitions: int, records: int) -> None:
        """Starts the processes, if so many partitions with so many records are worth it and they do not run yet."""
        count = min(len(os.sched_getaffinity(0)), partitions, _MOST_PROCESSES)
        if self._helpers or count < 2 or records < self._few:
            return
        spawn = multiprocessing.get_context("spawn")
        try:
            for _ in range(count):
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=_help, args=(self._plan, self._partitions, theirs), daemon=True)
                process.start()
                theirs.close()
                thread = threading.Thread(target=_feed, args=(ours, self._waiting), daemon=True)
                thread.start()
                self._helpers.append((process, ours, thread))
        except OSError as error:
            log.warning("partitions are not summed up side by side: %s", error)

    def add(self, number: int, base: Base) -> None:
        """Has a partition summed up, all records of which are in the map. They may not change before `totals`, or `forget`."""
        if self._helpers:
            job = self._jobs[number] = _Job(number, base)
            self._waiting.put(job)

    def forget(self, number: int) -> None:
        """The partition's records change: what they came to is not its totals."""
        self._jobs.pop(number, None)

    async def totals(self, bases: Mapping[int, Base]) -> dict[int, Summary]:
        """Those of partitions by number, of their records; of none where it is not worth it, or could not be done here."""
        self.begin(len(bases), sum(map(len, bases.values())))
        for number in sorted(bases, key=lambda one: -len(bases[one])):
            if number not in self._jobs or self._jobs[number].base is not bases[number]:
                self.add(number, bases[number])
        try:
            for _ in self._helpers:
                self._waiting.put(None)
            for _, _, thread in list(self._helpers):
                await asyncio.to_thread(thread.join)
            jobs = list(self._jobs.values())
        finally:
            self.close()
        return {job.number: job.summary for job in jobs if job.summary is not None and bases.get(job.number) is job.base}

    def close(self) -> None:
        """Ends the processes, and forgets what they were given."""
        for process, _, _ in self._helpers:
            process.terminate()
            self._waiting.put(None)
        for process, pipe, thread in self._helpers:
            process.join(_END_SECONDS)
            thread.join(_END_SECONDS)
            pipe.close()
        self._helpers.clear()
        self._jobs.clear()
        self._waiting = queue.SimpleQueue()


def _feed(pipe: Connection, waiting: queue.SimpleQueue[_Job | None]) -> None:
    """Gives a process partition after partition."""
    with contextlib.suppress(EOFError, OSError):
        while (job := waiting.get()) is not None:
            try:
                known = unsummed(job.base)
            except RuntimeError:  # it changed meanwhile, and so is of no use
                continue
            pipe.send((job.number, known))
            del known
            job.summary = pipe.recv()


def _help(plan: Plan, partitions: int, pipe: Connection) -> None:
    """A process: sums up what comes through the pipe until it closes."""
    gc.disable()
    rules = Rules(plan)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            number, known = pipe.recv()
            try:
                summary = summed(rules, number, partitions, known)
            except Exception:
                summary = None  # the worker will come to the same, and say so
            del known
            pipe.send(summary)
