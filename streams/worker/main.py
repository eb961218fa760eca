"""Shell: runs the worker until it is told to stop."""

from __future__ import annotations

import gc
import logging

from ingest.contract.settings import Settings
from streams.worker.app import make_app
from streams.worker.process import BoundedWorker
from streams.worker.repeats import Repeats

#: Millions of small objects are made and hardly a cycle: to look for some after every 700 costs a tenth of the worker's time.
_GC_THRESHOLD = (50_000, 20, 100)


def run(settings: Settings) -> None:
    """Runs a worker; returns after SIGTERM or SIGINT (what is not safe yet is read again). The topics must be there.

    Raises UnavailableError when worker.port is taken.
    """
    gc.set_threshold(*_GC_THRESHOLD)
    # Not on uvloop: there, a write to a connection that has just broken is an error that aiokafka does not foresee, and the task
    # that refreshes its metadata dies of it. With frames the loop is a small part of the work.
    for noisy in ("faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Repeats("aiokafka"))
    worker = BoundedWorker(make_app(settings), loglevel="WARNING", quiet=True, redirect_stdouts=False, override_logging=False)
    worker.spinner = None  # it writes to the terminal what belongs to none
    try:
        worker.execute_from_commandline()
    except SystemExit as stop:
        if stop.code not in (0, None):
            raise
