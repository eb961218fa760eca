"""Shell: sums up recovered partitions side by side, in processes of their own.

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
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from ingest.contract.plan import Plan
from streams.partition import Partition, Summary
from streams.rules import Rules

log = logging.getLogger(__name__)

#: With fewer records the processes would take longer to start than the sums take.
FEW_RECORDS = 50_000
_MOST_PROCESSES = 4
_END_SECONDS = 5.0

Base = dict[bytes, bytes]


async def summaries(plan: Plan, bases: Mapping[int, Base], partitions: int, few: int = FEW_RECORDS) -> dict[int, Summary]:
    """The totals of partitions by number, of their records; of none where it is not worth it, or could not be done here."""
    count = min(len(os.sched_getaffinity(0)), len(bases), _MOST_PROCESSES)
    if count < 2 or sum(map(len, bases.values())) < few:
        return {}
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in sorted(bases, key=lambda one: -len(bases[one])):
        waiting.put(number)
    found: dict[int, Summary] = {}
    spawn = multiprocessing.get_context("spawn")
    helpers: list[tuple[SpawnProcess, Connection]] = []
    try:
        for _ in range(count):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_help, args=(plan, partitions, theirs), daemon=True)
            process.start()
            theirs.close()
            helpers.append((process, ours))
        await asyncio.gather(*(asyncio.to_thread(_feed, pipe, waiting, bases, found) for _, pipe in helpers))
    except OSError as error:
        log.warning("partitions are not summed up side by side: %s", error)
    finally:
        for process, pipe in helpers:
            pipe.close()
            process.terminate()
            process.join(_END_SECONDS)
    return found


def _feed(pipe: Connection, waiting: queue.SimpleQueue[int], bases: Mapping[int, Base], found: dict[int, Summary]) -> None:
    """Gives a process partition after partition until none waits."""
    with contextlib.suppress(queue.Empty, EOFError, OSError):
        while True:
            number = waiting.get_nowait()
            pipe.send((number, bases[number]))
            summary = pipe.recv()
            if summary is not None:
                found[number] = summary


def _help(plan: Plan, partitions: int, pipe: Connection) -> None:
    """A process: sums up what comes through the pipe until it closes."""
    gc.disable()
    rules = Rules(plan)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            number, base = pipe.recv()
            try:
                summary = Partition(rules, "", number, partitions, base, cached=0).summary()
            except Exception:
                summary = None  # the worker will come to the same, and say so
            del base
            pipe.send(summary)
