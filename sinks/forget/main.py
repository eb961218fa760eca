"""Shell: `footfall forget`: tells worker and sinks by the events topic, corrects what had closed, and looks whether it is done.

In this order, so that it may be killed anywhere and run again:

1. the worker forgets the ids, merged ones first: what they still hand over is on its way no more when the person itself goes
2. totals of closed windows that still have the person in them are corrected: the raw events are still there to tell how much
3. the sink of events erases the rows, in order with its inserts: reading the topic again erases them again
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from kafka.errors import KafkaError

from ingest.contract.control import Control, Erasure, encode_control
from ingest.contract.errors import UnavailableError, WriteError
from ingest.contract.partition import partition_of
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.clickhouse.reader import connect
from sinks.clickhouse.store import first_line
from sinks.forget.corrections import Corrections, candidates, corrections
from sinks.forget.receipt import Receipt, Rows, subject_of
from sinks.forget.traces import ids_of, others_with, records_left, rows_of
from sinks.kafka import safe_producer
from sinks.verify.drained import wait_until_passed
from sinks.verify.main import sql_numbers, stream_numbers, verify
from streams.contract.total import Total, TotalKey, encode_total, record_key

_SEND_S = 60
_EPOCH_S = 1_767_225_600  # 2026: corrections are numbered by the second they were made in, below zero

Say = Callable[[str], None]


def forget(settings: Settings, person: str, wait: float, say: Say) -> Receipt:
    """Forgets a person (`u:...`, `a:...`, as events have it) and all ids that are one with it. Worker and sinks must be running.

    wait: seconds that each step may take. Raises UnavailableError when something is away (run it again then), WriteError.
    """
    client = connect(settings, running_only=True)
    try:
        return _Forgetting(settings, client, person, wait, say).run()
    except ClickHouseError as error:
        raise UnavailableError(f"ClickHouse: {first_line(error)}") from error
    finally:
        client.close()


class _Forgetting:
    def __init__(self, settings: Settings, client: Client, person: str, wait: float, say: Say) -> None:
        self._settings = settings
        self._client = client
        self._person = person
        self._wait_s = wait
        self._say = say
        self._topics = topic_names(settings)
        self._database = settings.clickhouse.database
        self._now = time.time_ns() // 1_000_000

    def run(self) -> Receipt:
        began = time.monotonic()
        self._say("waiting until worker and sinks have read what is in Kafka")
        self._settle(2)
        ids = ids_of(self._client, self._person)
        rows = rows_of(self._client, ids)
        self._say(f"{len(ids)} ids are one person, with {rows['events']:,} events")
        merged = self._numbers(ids, merged=True) if rows["events"] else {}
        unmerged = self._numbers(ids, merged=False) if len(ids) > 1 and rows["events"] else merged
        keys = candidates(self._settings, self._now, merged, unmerged)
        before = self._stream() if keys else {}
        upto = self._forget(ids)
        found = Corrections({}, 0, [])
        if keys:
            self._say(f"{len(keys):,} of {len(merged):,} numbers may be of closed windows: looking what is left in them")
            others = sql_numbers(self._client, self._settings, self._database, self._now, without=tuple(ids))
            found = corrections(keys, merged, unmerged, before, self._stream(), others)
            self._correct(found.amounts)
        self._erase(upto)
        self._say("looking whether anything is left")
        after = rows_of(self._client, ids, upto)
        left = records_left(self._settings, ids)
        report = verify(self._settings, wait=min(self._wait_s, 30.0))
        salt = secrets.token_hex(8)
        receipt = Receipt(
            at=datetime.fromtimestamp(self._now / 1000, UTC).isoformat(timespec="seconds"),
            subject=subject_of(salt, self._person),
            salt=salt,
            ids=len(ids),
            rows={table: Rows(count, after[table]) for table, count in rows.items()},
            records=len(ids) - len(left),
            numbers=len(merged.keys() | unmerged.keys()),
            corrected=len(found.amounts),
            unresolved=len(found.unresolved),
            compared=sum(report.compared.values()),
            different=report.different,
            seconds=time.monotonic() - began,
            remains=self._remains(ids),
            notes=list(report.notes),
        )
        return receipt

    def _numbers(self, ids: Sequence[str], merged: bool) -> dict[TotalKey, int]:
        found = sql_numbers(self._client, self._settings, self._database, self._now, merged, only=tuple(ids))
        return {key: value for key, value in found.items() if value}

    def _stream(self) -> dict[TotalKey, int]:
        return stream_numbers(self._client, self._database, self._settings.project.layout)

    def _forget(self, ids: Sequence[str]) -> dict[str, int]:
        """Id -> the offset of the last event that was the person's."""
        upto: dict[str, int] = {}
        for step in (ids[:-1], ids[-1:]):
            if step:
                upto |= self._send_forget(step)
                self._say(f"waiting until the worker has forgotten {len(step)} of {len(ids)} ids")
                self._settle(3)  # what merged ids hand over, and the totals that come of it
        return upto

    def _send_forget(self, ids: Sequence[str]) -> dict[str, int]:
        controls = [(one, Control(control="forget", at=self._now, person=one)) for one in ids]
        offsets = self._send([(self._place(one), encode_control(control)) for one, control in controls])
        return {one: offset - 1 for one, offset in zip(ids, offsets, strict=True)}

    def _erase(self, upto: dict[str, int]) -> None:
        places: dict[int, list[Erasure]] = defaultdict(list)
        for one, offset in upto.items():
            places[self._place(one)].append(Erasure(one, offset))
        self._say("waiting until the rows are erased")
        self._send(
            [
                (place, encode_control(Control(control="erase", at=self._now, erase=tuple(erasures))))
                for place, erasures in places.items()
            ]
        )
        self._settle()

    def _correct(self, amounts: dict[TotalKey, int]) -> None:
        """Writes what is to be taken off as totals of a partition of their own."""
        if not amounts:
            return
        sql = (
            f"SELECT metric, app, facet, window, start, any(day), any(hour) FROM {self._database}.metrics "
            "WHERE layout = {layout:String} GROUP BY metric, app, facet, window, start"
        )
        layout = self._settings.project.layout
        names = {
            TotalKey(*row[:5]): (row[5].isoformat(), int(row[6]))
            for row in self._client.query(sql, parameters={"layout": layout}).result_rows
        }
        records: list[tuple[int, bytes, bytes | None]] = []
        for key, value in amounts.items():
            day, hour = names[key]
            total = Total(
                metric=key.metric,
                app=key.app,
                facet=key.facet,
                window=key.window,
                start=key.start,
                day=day,
                hour=hour,
                layout=layout,
                partition=_EPOCH_S - self._now // 1000,
                value=value,
                at=self._now,
            )
            records.append((0, encode_total(total), record_key(total)))
        self._say(f"correcting {len(records):,} totals of closed windows")
        self._produce(self._topics.metrics, records)
        self._settle()

    def _place(self, person: str) -> int:
        return partition_of(person, self._settings.kafka.partitions)

    def _send(self, frames: list[tuple[int, bytes]]) -> list[int]:
        return self._produce(self._topics.events, [(place, value, None) for place, value in frames])

    def _produce(self, topic: str, records: list[tuple[int, bytes, bytes | None]]) -> list[int]:
        """The offsets of the records, once all in-sync replicas have them."""
        producer = safe_producer(self._settings)
        try:
            sent = [producer.send(topic, value, key=key, partition=place) for place, value, key in records]
            return [int(one.get(timeout=_SEND_S).offset) for one in sent]
        except KafkaError as error:
            raise WriteError(f"{topic} takes nothing at the moment ({type(error).__name__}): run it again") from error
        finally:
            producer.close(timeout=5)

    def _settle(self, rounds: int = 1) -> None:
        """What is in Kafka is read; and so often, what came of it."""
        wait_until_passed(self._settings, self._wait_s, rounds)

    def _remains(self, ids: Sequence[str]) -> list[str]:
        hours = self._settings.kafka.retention_hours
        found = [
            f"Kafka keeps the events (topic {self._topics.events}) and which ids were one ({self._topics.merges}) for {hours} h",
            f"Kafka keeps what was rejected ({self._topics.rejected}) for 30 days",
            "the changelog's old records are there until Kafka compacts it; backups are yours",
            "a collector's spool keeps what it has yet to deliver (as a new person's), and spool/damaged until it is deleted",
            "a ClickHouse server that logs at debug or trace has what was looked for in rejected texts in its text log",
        ]
        others = others_with(self._client, ids)
        if others:
            found.append(f"{others:,} events of other persons name one of the ids (a device that they share): they are theirs")
        return found
