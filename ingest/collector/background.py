"""Shell: tasks that run beside the requests for as long as the collector does. One that dies unforeseen ends the collector.

Without them it would go on answering, healthy by all looks, and do no more what they are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ingest.contract.errors import FootfallError

_ENDS = "ends"


def start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Runs it in the running loop; `name` says what it does."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_ended)
    return task


async def stop(*tasks: asyncio.Task[None] | None) -> None:
    """Ends tasks, and returns when they have ended. Never raises what they died of."""
    left = [task for task in tasks if task is not None]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        what = f"what {task.get_name()} ended unforeseen"
        task.get_loop().call_exception_handler({"message": what, "exception": error, "task": task, _ENDS: "the collector"})


def watch(loop: asyncio.AbstractEventLoop, failed: Callable[[FootfallError], None]) -> None:
    """From now on `failed` is called when one of these tasks dies in that loop; the log has the traceback."""

    def unforeseen(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        if _ENDS in context:
            failed(FootfallError(f"{context['message']}: {type(context['exception']).__name__}"))

    loop.set_exception_handler(unforeseen)
