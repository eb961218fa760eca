"""A person who is forgotten: the totals are then those of all others, whatever was sent twice, crashed or came afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.contract.control import Control, Erasure, UnknownControlError, encode_control, read_control
from ingest.contract.errors import LayoutError
from ingest.contract.partition import partition_of
from streams.partition import Partition
from tests.streams.plain import PlainEvent, recompute
from tests.streams.test_identity import BASE, EVENTS, NOW, OWNER, PARTITIONS, ZONE, Cluster
from tests.streams.test_partition_properties import HOUR, plain_rules

GONE = "u:bert"
ITS_IDS = [GONE, *(one for one, owner in OWNER.items() if owner == GONE)]
LOGINS = [
    (PlainEvent(owner, "one", "login", BASE - index * HOUR, BASE, "", 0, f"login{source}"), (source, owner))
    for index, (source, owner) in enumerate(OWNER.items())
    if source.startswith("a:")
]


def forget(cluster: Cluster, person: str) -> None:
    frame = encode_control(Control(control="forget", at=NOW, person=person))
    cluster.partitions[partition_of(person, PARTITIONS)].apply_frame(frame, 7, NOW)


def expected(events: list[PlainEvent]) -> dict[object, int]:
    today = datetime.fromtimestamp(NOW / 1000, UTC).date()
    return {n: v for n, v in recompute(events, plain_rules(ZONE, ZONE, 5)).items() if n.day <= today}


def told(cluster: Cluster) -> dict[object, int]:
    return {number: value for number, value in cluster.numbers().items() if value}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_numbers_are_those_of_the_others(data: st.DataObject) -> None:
    cluster = Cluster()
    before = [(event, None) for event in data.draw(EVENTS) if event.person != "u:old-cleo"]
    after = [replace(event, id=f"{event.id}after") for event in data.draw(EVENTS) if event.person != "u:old-cleo"]
    log: dict[int, list[Callable[[], None]]] = {number: [] for number in range(PARTITIONS)}  # since its last commit

    def do(number: int, what: Callable[[], None]) -> None:
        """One record of the partition's log; perhaps a checkpoint, or a crash after which its log comes again."""
        log[number].append(what)
        what()
        then = data.draw(st.sampled_from(["", "", "", "checkpoint", "crash", "crash after the checkpoint"]))
        if then == "checkpoint":
            cluster.checkpoint(number)
            log[number].clear()
        elif then:
            if then == "crash after the checkpoint":  # what was read is safe, but not acknowledged
                cluster.checkpoint(number)
            cluster.crash(number)
            for again in log[number]:
                again()

    def settle() -> None:
        cluster.settle()
        for one in log.values():
            one.clear()

    for event, merge in data.draw(st.permutations([*before, *LOGINS])):
        do(partition_of(event.person, PARTITIONS), lambda event=event, merge=merge: cluster.apply(event, merge))  # type: ignore[misc]
    settle()
    for person in reversed(ITS_IDS):  # the merged ids first: nothing is under way to the others then
        do(partition_of(person, PARTITIONS), lambda person=person: forget(cluster, person))  # type: ignore[misc]
        settle()
    kept = [event for event, _ in [*before, *LOGINS] if event.person not in ITS_IDS]
    true = [replace(event, person=OWNER.get(event.person, event.person)) for event in kept]
    assert told(cluster) == expected(true)
    for person in ITS_IDS:
        assert person.encode() not in cluster.stores[partition_of(person, PARTITIONS)]

    for person in ITS_IDS if data.draw(st.booleans()) else ():  # once more: harmless
        forget(cluster, person)
        settle()
    for event in after:
        do(partition_of(event.person, PARTITIONS), lambda event=event: cluster.apply(event))  # type: ignore[misc]
    settle()
    # the device is nobody's now: what comes under it is a new anonymous person's
    true += [
        event if event.person in ITS_IDS else replace(event, person=OWNER.get(event.person, event.person)) for event in after
    ]
    assert told(cluster) == expected(true)
    for number, partition in enumerate(cluster.partitions):
        again = Partition(cluster.rules, "t", number, PARTITIONS, cluster.stores[number], cached=2)
        known = {key: value for key, value in partition.totals.values().items() if value}
        assert {key: value for key, value in again.totals.values().items() if value} == known


def test_who_comes_again_and_logs_in_again_is_merged_again() -> None:
    cluster = Cluster()
    login = PlainEvent("u:anna", "one", "login", BASE, BASE, "", 0, "l1")
    cluster.apply(PlainEvent("a:1", "one", "view", BASE, BASE, "", 0, "v"))
    cluster.apply(login, ("a:1", "u:anna"))
    cluster.settle()
    for person in ("a:1", "u:anna"):
        forget(cluster, person)
        cluster.settle()
    assert not told(cluster)
    cluster.apply(PlainEvent("a:1", "one", "view", BASE, BASE, "", 0, "v2"))
    cluster.apply(replace(login, id="l2"), ("a:1", "u:anna"))
    cluster.settle()
    day = {n.facet: v for n, v in told(cluster).items() if n[:2] == ("active_users", "one") and n.window == "day"}  # type: ignore[attr-defined, index]
    assert day == {"": 1}


def test_control_lines_are_no_events_and_newer_ones_stop_the_worker() -> None:
    control = Control(control="erase", at=NOW, erase=(Erasure("u:anna", 17),))
    assert read_control(encode_control(control)) == control
    assert read_control(b'{"id":"1","control":"forget"}') is None
    cluster = Cluster()
    cluster.partitions[0].apply_frame(encode_control(control), 3, NOW)
    taken = cluster.partitions[0].take(NOW)
    assert not taken.records
    assert not taken.rejected
    for line in (b'{"control":"forget","version":2,"at":1}', b'{"control":"something","at":1}'):
        with pytest.raises(UnknownControlError):
            read_control(line)
        with pytest.raises(LayoutError, match="update"):
            cluster.partitions[0].apply_frame(line, 3, NOW)
