"""Anonymous first, then logged in: whatever the order, the numbers are those of the true persons."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.contract.partition import partition_of
from streams.contract.merge import MergeMessage, decode_merge, encode_merge, order_of_ids
from streams.partition import Partition, Taken
from streams.rules import Rules
from tests.streams.plain import Number, PlainEvent, recompute
from tests.streams.test_partition_properties import DAY, HOUR, Downstream, plain_rules, plan_of

PARTITIONS = 3
BASE = int(datetime(2026, 11, 22, 9, tzinfo=UTC).timestamp() * 1000)
NOW = BASE + 2 * HOUR
ZONE = "Asia/Shanghai"
USERS = ["u:anna", "u:bert", "u:cleo"]
#: Each anonymous id is one person's; two persons have two devices.
OWNER = {"a:1": "u:anna", "a:2": "u:anna", "a:3": "u:bert", "a:4": "u:cleo", "u:old-cleo": "u:cleo"}


class Cluster:
    """All partitions of a layout, each with a store; messages between them as the merges topic carries them."""

    def __init__(self) -> None:
        self.rules = Rules(plan_of(ZONE, ZONE))
        self.stores: list[dict[bytes, bytes]] = [{} for _ in range(PARTITIONS)]
        self.partitions = [self._open(number) for number in range(PARTITIONS)]
        self.inbox: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self.downstream = [Downstream() for _ in range(PARTITIONS)]
        self.merged: dict[str, str] = {}

    def _open(self, number: int) -> Partition:
        return Partition(self.rules, "t", number, PARTITIONS, self.stores[number], cached=2)

    def crash(self, number: int) -> None:
        """Forgets what has not been committed."""
        self.partitions[number] = self._open(number)

    def apply(self, event: PlainEvent, merge: tuple[str, str] | None = None) -> None:
        line = event.line()
        if merge is not None:
            line["merge"] = {"source": merge[0], "target": merge[1], "how": "identify"}
        self.partitions[partition_of(event.person, PARTITIONS)].apply_frame(orjson.dumps(line), 0, NOW)

    def checkpoint(self, number: int) -> Taken:
        taken = self.partitions[number].take(NOW)
        self.partitions[number].commit(taken)
        self.downstream[number].last |= dict(taken.totals)
        assert not taken.rejected
        for partition, _, line in taken.merges:
            message = decode_merge(line)
            if message.kind == "merged":
                self.merged[message.person] = message.target
            self.inbox[partition].append(line)
        return taken

    def deliver(self, number: int, upto: int) -> None:
        for line in self.inbox[number][:upto]:
            self.partitions[number].apply_merge(line, 0, NOW)

    def settle(self) -> None:
        """Delivers until nobody has anything to say any more."""
        busy = True
        while busy:
            busy = False
            for number in range(PARTITIONS):
                lines, self.inbox[number] = self.inbox[number], []
                for line in lines:
                    self.partitions[number].apply_merge(line, 0, NOW)
                busy |= bool(self.checkpoint(number).merges) or bool(lines)

    def numbers(self) -> dict[Number, int]:
        total: dict[Number, int] = {}
        for downstream in self.downstream:
            for number, value in downstream.numbers().items():
                total[number] = total.get(number, 0) + value
        return total


EVENTS = st.lists(
    st.builds(
        lambda who, app, name, ago, platform: PlainEvent(
            who, app, name, BASE - ago, BASE, platform, 0, f"{who}{app}{name}{ago}{platform}"
        ),
        st.sampled_from([*OWNER, *USERS]),
        st.sampled_from(["one", "two"]),
        st.sampled_from(["app_launch", "view", "pay"]),
        st.one_of(st.integers(0, 3 * HOUR), st.integers(0, 5 * DAY)),
        st.sampled_from(["", "ios"]),
    ),
    max_size=14,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_logins_in_any_order_with_replays_and_crashes_give_the_true_persons(data: st.DataObject) -> None:
    cluster = Cluster()
    events = data.draw(EVENTS)
    logins = [
        (PlainEvent(target, "one", "login", BASE - index * HOUR, BASE, "", 0, f"login{source}"), (source, target))
        for index, (source, owner) in enumerate(OWNER.items())
        for target in [order_of_ids(source, owner)[0]]
    ]
    everything: list[tuple[PlainEvent, tuple[str, str] | None]] = [(event, None) for event in events] + list(logins)
    for event, merge in data.draw(st.permutations(everything)):
        cluster.apply(event, merge)
        number = partition_of(event.person, PARTITIONS)
        match data.draw(st.sampled_from(["", "", "checkpoint", "crash", "deliver", "deliver twice"])):
            case "checkpoint":
                cluster.checkpoint(data.draw(st.integers(0, PARTITIONS - 1)))
            case "crash":  # the frame was not acknowledged: it comes again
                cluster.checkpoint(number)
                cluster.apply(event, merge)
                cluster.crash(number)
                cluster.apply(event, merge)
            case "deliver":
                where = data.draw(st.integers(0, PARTITIONS - 1))
                cluster.deliver(where, len(cluster.inbox[where]))
                cluster.inbox[where] = []
                cluster.checkpoint(where)
            case "deliver twice":
                where = data.draw(st.integers(0, PARTITIONS - 1))
                cluster.deliver(where, data.draw(st.integers(0, len(cluster.inbox[where]))))
            case _:
                pass
    cluster.settle()
    assert cluster.merged == {
        merged: target for source, owner in OWNER.items() for target, merged in [order_of_ids(source, owner)]
    }
    # the true persons, by any one name
    true = [replace(event, person=OWNER.get(event.person, event.person)) for event, _ in everything]
    expected = {
        n: v
        for n, v in recompute(true, plain_rules(ZONE, ZONE, 5)).items()
        if n.day <= datetime.fromtimestamp(NOW / 1000, UTC).date()
    }
    assert cluster.numbers() == expected
    for number, partition in enumerate(cluster.partitions):
        again = Partition(cluster.rules, "t", number, PARTITIONS, cluster.stores[number], cached=2)
        known = {key: value for key, value in partition.totals.values().items() if value}
        assert {key: value for key, value in again.totals.values().items() if value} == known


def test_a_device_that_two_persons_share_stays_with_the_first() -> None:
    cluster = Cluster()
    cluster.apply(PlainEvent("a:9", "one", "view", BASE, BASE, "", 0, "v"))
    cluster.apply(PlainEvent("u:anna", "one", "login", BASE, BASE, "", 0, "l1"), ("a:9", "u:anna"))
    cluster.settle()
    cluster.apply(PlainEvent("u:bert", "one", "login", BASE, BASE, "", 0, "l2"), ("a:9", "u:bert"))
    cluster.settle()
    cluster.apply(PlainEvent("a:9", "one", "pay", BASE, BASE, "", 0, "p"))
    cluster.settle()
    day = {n.facet: v for n, v in cluster.numbers().items() if n[:2] == ("active_users", "one") and n.window == "day"}
    assert day == {"": 2, "activity:paying": 1}
    assert cluster.merged == {"a:9": "u:anna"}
    assert sum(partition.identity.conflicts for partition in cluster.partitions) == 1


def test_a_merge_message_that_cannot_be_read_is_rejected() -> None:
    cluster = Cluster()
    for line in (b"{}", b"\xff", encode_merge(MergeMessage(kind="claim", person="a:elsewhere", target="u:x"))):
        for number in range(PARTITIONS):
            cluster.partitions[number].apply_merge(line, 3, NOW)
    reasons = [msgspec.json.decode(line)["reason"] for partition in cluster.partitions for line in partition.take(NOW).rejected]
    assert sorted(set(reasons)) == ["bad_merge", "wrong_partition"]
    assert reasons.count("wrong_partition") == PARTITIONS - 1
