"""One partition of the worker: frames go in; changed records, changed totals and rejected lines come out.

Pure: the shell reads frames, writes what `take` gives in one transaction, and calls `commit` when that is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ingest.contract.control import UnknownControlError, read_control
from ingest.contract.errors import LayoutError
from ingest.contract.event import read_frame
from ingest.contract.partition import partition_of
from ingest.contract.rejected import Rejected, payload_fields
from streams.bulk import sum_stored
from streams.clock import ScopeClock
from streams.codec import (
    CLOCK_KEY,
    STATE_KEY,
    decode_clock,
    decode_record,
    decode_state,
    encode_clock,
    encode_record,
    encode_state,
)
from streams.contract.history import MAX_AHEAD_MS
from streams.contract.merge import decode_merge, encode_merge, merge_lines
from streams.contributions import FunnelPlace, Scopes, contribute
from streams.emission import Emission
from streams.facets import UnknownApp
from streams.funnel import tie
from streams.identity import Identity
from streams.joiner import Joiner
from streams.life import RETENTION_DAYS
from streams.names import Names
from streams.record import JoinRules, Record
from streams.resolve import Resolver
from streams.rules import Rules
from streams.snapshot import Start
from streams.snapshotting import SnapshotRule, Snapshotting, sum_since
from streams.totals import Totals, TotalsState

NOT_PERSONS = (STATE_KEY, CLOCK_KEY)
#: How far this machine's clock may be behind the newest receipt before the `now` windows miss somebody.
_CLOCK_SLACK_MINUTES = 120


class Taken(NamedTuple):
    """What a checkpoint must write in one transaction.

    records, totals   (key, value) for this partition of the changelog (None: the record is gone), of the metrics topic
    snapshot          (key, value) for the changelog as well, behind the records: what they all come to
    merges            (partition of the merges topic, line)
    rejected          lines
    """

    records: list[tuple[bytes, bytes | None]]
    totals: list[tuple[bytes, bytes]]
    merges: list[tuple[int, bytes]]
    rejected: list[bytes]
    snapshot: Sequence[tuple[bytes, bytes]] = ()


class Counters:
    """What happened since the process started; for operators, not exact across restarts."""

    __slots__ = ("events", "frames", "passive", "rejected")

    def __init__(self) -> None:
        self.frames = 0
        self.events: dict[str, int] = {}
        self.passive = 0
        self.rejected: dict[str, int] = {}


class Summary(NamedTuple):
    """What summing up a partition's records comes to, with the names that it is told in."""

    names: list[str]
    totals: TotalsState


