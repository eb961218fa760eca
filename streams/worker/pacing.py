"""Shell: holds frames of a partition back until the others have come as far (streams.pace)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiokafka.errors import KafkaError
from faust.types import TP

from streams.pace import Pace
from streams.worker.others import Others
from streams.worker.process import end

log = logging.getLogger(__name__)

#: Between two looks at the others.
_LOOK_S, _LONGEST_LOOK_S = 0.02, 0.15
#: Frames of a partition that are held in memory before no more of it is fetched.
_MOST_HELD = 64
#: Others that do not move at all for so long (nobody reads them, or what they read never ends) are not waited for.
PATIENCE_S = 600.0
#: How long after a wait the worker goes on telling the others at once how far it is.
_BRISK_S = 10.0
_STOP_S = 3.0


class Fetching(Protocol):
    """What Faust's consumer has for this."""

    unacked: set[Any]

    def on_buffer_full(self, tp: Any) -> None:
        """Fetches no more of a partition."""

    def on_buffer_drop(self, tp: Any) -> None:
        """Fetches it again."""


class _Shared:
    """A call that those who ask at the same time share. It begins after they asked, as it is to tell or do what is so by then."""

    def __init__(self, call: Callable[[], Awaitable[Any]]) -> None:
        self._call = call
        self._lock = asyncio.Lock()
        self._begun = self._done = 0
        self._answer: Any = None

    async def __call__(self) -> Any:
        asked = self._begun
        async with self._lock:
            if self._done <= asked:
                self._begun += 1
                self._answer = await self._call()
                self._done = self._begun
            return self._answer


class _Read:
    """How far a topic's partitions are read: own ones by what this worker has taken in, any by what is committed."""

    def __init__(self, committed: Callable[[], Awaitable[dict[int, int]]]) -> None:
        self.own: dict[int, int] = {}
        self.committed = committed


