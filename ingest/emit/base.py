"""Shell: what both emitters share: a bounded buffer, a thread that empties it, one that keeps time, a report for each event.

An event is in exactly one of these: refused by `emit` (it raises), in the buffer, or reported (its future is done: delivered, or
the error that ended it). Nothing is dropped in silence. Who ends an event is settled under the lock, so that neither a server
that does not answer nor a client that cannot be stopped holds up a report.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import parent_process
from multiprocessing.util import Finalize
from types import TracebackType
from typing import Literal, Self, Unpack

from ingest.contract.errors import BufferFullError, ClosedError, FootfallError, UnavailableError
from ingest.emit.events import EventFields, event_json

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 5.0
#: What an event costs in memory besides its bytes.
_OVERHEAD_BYTES = 1024
_SAY_AGAIN_S = 15.0
_MOST_ATTEMPT_S = 30.0
#: How long the clock sleeps.
_LEAST_SLEEP_S, _MOST_SLEEP_S = 0.01, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitterOptions:
    """How an emitter buffers.

    max_buffer_bytes     events that are not delivered yet; beyond, `emit` waits for room, or raises, as `when_full` says
    block_s              how long it waits at most before it raises BufferFullError
    linger_s             how long events are gathered before they are sent
    batch_events         how many are sent at once at most; batch_bytes: their bytes
    delivery_timeout_s   how long an event is tried; then its report is an UnavailableError, whatever the server does
    exit_flush_s         how long the end of the process waits for what is in the buffer
    """

    max_buffer_bytes: int = 32 * 1024 * 1024
    when_full: Literal["block", "raise"] = "block"
    block_s: float = 60.0
    linger_s: float = 0.02
    batch_events: int = 500
    batch_bytes: int = 1024 * 1024
    delivery_timeout_s: float = 120.0
    exit_flush_s: float = 10.0


@dataclass(slots=True, eq=False)
class Waiting:
    """An event in the buffer: what is sent, until when it is tried (monotonic), and its report.

    `tried` is set before it is first sent, `why` by an attempt that failed, `ended` by who gives the report.
    """

    id: str
    person: str
    body: bytes
    until: float
    number: int = 0
    report: Future[str] = field(default_factory=Future)
    tried: bool = False
    why: str = ""
    ended: bool = False

    @property
    def size(self) -> int:
        """What it costs of the buffer."""
        return len(self.body) + _OVERHEAD_BYTES

    def given_up(self, when: str) -> UnavailableError:
        """Its report when it is tried no longer: says whether it may have arrived."""
        if not self.tried:
            return UnavailableError(f"{when}: it was not sent, those before it were still being tried")
        return UnavailableError(f"{when}: {self.why or 'there was no answer'}; it may or may not have arrived")


class LaterError(UnavailableError):
    """Not now; after `wait_s` seconds."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class BaseEmitter:
    """Sends events from a thread of its own. May be used from any thread; a context manager, whose end delivers everything.

    It belongs to the process in which its first event was emitted: what is forked from that makes an emitter of its own. The end
    of the process (also of a child of `multiprocessing`) closes it; os._exit and signals that kill leave no time for that.
    Callbacks of reports run in the thread that gives the report: they must not wait.
    """

    def __init__(self, options: EmitterOptions) -> None:
        self.options = options
        self._changed = threading.Condition()
        self._queue: deque[Waiting] = deque()
        self._batch: list[Waiting] = []
        self._open: dict[int, Waiting] = {}
        self._bytes = 0
        self._emitted = 0
        self._delivered = 0
        self._failed = 0
        self._late = 0
        self._flushing = 0
        self._closing = False
        self._give_up = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._clock: threading.Thread | None = None
        self._finalize: Finalize | None = None
        self._pid = 0
        self._said = -_SAY_AGAIN_S
        self._last: FootfallError | None = None

    def emit(self, event: str, **fields: Unpack[EventFields]) -> Future[str]:
        """Takes an event, and returns its report: a future whose result is the event's id once it is safe.

        It ends with UnavailableError when that could not be done within `delivery_timeout_s`, with BadEventError when the
        collector refuses it, ConfigError or LayoutError when the emitter is set up wrongly; `add_done_callback` calls back.
        Raises at once: BadEventError (it is no event), BufferFullError, ClosedError, UnavailableError (no thread can be started:
        some versions of Python have none while the process ends).
        """
        number, raw = event_json(event, fields, uuid.uuid4().hex, time.time_ns() // 1_000_000)
        person, body = self._prepare(raw)
        waiting = Waiting(number, person, body, time.monotonic() + self.options.delivery_timeout_s)
        waiting.report.set_running_or_notify_cancel()  # it cannot be called back
        if self._pid and self._pid != os.getpid():  # before the lock: that may have been held at the fork
            raise ClosedError("the emitter belongs to the process that this one was forked from: make one after the fork")
        with self._changed:
            self._start()
            self._wait_for_room(waiting.size)
            self._emitted += 1
            waiting.number = self._emitted
            self._open[waiting.number] = waiting
            self._bytes += waiting.size
            self._queue.append(waiting)
            self._changed.notify_all()
        return waiting.report

    @property
    def delivered(self) -> int:
        """How many events are safe."""
        return self._delivered

    @property
    def failed(self) -> int:
        """How many events were given up; their reports say why."""
        return self._failed

    @property
    def buffered(self) -> int:
        """How many events are in the buffer."""
        return len(self._open)

    def flush(self, timeout_s: float = 30.0) -> None:
        """Waits until each event that was emitted before has its report. Raises UnavailableError when that takes longer."""
        until = time.monotonic() + timeout_s
        with self._changed:
            last = self._emitted
            self._flushing += 1
            self._changed.notify_all()
            try:
                while next(iter(self._open), last + 1) <= last:
                    if not self._changed.wait(max(0.0, until - time.monotonic())):
                        raise UnavailableError(f"{self.buffered} events are still not delivered after {timeout_s:g} s")
            finally:
                self._flushing -= 1

    def close(self, timeout_s: float = 30.0) -> None:
        """Delivers what is in the buffer, and ends. Raises UnavailableError when some of it could not be delivered in time; then
        each of those events has its report, which says whether it may have arrived. Closing twice does nothing."""
        if self._pid and self._pid != os.getpid():
            return  # what is in the buffer is the parent's to deliver
        with self._changed:
            self._closing = True
            late = self._late
            self._changed.notify_all()
        thread = self._thread
        if thread is None or self._is_ours():
            return
        thread.join(timeout_s)
        if thread.is_alive():
            self._give_up.set()
            self._end_all("the emitter was closed before it could be delivered")
            with self._changed:
                self._interrupt()
        atexit.unregister(self._at_exit)
        if self._finalize is not None:
            self._finalize.cancel()
        self._thread = None
        if self._late > late:
            raise UnavailableError(f"{self._late - late} events were not delivered within {timeout_s:g} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except UnavailableError:
            if error is None:
                raise

    # What the two kinds do differently

    def _prepare(self, raw: bytes) -> tuple[str, bytes]:
        """Person and what is sent for an event's JSON. Raises BadEventError."""
        raise NotImplementedError

    def _deliver(self, batch: Sequence[Waiting], until: float) -> list[FootfallError | None]:
        """Sends a batch, and waits for answers until then (monotonic); for each event None when it is safe, an error that says
        `retry`, or one that is for good. May raise a FootfallError that holds for all of them."""
        raise NotImplementedError

    def _interrupt(self) -> None:
        """Has a `_deliver` in another thread end soon, where that can be; must not wait."""
        raise NotImplementedError

    def _release(self) -> None:
        """Lets go of connections; may be called more than once."""
        raise NotImplementedError

    # The buffer

    def _start(self) -> None:
        if self._closing:
            raise ClosedError("the emitter is closed")
        if self._thread is not None:
            return
        self._over = over = threading.Event()
        clock = threading.Thread(target=self._keep_time, args=(over,), name="footfall-emitter-clock", daemon=True)
        thread = threading.Thread(target=self._run, name="footfall-emitter", daemon=True)
        try:
            clock.start()
            thread.start()
        except RuntimeError as error:
            over.set()  # for the clock, if that runs
            raise UnavailableError(f"the emitter's threads cannot be started: {error}") from error
        self._pid, self._clock, self._thread = os.getpid(), clock, thread
        self._hold_exit()
        if parent_process() is not None:  # a forked child of multiprocessing ends with os._exit, without atexit
            self._finalize = Finalize(None, self._at_exit, exitpriority=0)

    def _hold_exit(self) -> None:
        """The end of the process calls us before all that was registered up to now."""
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)

    def _at_exit(self) -> None:
        failed = self._failed
        with contextlib.suppress(UnavailableError):
            self.close(self.options.exit_flush_s)
        if self._failed > failed:  # nobody may be left to look at reports
            log.error("the process ends, and %d events were not delivered: %s", self._failed - failed, self._last)

    def _is_ours(self) -> bool:
        """Whether a callback of a report calls."""
        return threading.current_thread() in (self._thread, self._clock)

    def _wait_for_room(self, size: int) -> None:
        until = time.monotonic() + self.options.block_s
        while self._bytes + size > self.options.max_buffer_bytes and self._bytes:
            left = until - time.monotonic()
            if self.options.when_full == "raise" or left <= 0 or self._is_ours():
                raise BufferFullError(f"{self.buffered} events are not delivered yet: there is no room for more")
            self._changed.wait(left)
            if self._closing:
                raise ClosedError("the emitter was closed")

    def _next(self) -> bool:
        """Fills the batch, once there is something and it has been gathered long enough; False when that will never be."""
        options = self.options
        with self._changed:
            while not self._queue:
                if self._closing:
                    return False
                self._changed.wait()
            until = time.monotonic() + options.linger_s
            while len(self._queue) < options.batch_events and self._bytes < options.batch_bytes:
                left = until - time.monotonic()
                if left <= 0 or self._flushing or self._closing:
                    break
                self._changed.wait(left)
            size = 0
            while self._queue and len(self._batch) < options.batch_events:
                size += len(self._queue[0].body)
                if self._batch and size > options.batch_bytes:
                    break
                self._batch.append(self._queue.popleft())
            return True

    # The threads

    def _run(self) -> None:
        try:
            while self._next():
                pause = _FIRST_PAUSE_S
                while self._batch and not self._give_up.is_set():
                    wait_s = self._try(pause)
                    if self._batch:
                        self._give_up.wait(wait_s)
                        pause = min(_MAX_PAUSE_S, 2 * pause)
                self._batch = []
        except Exception as error:
            log.exception("the emitter's thread ended unforeseen")
            self._closing = True
            self._end_all("", FootfallError(f"the emitter's thread ended unforeseen: {type(error).__name__}"))
        finally:
            self._over.set()
            self._release()

    def _keep_time(self, over: threading.Event) -> None:
        while not over.wait(self._sweep()):
            pass

    def _sweep(self) -> float:
        """Ends what has been tried long enough; returns how long it takes until there may be more of that."""
        now = time.monotonic()
        with self._changed:
            expired = [waiting for waiting in self._batch if waiting.until <= now]
            while self._queue and self._queue[0].until <= now:  # the first is the oldest
                expired.append(self._queue.popleft())
            left = [waiting.until for waiting in (*self._batch, *islice(self._queue, 1)) if waiting.until > now]
            if self._batch and all(waiting.until <= now for waiting in self._batch):
                self._interrupt()  # for nobody's sake any more
        self._end((waiting, waiting.given_up("not delivered in time")) for waiting in expired)
        # What is emitted from now on has all of its time before it.
        wait_s = min(left, default=now + self.options.delivery_timeout_s) - now
        return min(_MOST_SLEEP_S, max(_LEAST_SLEEP_S, wait_s))

    def _try(self, pause: float) -> float:
        """One attempt at the batch; returns how long to wait before the next."""
        wait_s = pause * random.uniform(0.5, 1.0)
        with self._changed:
            self._batch = batch = [waiting for waiting in self._batch if not waiting.ended]
            for waiting in batch:
                waiting.tried = True
        if not batch:
            return 0.0
        until = min(time.monotonic() + _MOST_ATTEMPT_S, max(waiting.until for waiting in batch))
        try:
            outcomes = self._deliver(batch, until)
        except FootfallError as error:
            outcomes = [error] * len(batch)
        left: list[Waiting] = []
        ended: list[tuple[Waiting, FootfallError | None]] = []
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if outcome is None or not outcome.retry:
                ended.append((waiting, outcome))
            elif not waiting.ended:
                left.append(waiting)
                waiting.why = str(outcome)
                wait_s = max(wait_s, outcome.wait_s if isinstance(outcome, LaterError) else 0.0)
                self._say(outcome)
        with self._changed:
            self._batch = left
        self._end(ended)
        return wait_s

    def _say(self, why: FootfallError) -> None:
        if time.monotonic() - self._said > _SAY_AGAIN_S:
            self._said = time.monotonic()
            log.warning("%d events wait in the emitter's buffer: %s", self.buffered, why)

    def _end(self, ended: Iterable[tuple[Waiting, FootfallError | None]]) -> None:
        """Gives reports, then makes room. What has been ended by another thread stays as that said."""
        with self._changed:
            ours = [(waiting, error) for waiting, error in ended if not waiting.ended]
            for waiting, _ in ours:
                waiting.ended = True
        for waiting, error in ours:
            if error is None:
                waiting.report.set_result(waiting.id)
            else:
                waiting.report.set_exception(error)
        with self._changed:
            for waiting, error in ours:
                self._bytes -= waiting.size
                del self._open[waiting.number]
                if error is None:
                    self._delivered += 1
                else:
                    self._failed += 1
                    self._last = error
                    self._late += isinstance(error, UnavailableError)
            self._changed.notify_all()

    def _end_all(self, when: str, error: FootfallError | None = None) -> None:
        """Ends all that is in the buffer with the error; without one, each is given up."""
        with self._changed:
            everything = list(self._open.values())
            self._queue.clear()
        self._end((waiting, error or waiting.given_up(when)) for waiting in everything)
