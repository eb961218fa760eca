"""Anonymous first, then logged in: whatever the order, the numbers are those of the true persons."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.contract.partition import partition_of
from streams.contract.merge import FRAME_BYTES, MergeMessage, decode_merge, encode_merge, merge_frames, merge_lines, order_of_ids
from streams.contract.total import decode_total
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
#: What SDKs say: who is whose, and of some only by way of others, who have been merged themselves before or will be.
LINKS = OWNER | {"a:5": "u:zoe", "u:zoe": "u:old-cleo"}


class Cluster:
    """All partitions of a layout, each with a store; messages between them as the merges topic carries them."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now
        self.active_now: list[dict[tuple[str, str, str], int]] = [{} for _ in range(PARTITIONS)]
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
        taken = self.partitions[number].take(self.now)
        self.partitions[number].commit(taken)
        self.downstream[number].last |= dict(taken.totals)
        for total in map(decode_total, dict(taken.totals).values()):
            if total.window in ("5m", "30m"):
                self.active_now[number][total.app, total.facet, total.window] = total.value
        assert not taken.rejected
        for partition, line in taken.merges:
            message = decode_merge(line)
            if message.kind == "merged":
                self.merged[message.person] = message.target
            self.inbox[partition].append(line)
        return taken

    def deliver(self, number: int, upto: int) -> None:
        for line in self.inbox[number][:upto]:
            self.partitions[number].apply_merges(line, 0, NOW)

    def settle(self) -> None:
        """Delivers until nobody has anything to say any more."""
        busy = True
        while busy:
            busy = False
            for number in range(PARTITIONS):
                lines, self.inbox[number] = self.inbox[number], []
                for line in lines:
                    self.partitions[number].apply_merges(line, 0, NOW)
                busy |= bool(self.checkpoint(number).merges) or bool(lines)

    def numbers(self) -> dict[Number, int]:
        total: dict[Number, int] = {}
        for downstream in self.downstream:
            for number, value in downstream.numbers().items():
                total[number] = total.get(number, 0) + value
        return total


def events_of(ids: list[str]) -> st.SearchStrategy[list[PlainEvent]]:
    """Events under these ids, some of which say how long they took."""
    return st.lists(
        st.builds(
            lambda who, app, name, ago, platform, duration: PlainEvent(
                who, app, name, BASE - ago, BASE, platform, duration, f"{who}{app}{name}{ago}{platform}{duration}"
            ),
            st.sampled_from(ids),
            st.sampled_from(["one", "two"]),
            st.sampled_from(["app_launch", "view", "pay"]),
            st.one_of(st.integers(0, HOUR), st.integers(0, 3 * HOUR), st.integers(0, 5 * DAY)),
            st.sampled_from(["", "ios"]),
            st.sampled_from([0, 0, 90_000, 4 * HOUR]),
        ),
        max_size=14,
    )


EVENTS = events_of([*OWNER, *USERS])


def final(person: str) -> str:
    """Who somebody is in the end."""
    while person in LINKS:
        person = LINKS[person]
    return person