class Pacing:
    """Frames go through `frame`, in order, to `join`: at once, or as soon as the others are there.

    join, join_merge    take a frame, a message of the merges topic
    safe                makes what was joined so far safe, acknowledged and committed
    fetching            gives Faust's consumer, which is told to fetch no more of a partition that waits
    partitions          how many there are; is_alone: whether this worker has all of them
    written             of the merges topic, the offset after the last message that this worker wrote
    """

    def __init__(
        self,
        others: Others,
        join: Callable[[Any], Awaitable[None]],
        join_merge: Callable[[Any], Awaitable[None]],
        safe: Callable[[], Awaitable[None]],
        fetching: Callable[[], Fetching],
        partitions: int,
        is_alone: Callable[[], bool],
        written: Callable[[], Mapping[int, int]],
    ) -> None:
        self._others = others
        self._events = _Read(_Shared(others.events_read))
        self._merges = _Read(_Shared(others.merges_read))
        self._merges_written = _Shared(others.merges_written)
        self._join_frame = join
        self._join_merge = join_merge
        self._safe = _Shared(safe)
        self._fetching = fetching
        self._partitions = partitions
        self._is_alone = is_alone
        self._written = written
        self._alone_since = -1
        self._paces: dict[int, Pace] = {}
        self._held: dict[int, deque[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._round = 0  # of assignments: what was held before is not of this one
        #: The round of the partitions that are being recovered, or were last.
        self.recovering = 0
        self._open = True
        self._brisk_until = 0.0

    @property
    def held(self) -> int:
        """Partitions that wait."""
        return len(self._held)

    @property
    def is_brisk(self) -> bool:
        """Whether others may be waiting for this worker's word."""
        return bool(self._held) or time.monotonic() < self._brisk_until

    async def frame(self, event: Any) -> None:
        """Passes a frame on, or holds it back."""
        message = event.message
        if not self._open:
            self._fetching().unacked.discard(message)  # it will be read again, by whoever has the partition then
            return
        number = message.partition
        held = self._held.get(number)
        pace = self._paces.setdefault(number, Pace())
        if held is None and pace.may_read(event.value or b"", _appended(event)):
            await self._join(event)
            return
        if held is None:
            held = self._held[number] = deque()
            task = asyncio.create_task(self._wait(number, held, pace, self._round))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        held.append(event)
        if len(held) >= _MOST_HELD:
            self._fetching().on_buffer_full(TP(message.topic, number))

    async def merge(self, event: Any) -> None:
        """Passes a message of the merges topic on."""
        if self._open:
            round_ = self._round
            await self._join_merge(event)
            if self._round == round_:
                self._merges.own[event.message.partition] = event.message.offset + 1
        else:
            self._fetching().unacked.discard(event.message)

    async def _join(self, event: Any) -> None:
        round_ = self._round
        await self._join_frame(event)
        if self._round == round_:
            self._events.own[event.message.partition] = event.message.offset + 1

    def let_go(self) -> None:
        """A rebalance or the end: what is held back will be read again. Until `go_on`, frames are passed over."""
        self._open = False
        self._round += 1
        for held in self._held.values():
            for event in held:
                self._fetching().unacked.discard(event.message)
        self._held.clear()
        self._paces.clear()
        self._events.own.clear()
        self._merges.own.clear()

    def assigned(self) -> None:
        """Partitions have been shared out, and their recovery begins."""
        self.recovering = self._round

    def go_on(self, round_: int) -> None:
        """The partitions of a round are recovered; reading begins at what was committed.

        Nothing is opened for one that is over: Faust lets a recovery end though the next rebalance has begun, and frames that are
        still on their way then would be joined behind others that were passed over.
        """
        if round_ == self._round:
            self._open = True

    async def close(self) -> None:
        """Ends all waiting."""
        self.let_go()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=_STOP_S)
        for task in list(self._tasks):
            task.cancel()
        with contextlib.suppress(KafkaError, TimeoutError, OSError):
            await asyncio.wait_for(self._others.close(), _STOP_S)

    async def _wait(self, number: int, held: deque[Any], pace: Pace, round_: int) -> None:
        try:
            while held and self._round == round_:
                event = held[0]
                frame, appended = event.value or b"", _appended(event)
                if not pace.may_read(frame, appended):
                    await self._others_reach(number, pace.others_must_reach(frame, appended), round_)
                    pace.reached(frame, appended)
                    continue
                held.popleft()
                await self._join(event)
                if len(held) == _MOST_HELD // 2:  # before the last one: Faust needs up to a second to fetch it again
                    self._fetching().on_buffer_drop(TP(event.message.topic, number))
            if self._round == round_:
                del self._held[number]
                self._fetching().on_buffer_drop(TP(event.message.topic, number))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            end(error)

    async def _others_reach(self, number: int, instant: int, round_: int) -> None:
        """Waits until all have read what came before, and have taken in what this partition tells them; then until this one
        has taken in what they tell it."""
        pause = _LOOK_S
        while self._round == round_ and any(self._is_before(one, instant) for one in self._held if one != number):
            await asyncio.sleep(pause)  # one of this worker's own goes on first
            pause = min(_LONGEST_LOOK_S, pause * 1.5)
        there = {number} | {one for one, held in self._held.items() if held}  # their next frame came later
        if len(there) < self._partitions:
            before = await self._ask(lambda: self._others.events_before(instant), round_)
            await self._until_read(self._events, {one: offset for one, offset in before.items() if one not in there}, round_)
        await self._until_read(self._merges, await self._told(round_), round_)
        answers = await self._told(round_)
        await self._until_read(self._merges, {number: answers.get(number, 0)}, round_)

    def _is_before(self, number: int, instant: int) -> bool:
        held = self._held[number]
        return not held or _appended(held[0]) < instant

    async def _told(self, round_: int) -> dict[int, int]:
        """For each partition of the merges topic, the offset after its last message, with all that this worker has to tell."""
        if self._alone_since == round_:  # nobody else writes there
            await self._safe()
            return dict(self._written())
        found: dict[int, int] = await self._ask(self._merges_written, round_)
        if self._is_alone() and self._round == round_:
            self._alone_since = round_
            await self._until_read(self._merges, found, round_)
        return found

    async def _ask(self, question: Callable[[], Awaitable[dict[int, int]]], round_: int) -> dict[int, int]:
        """An answer of Kafka, however long it takes; nothing once the partitions are others."""
        while self._round == round_:
            self._brisk_until = time.monotonic() + _BRISK_S
            await self._safe()
            try:
                return await question()
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("cannot see how far other partitions are: %r", error)
                await asyncio.sleep(1.0)
        return {}

    async def _until_read(self, topic: _Read, needed: dict[int, int], round_: int) -> None:
        pause = _LOOK_S
        seen: dict[int, int] = {}
        since = time.monotonic()
        while self._round == round_:
            read = dict(topic.own)
            needed = {number: offset for number, offset in needed.items() if read.get(number, 0) < offset}
            if not needed.keys() <= read.keys():  # of partitions of other workers, and those where nothing was read yet
                for number, offset in (await self._ask(topic.committed, round_)).items():
                    read[number] = max(offset, read.get(number, 0))
                needed = {number: offset for number, offset in needed.items() if read.get(number, 0) < offset}
            if not needed:
                return
            now = {number: read.get(number, 0) for number in needed}
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > PATIENCE_S:
                log.warning("partitions %s do not move: not waited for any longer", sorted(needed))
                return
            await asyncio.sleep(pause)
            pause = min(_LONGEST_LOOK_S, pause * 1.5)


def _appended(event: Any) -> int:
    return int(event.message.timestamp * 1000)
