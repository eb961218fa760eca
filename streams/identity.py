"""Two ids that are one person: claims, handovers, and what comes later under an id that has been merged.

The record of a merged person is emptied and keeps only its target. All that it was is handed over, in the same transaction,
to the target's partition, where it is joined: a replay joins it again and changes nothing.
"""

from __future__ import annotations

from streams.codec import decode_portable, encode_portable
from streams.contract.merge import MergeMessage, order_of_ids
from streams.contributions import Scopes, contribute
from streams.names import Names
from streams.record import JoinRules, Record, join
from streams.totals import Totals

#: Claims that are remembered so as not to be made again by each event of a session; forgetting one is harmless.
_MOST_CLAIMS = 100_000


class Identity:
    """The identity rules of a partition. Messages to other partitions gather in `outbox`, as (person, message)."""

    def __init__(self, rules: JoinRules, names: Names, scopes: Scopes, totals: Totals) -> None:
        self._rules = rules
        self._names = names
        self._scopes = scopes
        self._totals = totals
        self._claimed: set[tuple[str, str]] = set()
        self._strays: dict[str, Record] = {}
        self.outbox: list[MergeMessage] = []
        #: Claims passed over, as the person had been granted to somebody else.
        self.conflicts = 0

    def claim(self, one: str, two: str) -> None:
        """An SDK says that two ids are one person."""
        target, merged = order_of_ids(one, two)
        if target == merged or (target, merged) in self._claimed:
            return
        if len(self._claimed) >= _MOST_CLAIMS:
            self._claimed.clear()
        self._claimed.add((target, merged))
        self.outbox.append(MergeMessage(kind="claim", person=merged, target=target))

    def grant(self, person: str, record: Record, target: str) -> bool:
        """A claim on `person`, whose record this is; whether the record changed."""
        if record.target:
            self.conflicts += record.target != target
            return False
        contribute(self._totals, self._scopes, record, Record())
        if record.parts or record.funnels:
            self._hand_over(target, record)
        record.parts, record.funnels, record.target = {}, {}, target
        self.outbox.append(MergeMessage(kind="merged", person=person, target=target))
        return True

    def take_over(self, record: Record, portable: bytes) -> bool:
        """A handover to the person whose record this is; whether the record changed."""
        other = decode_portable(portable, self._names)
        for funnel in [funnel for funnel in other.funnels if funnel not in self._rules.funnels]:
            del other.funnels[funnel]  # it has left the plan
        if record.target:
            self._hand_over(record.target, other)
            return False
        before = record.copy()
        join(record, other, self._rules)
        contribute(self._totals, self._scopes, before, record)
        return record != before

    def forget(self, person: str) -> None:
        """The person is nobody any more: who claims it again must be heard."""
        self._claimed = {claim for claim in self._claimed if person not in claim}

    def stray(self, target: str) -> Record:
        """Where to join an event that came under a merged id; it is handed over with the next checkpoint."""
        return self._strays.setdefault(target, Record())

    def take(self, clock: int, now: int, layout: str) -> list[MergeMessage]:
        """The messages to send with a checkpoint of a layout; `clock` is the partition's newest receipt (ms, UTC)."""
        for target, record in self._strays.items():
            self._hand_over(target, record)
        messages, self.outbox, self._strays = self.outbox, [], {}
        for message in messages:
            message.clock, message.at, message.layout = clock, now, layout
        return messages

    def _hand_over(self, target: str, record: Record) -> None:
        self.outbox.append(MergeMessage(kind="handover", person=target, record=encode_portable(record, self._names)))
