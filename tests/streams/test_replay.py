"""A replay in memory: the same numbers as the partitions that lived through it, and the same grants of shared devices."""

from __future__ import annotations

import sys
from dataclasses import replace

import orjson

from sinks.clickhouse.history_sql import MINUTE_MS, cut
from streams.contract.merge import MergeMessage, decode_merge, encode_merge
from streams.replay import Replay
from tests.streams.plain import Number, PlainEvent
from tests.streams.test_identity import BASE, NOW, PARTITIONS, Cluster
from tests.streams.test_partition_properties import HOUR, Downstream


def event(person: str, name: str, ago: int, merge: tuple[str, str] | None = None) -> tuple[PlainEvent, tuple[str, str] | None]:
    return PlainEvent(person, "one", name, BASE - ago * HOUR, BASE - ago * HOUR, "", 0, f"{person}{name}{ago}"), merge


#: A device that two persons share: who is heard first has it.
EVENTS = [
    event("a:9", "app_launch", 30),
    event("u:anna", "login", 29, ("a:9", "u:anna")),
    event("u:bert", "login", 28, ("a:9", "u:bert")),
    event("a:9", "view", 20),
    event("u:bert", "pay", 4),
    event("a:9", "pay", 2),
]


def lived() -> Cluster:
    """Bert's claim is heard before Anna's, as it may be on several partitions."""
    cluster = Cluster()
    for one, merge in (EVENTS[2], *EVENTS):
        cluster.apply(one, merge)
        cluster.settle()
    return cluster


def replayed(cluster: Cluster, merges: dict[str, str], undecided: int = sys.maxsize) -> tuple[Replay, dict[Number, int]]:
    made = Replay(cluster.rules, "t", PARTITIONS, merges, 2, undecided)
    downstream = [Downstream() for _ in range(PARTITIONS)]
    for one, merge in EVENTS:
        line = one.line()
        if merge is not None:
            line["merge"] = {"source": merge[0], "target": merge[1], "how": "identify"}
        made.feed(orjson.dumps(line) + b"\n", NOW)
        busy = True
        while busy:
            busy = False
            for step in made.round(NOW):
                busy = True
                assert not step.taken.merges
                downstream[step.number].last |= dict(step.taken.totals)
                made.wrote(step)
    numbers: dict[Number, int] = {}
    for one_partition in downstream:
        for number, value in one_partition.numbers().items():
            numbers[number] = numbers.get(number, 0) + value
    return made, numbers


def test_a_shared_device_stays_with_whom_it_was_granted_to() -> None:
    cluster = lived()
    assert cluster.merged == {"a:9": "u:bert"}
    made, numbers = replayed(cluster, cluster.merged)
    assert numbers == cluster.numbers()
    assert not made.news
    assert made.events == len(EVENTS)
    assert not made.refused


def test_claims_that_whoever_serves_may_not_have_decided_yet_are_left_to_the_topic() -> None:
    """Both layouts grant a person to the first who claims it in the topic: the table of who is who is right for both."""
    made, _ = replayed(lived(), {}, undecided=0)
    assert [(message.kind, message.person, message.target) for message in map(decode_merge, (line for _, line in made.news))] == [
        ("claim", "a:9", "u:anna"),
        ("claim", "a:9", "u:bert"),
    ]
    made, numbers = replayed(lived(), {"a:9": "u:bert"}, undecided=0)
    assert numbers == lived().numbers()
    assert not made.news


def test_a_grant_that_nobody_has_made_yet_is_told_at_the_end() -> None:
    made, _ = replayed(lived(), {})
    assert [(message.person, message.target) for message in map(decode_merge, (line for _, line in made.news))] == [
        ("a:9", "u:anna")
    ]


def test_a_handover_of_another_layout_is_passed_over() -> None:
    cluster = Cluster()
    cluster.apply(*EVENTS[0])
    cluster.apply(*EVENTS[1])
    cluster.settle()
    before = cluster.numbers()
    strange = replace(EVENTS[5][0], person="a:8")
    other = Cluster()
    other.apply(strange)
    other.apply(PlainEvent("u:anna", "one", "login", BASE, BASE, "", 0, "l"), ("a:8", "u:anna"))
    handovers = []
    for _ in range(3):
        for number in range(PARTITIONS):
            lines, other.inbox[number] = other.inbox[number], []
            handovers += [decode_merge(line) for line in lines if decode_merge(line).kind == "handover"]
            for line in lines:
                other.partitions[number].apply_merges(line, 0, NOW)
            other.checkpoint(number)
    assert handovers
    for message in handovers:
        assert message.layout == cluster.rules.layout
        message.layout = "another"
        for partition in cluster.partitions:
            partition.apply_merges(encode_merge(message), 0, NOW)
    cluster.settle()
    assert cluster.numbers() == before


def test_a_message_of_an_older_version_has_no_layout_and_is_ones_own() -> None:
    assert decode_merge(b'{"kind":"claim","person":"a:1","target":"u:1"}') == MergeMessage(
        kind="claim", person="a:1", target="u:1", layout=""
    )


def test_slices_are_bounded_in_events_and_in_time() -> None:
    minutes = [(10, 5), (11, 5), (12, 1), (15, 20), (16, 1), (400, 1)]
    assert cut(minutes, most=10, longest=360) == [
        (10 * MINUTE_MS, 12 * MINUTE_MS),
        (12 * MINUTE_MS, 13 * MINUTE_MS),
        (15 * MINUTE_MS, 16 * MINUTE_MS),
        (16 * MINUTE_MS, 17 * MINUTE_MS),
        (400 * MINUTE_MS, 401 * MINUTE_MS),
    ]
    assert cut([], most=10, longest=360) == []
