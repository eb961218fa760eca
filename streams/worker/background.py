"""Shell: whether what aiokafka does behind its clients is still being done.

A client refreshes its metadata, joins its group and fetches in tasks of its own. When one of them dies of an error that it did
not foresee, nobody is told: calls that need it wait for ever, and the worker, healthy by all looks, reads no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from ingest.contract.errors import UnavailableError

#: Where the tasks hang, of consumers and producers alike (aiokafka has no public name for them).
_TASKS = (
    ("_client", "_sync_task"),
    ("client", "_sync_task"),
    ("_coordinator", "_coordination_task"),
    ("_fetcher", "_fetch_task"),
    ("_sender", "_sender_task"),
)


def tasks_of(client: Any) -> list[asyncio.Task[Any]]:
    """The tasks behind an aiokafka client that has been started."""
    found = (getattr(getattr(client, part, None), task, None) for part, task in _TASKS)
    return [task for task in found if isinstance(task, asyncio.Task)]


def check_alive(clients: Iterable[Any]) -> None:
    """Raises UnavailableError when a task behind one of these clients, which are all in use, has died of an error."""
    for client in clients:
        for task in tasks_of(client):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise UnavailableError(f"a client of Kafka has stopped working ({error!r}): start the worker again") from error
