"""Shell: how the worker's process ends: at once after what it cannot go on from, in bounded time when told to stop."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

import faust

from ingest.contract.errors import ConfigError, FootfallError, LayoutError

log = logging.getLogger(__name__)

#: Exit code after a failure that a restart may mend, and after one that it cannot.
EXIT_FATAL = 70
EXIT_MEND = 2
#: How long an orderly stop may take: a broker that is away would hold it for ever.
STOP_SECONDS = 8.0


def end(error: BaseException) -> NoReturn:
    """Ends the process at once. Faust's own way of crashing waits for frames that can never be acknowledged any more."""
    code = EXIT_FATAL
    if isinstance(error, ConfigError | LayoutError):
        print(f"footfall: {error}", file=sys.stderr)
        code = EXIT_MEND
    elif isinstance(error, FootfallError):
        log.critical("ends: %s", error)
    else:
        log.critical("ends: unforeseen", exc_info=error)
    _exit(code)


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


class BoundedWorker(faust.Worker):
    """faust.Worker that ends within STOP_SECONDS of a signal, come what may."""

    def _schedule_shutdown(self, signal: object) -> None:
        super()._schedule_shutdown(signal)
        self.loop.call_later(STOP_SECONDS, self._give_up)

    def _give_up(self) -> None:
        log.warning("did not stop in order within %.0f s: what is not safe yet will be read again", STOP_SECONDS)
        _exit(0)