class Partition:
    """The records and totals of one events partition.

    base        person key -> encoded record, as recovered from the changelog; `commit` keeps it up to date
    partitions  how many events partitions there are
    summary     what its records come to, if that is known already
    start       where a snapshot lets it start from (`start_of`)
    snapshots   when another one is due
    """

    def __init__(
        self,
        rules: Rules,
        topic: str,
        number: int,
        partitions: int,
        base: dict[bytes, bytes],
        cached: int,
        summary: Summary | None = None,
        start: Start | None = None,
        snapshots: SnapshotRule = SnapshotRule(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self.number = number
        self.counters = Counters()
        self._rules = rules
        self._topic = topic
        self._partitions = partitions
        self._base = base
        self._cached = cached
        # decoded records: those lately used, and those used before them, which are let go together
        self._records: dict[str, Record] = {}
        self._aged: dict[str, Record] = {}
        self._dirty: dict[str, Record] = {}
        self._forgotten: set[str] = set()
        self._rejected: list[bytes] = []
        self._oldest = 0
        self._written_names = 0
        self._written_definitions: dict[str, str] = {}
        self.snapshotting = Snapshotting(rules, snapshots, base, start)
        self.clock = decode_clock(base[CLOCK_KEY]) if CLOCK_KEY in base else 0
        self._names = Names()
        self._open_state()
        if summary is not None:
            self._names = Names(summary.names)
        clocks = {zone.name: ScopeClock(zone, rules.horizon) for zone in rules.scopes.values()}
        self._zone_clocks = list(clocks.values())
        for clock in self._zone_clocks:
            clock.advance(self.clock)
        self.scopes = self._number_scopes(clocks)
        self.totals = self._summed(summary, start)
        self.joiner = Joiner(rules, self.scopes, self.totals)
        self.identity = Identity(self._join_rules(), self._names, self.scopes, self.totals)
        # events under a merged id count nowhere here: they are joined into a record that is handed over
        self._stray_joiner = Joiner(rules, self.scopes, self.empty_totals())
        self._resolver = Resolver(rules, self._names, self.scopes.clocks)
        self._emission = Emission(rules, self._names, self.scopes.clocks, number, self.totals)

    def _open_state(self) -> None:
        data = self._base.get(STATE_KEY)
        if data is None:
            return
        state = decode_state(data)
        for what, value in state.definitions.items():
            now = self._rules.definitions.get(what, value)
            if now != value:
                raise LayoutError(
                    f"{what} was {value} when this project's records were written and is {now} now: set it back, give a funnel "
                    "that is another now a new id, or name a new project.layout (and kafka.topic_prefix) to count anew"
                )
        self._names = Names(state.names)
        self._written_names = len(self._names)
        self._written_definitions = state.definitions

    def _number_scopes(self, zone_clocks: dict[str, ScopeClock]) -> Scopes:
        """Numbers all that the plan can name, so that names seldom grow later."""
        number, rules = self._names.number, self._rules
        clocks: dict[int, ScopeClock] = {}
        for scope, zone in rules.scopes.items():
            clocks[number(scope)] = zone_clocks[zone.name]
            for facet in rules.facet_names[scope]:
                number(facet)
        for day in range(RETENTION_DAYS + 1):
            number(f"d{day}")
        funnels = {
            number(f"funnel:{name}"): FunnelPlace(name, number(scope), clocks[number(scope)], rule, number, self._names.text)
            for name, (scope, rule) in rules.funnels.items()
        }
        return Scopes(clocks, {number(app): number(f"app:{app}") for app in rules.apps}, funnels)

    def _join_rules(self) -> JoinRules:
        funnels = {number: (place.rule, place.clock.zone) for number, place in self.scopes.funnels.items()}
        return JoinRules(self._rules.horizon, self._rules.gap_ms, funnels)

    def empty_totals(self) -> Totals:
        """Totals of nobody."""
        totals = Totals(self._rules.gap_ms, lambda day: self._names.number(f"d{day}"))
        totals.forget_minutes(self._oldest_now())
        return totals

    def _oldest_now(self) -> int:
        """The earliest minute at which a `now` window may end. By receipts: this machine's clock may be set back, and another's,
        on which the totals are gone on with, may be behind."""
        return self.clock // 60_000 - _CLOCK_SLACK_MINUTES

    def _summed(self, summary: Summary | None, start: Start | None) -> Totals:
        if summary is not None:
            totals = self.empty_totals()
            totals.restore(summary.totals)
            return totals
        return self.summed_afresh() if start is None else sum_since(self.empty_totals(), self.scopes, self._base, start)

    def summed_afresh(self) -> Totals:
        """Totals made anew from the records as last committed: what the running ones must be equal to."""
        return sum_stored(self.empty_totals(), self.scopes, (data for key, data in self._base.items() if key not in NOT_PERSONS))

    def summary(self) -> Summary:
        """What its records come to, for a Partition on the same ones elsewhere."""
        return Summary(self._names.all(), self.totals.state())

    @property
    def persons(self) -> int:
        """Persons in this partition, as of the last commit."""
        return len(self._base) - sum(key in self._base for key in NOT_PERSONS)

    @property
    def dirty(self) -> int:
        """Records changed since the last `take`."""
        return len(self._dirty)

    # --- frames in

    def apply_frame(self, frame: bytes, offset: int, appended: int) -> None:
        """Joins a frame's events into their records. `appended` is the broker's time of the Kafka record (ms, UTC).

        Lines that cannot be counted are kept for the rejected topic. Applying a frame again changes nothing.
        """
        self.counters.frames += 1
        events, bad = read_frame(frame, self._rules.decoder)
        if events and not 0 < self._oldest <= events[0].received:
            self._oldest = events[0].received  # a frame's events came within milliseconds of each other
        for line in bad:
            if not self._controlled(line.payload):
                self._reject(line.payload, "bad_line", line.reason, offset, line.line, appended)
        for index, event in enumerate(events):
            reason = self._apply(event, appended)
            if reason is not None:
                number, payload = _nth_line(frame, index, {line.line for line in bad})
                self._reject(payload, *reason, offset, number, appended, event.app)

    def apply_merges(self, frame: bytes, offset: int, appended: int) -> None:
        """Takes a frame of the merges topic (streams.contract.merge). Applying it again changes nothing."""
        for number, line in enumerate(merge_lines(frame)):
            self._apply_merge(line, offset, number, appended)

    def _apply_merge(self, line: bytes, offset: int, number: int, appended: int) -> None:
        try:
            message = decode_merge(line)
        except msgspec.DecodeError as error:
            self._reject(line, "bad_merge", str(error), offset, number, appended)
            return
        if message.kind == "merged" or (message.kind == "handover" and message.layout not in ("", self._rules.layout)):
            return
        record = self._record(message.person)
        if record is None:
            self._reject(line, "wrong_partition", f"person {message.person} is of another partition", offset, number, appended)
        elif message.kind == "claim":
            if self.identity.grant(message.person, record, message.target):
                self._dirty[message.person] = record
        else:
            self._advance(message.clock)  # the record may know of days that this partition has not come to
            if self.identity.take_over(record, message.record):
                self._dirty[message.person] = record

    def forget(self, person: str) -> None:
        """The person's record goes, and what it counts in open windows. What comes later is a new person's.

        The changelog gets a tombstone with the next checkpoint, in one transaction with the totals.
        """
        record = self._record(person)
        if record is None:
            return
        contribute(self.totals, self.scopes, record, Record())
        self.identity.forget(person)
        self._dirty.pop(person, None)
        self._aged.pop(person, None)
        self._records[person] = Record()  # not the stored one, as long as that is not gone
        self._forgotten.add(person)

    def _controlled(self, line: bytes) -> bool:
        """Does what a control line says; whether it is one."""
        try:
            control = read_control(line)
        except UnknownControlError as error:
            raise LayoutError(str(error)) from error
        if control is not None and control.control == "forget":
            self.forget(control.person)
        return control is not None

    def _reject(self, payload: bytes, reason: str, detail: str, offset: int, line: int, at: int, app: str = "") -> None:
        text, encoding, truncated = payload_fields(payload)
        self.counters.rejected[reason] = self.counters.rejected.get(reason, 0) + 1
        rejected = Rejected(
            at=at,
            stage="worker",
            reason=reason,
            detail=detail,
            app=app,
            topic=self._topic,
            partition=self.number,
            offset=offset,
            line=line,
            payload=text,
            encoding=encoding,
            truncated=truncated,
        )
        self._rejected.append(msgspec.json.encode(rejected))

    def _apply(self, event: Any, appended: int) -> tuple[str, str] | None:
        """Counts one event; (reason, detail) if it must not count."""
        received = event.received
        if received > appended + MAX_AHEAD_MS:
            return "received_in_future", f"received {received} is ahead of the broker's clock {appended} by over 10 minutes"
        try:
            resolved = self._resolver.resolve(event)
        except UnknownApp:
            return "unknown_app", f'app "{event.app}" is not in the plan'
        person = event.person
        record = self._record(person)
        if record is None:
            return "wrong_partition", f"person {person} belongs to partition {partition_of(person, self._partitions)}"
        self._advance(received)
        if event.merge is not None:
            self.identity.claim(event.merge.source, event.merge.target)
        if resolved is None:
            self.counters.passive += 1
            return None
        self.counters.events[event.app] = self.counters.events.get(event.app, 0) + 1
        order = tie(event.id) if resolved.funnels else 0
        time = min(event.time, received)
        if record.target:
            self._stray_joiner.join_event(self.identity.stray(record.target), resolved, time, order, received, event.duration)
        elif self.joiner.join_event(record, resolved, time, order, received, event.duration):
            self._dirty[person] = record
        return None

    def _advance(self, received: int) -> None:
        if received > self.clock:
            self.clock = received
            for clock in self._zone_clocks:
                clock.advance(received)

    def _record(self, person: str) -> Record | None:
        """The person's record, a new one if there is none; None for a person of another partition."""
        record = self._records.get(person)
        if record is None:
            if partition_of(person, self._partitions) != self.number:
                return None
            record = self._aged.get(person)
            if record is None:
                data = self._base.get(person.encode())
                record = decode_record(data) if data is not None else Record()
            self._records[person] = record
        return record

    # --- checkpoints out

    def take(self, now: int, snapshot: bool | None = None) -> Taken:
        """What has changed since the last take, to be written in one transaction; `now` is the wall clock (ms, UTC).

        snapshot: whether with one of the totals; None: when it is due.
        """
        records: list[tuple[bytes, bytes | None]] = [
            (person.encode(), encode_record(record)) for person, record in self._dirty.items()
        ]
        records += [(person.encode(), None) for person in self._forgotten - self._dirty.keys() if person.encode() in self._base]
        totals = self._emission.take(now, self._oldest)
        self.totals.forget_minutes(self._oldest_now())
        self.snapshotting.changed(len(records))
        snapshot = self.snapshotting.is_due(now) if snapshot is None else snapshot
        pieces = self.snapshotting.take(now, self.totals, records, len(self._names)) if snapshot else []
        if records or pieces:
            records.append((CLOCK_KEY, encode_clock(self.clock)))
            # what has left the plan stays defined: records hold events by it, for the case that it comes back
            definitions = self._written_definitions | self._rules.definitions
            if len(self._names) != self._written_names or definitions != self._written_definitions:
                self._written_names, self._written_definitions = len(self._names), definitions
                records.append((STATE_KEY, encode_state(self._names.all(), definitions)))
        merges = [
            (partition_of(message.person, self._partitions), encode_merge(message))
            for message in self.identity.take(self.clock, now, self._rules.layout)
        ]
        self.joiner.add_late(self._stray_joiner)
        self._stray_joiner = Joiner(self._rules, self.scopes, self.empty_totals())
        taken = Taken(records, totals, merges, self._rejected, pieces)
        self._dirty = {}
        self._forgotten = set()
        self._rejected = []
        self._oldest = 0
        return taken

    def commit(self, taken: Taken) -> None:
        """The transaction of `taken` is through: its records are what the changelog holds."""
        self.snapshotting.commit(taken.records)
        for key, value in taken.records:
            if value is None:
                self._base.pop(key, None)
            else:
                self._base[key] = value
        if len(self._records) > self._cached // 2:
            self._aged, self._records = self._records, dict(self._dirty)

    def decoded(self) -> Mapping[str, Record]:
        """All records, decoded, changes not yet taken included. For tests and tools."""
        records = {key.decode(): decode_record(data) for key, data in self._base.items() if key not in NOT_PERSONS}
        return records | self._aged | self._records


def _nth_line(frame: bytes, index: int, bad: set[int]) -> tuple[int, bytes]:
    """(number, bytes) of the index-th good line of a frame."""
    good = [(number, line) for number, line in enumerate(frame.split(b"\n")) if number not in bad and line.strip()]
    return good[index]