def plain_active_now(events: list[PlainEvent], minute: int) -> dict[tuple[str, str, str], int]:
    """(app or group, facet, window) -> persons whose last event is that recent, worked out afresh."""
    last: dict[tuple[str, str, str], int] = {}
    for event in events:
        if event.received - event.time > 48 * HOUR:
            continue
        of_group = ["", *(["activity:paying"] if event.event == "pay" else [])]
        of_app = [*of_group, *([f"platform:{event.platform}"] if event.platform else [])]
        for scope, facets in ((event.app, of_app), ("both", of_group)):
            for facet in facets:
                key = scope, facet, event.person
                last[key] = max(last.get(key, 0), event.time // 60_000)
    found: dict[tuple[str, str, str], int] = {}
    for (scope, facet, _), seen in last.items():
        for window, minutes in (("5m", 5), ("30m", 30)):
            if minute - minutes < seen <= minute:
                found[scope, facet, window] = found.get((scope, facet, window), 0) + 1
    return found


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_logins_in_any_order_with_replays_and_crashes_give_the_true_persons(data: st.DataObject) -> None:
    cluster = Cluster(data.draw(st.sampled_from([BASE, NOW])))
    events = data.draw(events_of([*LINKS, *USERS]))
    logins = [
        (PlainEvent(target, "one", "login", BASE - index * HOUR, BASE, "", 0, f"login{source}"), (source, target))
        for index, (source, owner) in enumerate(LINKS.items())
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
        merged: target for source, owner in LINKS.items() for target, merged in [order_of_ids(source, owner)]
    }
    # the true persons, by any one name
    true = [replace(event, person=final(event.person)) for event, _ in everything]
    expected = {
        n: v
        for n, v in recompute(true, plain_rules(ZONE, ZONE, 5)).items()
        if n.day <= datetime.fromtimestamp(NOW / 1000, UTC).date()
    }
    assert cluster.numbers() == expected
    active = Counter[tuple[str, str, str]]()
    for of_partition in cluster.active_now:
        active.update(of_partition)
    assert +active == plain_active_now(true, cluster.now // 60_000)
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


@pytest.mark.parametrize("first_to_be_delivered", ["u:anna", "u:bert"])
@pytest.mark.parametrize("first_to_log_in", ["u:anna", "u:bert"])
def test_of_two_claims_on_a_shared_device_the_first_to_arrive_holds_whatever_comes_again(
    first_to_log_in: str, first_to_be_delivered: str
) -> None:
    """Frames and claims are read again, a worker crashes in between, and the past of the device stays with one person."""
    cluster = Cluster()
    device = partition_of("a:9", PARTITIONS)
    view = PlainEvent("a:9", "one", "view", BASE - HOUR, BASE, "", 0, "v")
    pay = PlainEvent("a:9", "one", "pay", BASE, BASE, "", 0, "p")
    users = sorted(["u:anna", "u:bert"], key=lambda user: user != first_to_log_in)
    logins = {user: PlainEvent(user, "one", "login", BASE, BASE, "", 0, f"login {user}") for user in users}

    def log_in() -> None:
        for user, login in logins.items():
            cluster.apply(login, ("a:9", user))

    cluster.apply(view)
    log_in()
    for number in range(PARTITIONS):
        cluster.checkpoint(number)
    cluster.inbox[device].sort(key=lambda line: decode_merge(line).target != first_to_be_delivered)
    claims = list(cluster.inbox[device])
    assert [decode_merge(line).target for line in claims] == [
        first_to_be_delivered,
        *(user for user in users if user != first_to_be_delivered),
    ]
    cluster.deliver(device, 2)  # not committed: it comes again
    cluster.crash(device)
    cluster.deliver(device, 1)
    cluster.checkpoint(device)
    cluster.inbox[device] = [*claims[1:], *claims, *reversed(claims)]
    cluster.settle()
    for number in range(PARTITIONS):
        cluster.crash(number)
    cluster.apply(view)
    log_in()
    cluster.apply(pay)
    cluster.inbox[device] += reversed(claims)
    cluster.settle()
    assert cluster.merged == {"a:9": first_to_be_delivered}
    true = [replace(event, person=first_to_be_delivered) for event in (view, pay)] + list(logins.values())
    assert cluster.numbers() == {
        number: value
        for number, value in recompute(true, plain_rules(ZONE, ZONE, 5)).items()
        if number.day <= datetime.fromtimestamp(NOW / 1000, UTC).date()
    }


def test_a_merge_message_that_cannot_be_read_is_rejected() -> None:
    cluster = Cluster()
    for line in (b"{}", b"\xff", encode_merge(MergeMessage(kind="claim", person="a:elsewhere", target="u:x"))):
        for number in range(PARTITIONS):
            cluster.partitions[number].apply_merges(line, 3, NOW)
    reasons = [msgspec.json.decode(line)["reason"] for partition in cluster.partitions for line in partition.take(NOW).rejected]
    assert sorted(set(reasons)) == ["bad_merge", "wrong_partition"]
    assert reasons.count("wrong_partition") == PARTITIONS - 1


def test_a_bad_line_in_a_frame_of_messages_costs_the_others_nothing() -> None:
    cluster = Cluster()
    number = partition_of("a:9", PARTITIONS)
    claim = encode_merge(MergeMessage(kind="claim", person="a:9", target="u:anna"))
    cluster.partitions[number].apply_merges(b"{}\n" + claim, 3, NOW)
    taken = cluster.partitions[number].take(NOW)
    assert {decode_merge(line).kind for _, line in taken.merges} == {"merged"}
    assert [(one["offset"], one["line"]) for one in map(msgspec.json.decode, taken.rejected)] == [(3, 0)]


def test_messages_go_in_frames_of_bounded_size_in_order() -> None:
    lines = [b"%05d" % number + b"x" * (number % 7 * 1000) for number in range(1000)]
    lines.insert(500, b"y" * (FRAME_BYTES + 1))
    frames = list(merge_frames(lines))
    assert [line for frame in frames for line in merge_lines(frame)] == lines
    assert len(frames) < 20
    assert [frame for frame in frames if len(frame) > FRAME_BYTES] == [lines[500]]
    assert list(merge_frames([])) == []
