"""What persons do: a day's events of an app, or one visit, from a seed. Pure.

A **visit** is one launch and the chain of events after it: log in, look at accounts, then one or more tasks, each of which can
be left half-way (that makes the funnel). It takes a minute and a half on average. Visits follow the hours of the day, with the
peak between 10 and 11 in the morning, local time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from deploy.simulator.population import Membership, Persona
from ingest.contract.event import Event, Merge
from ingest.contract.plan import App, Plan, applies
from ingest.contract.tracking import events_of

#: Relative number of visits in each local clock hour: highest from 10 to 11, a second height at 16, lowest at 3.
HOUR_WEIGHTS = (14, 8, 5, 4, 5, 9, 22, 46, 72, 96, 118, 92, 70, 66, 76, 86, 94, 80, 62, 60, 62, 56, 42, 26)
#: Monday to Sunday: most visits on Friday, fewest on Sunday.
WEEKDAY_WEIGHTS = (1.02, 1.01, 1.02, 1.04, 1.10, 0.93, 0.86)
#: Milliseconds between two events of a visit: mean, and spread of the logarithm.
_STEP_MS, _STEP_SIGMA = 24_000.0, 0.8
_LOGIN = 0.86
_UNKNOWN_BEFORE = 0.2
_ACCOUNTS = 0.72
_ANOTHER_TASK = 0.34
#: Events whose SDK reports how long the page was open.
_WITH_DURATION = frozenset({"view_accounts", "fill_transfer", "apply_loan"})
_TYPES = {"view_accounts": "screen", "identify": "identify"}
_PUSH = 0.04
#: A tracking point that is broken in one version of the plan's first app, where the plan has a schema that says so: some of its
#: amounts are texts. Told by the start of the visit, not by a draw: all else is as it would be otherwise.
_BROKEN_EVENT, _BROKEN_VERSION, _BROKEN_EVERY = "complete_transfer", "9.2.0", 4

#: A task: its weight, and its steps with the chance to go on to each.
Task = tuple[float, tuple[tuple[str, float], ...]]
_TASKS: tuple[Task, ...] = (
    (0.38, (("select_transfer", 1.0), ("fill_transfer", 0.74), ("complete_transfer", 0.81))),
    (0.16, (("pay_bill", 1.0),)),
    (0.07, (("buy_fund", 1.0),)),
    (0.05, (("apply_loan", 1.0), ("submit_loan", 0.38))),
    (0.14, (("dining_coupon", 1.0),)),
    (0.20, (("metro_code", 1.0),)),
)
_VOCABULARY = frozenset(name for _, steps in _TASKS for name, _ in steps) | {"app_launch", "login", "view_accounts"}


class SimEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as the app knows it; what Footfall makes of it is `native` or `line`."""

    id: str
    app: str
    user: str
    device: str
    event: str
    type: str
    time: int
    platform: str
    version: str
    channel: str
    duration: int
    props: dict[str, str | int]
    violations: tuple[str, ...] = ()

    @property
    def person(self) -> str:
        """The partition key."""
        return f"u:{self.user}" if self.user else f"a:{self.device}"

    @property
    def merge(self) -> Merge | None:
        """The ids that the app says are one person."""
        return Merge(source=f"a:{self.device}", target=self.person, how="identify") if self.type == "identify" else None


class Script:
    """What an app of the plan offers: its launch event, its tasks, its passive events. Built once per app.

    unknown: part of the visits with a login that are anonymous before it.
    strangers: part of the days with visits on which a person who has a user id comes under a new anonymous id, and logs in with
    the day's last visit only.
    """

    def __init__(self, plan: Plan, app: App, unknown: float, strangers: float = 0.0) -> None:
        self.app = app.id
        self.unknown = unknown
        self.strangers = strangers
        self.zone = ZoneInfo(plan.zone_name(app.id))
        self.launch = "app_launch" if "app_launch" in app.launch_events or not app.launch_events else app.launch_events[0]
        self.passive = app.passive_events
        schema = events_of(plan.events, app.id).get(_BROKEN_EVENT)
        amount = schema.properties.get("amount") if schema is not None and app is plan.apps[0] else None
        self.broken = amount is not None and amount.type in ("integer", "number")
        planned = [name for one in plan.activities if applies(one.apps, app.id) for name in one.events]
        planned += [name for one in plan.scenes if applies(one.apps, app.id) for name in one.events]
        planned += [step.event for one in plan.funnels if one.app == app.id for step in one.steps]
        extra: list[Task] = [
            (0.05, ((name, 1.0),))
            for name in dict.fromkeys(planned)
            if name not in _VOCABULARY and name not in app.launch_events and name not in app.passive_events
        ]
        self.tasks = [*_TASKS, *extra]
        self.task_ends: list[float] = []
        total = 0.0
        for weight, _ in self.tasks:
            total += weight
            self.task_ends.append(total)


def make_scripts(plan: Plan, strangers: float = 0.0) -> dict[str, Script]:
    """The script of each app."""
    return {app.id: Script(plan, app, _UNKNOWN_BEFORE, strangers) for app in plan.apps}


def visit(rng: random.Random, script: Script, person: Persona, start: int, stranger: bool = False) -> list[SimEvent]:
    """The events of one visit that starts at an instant (ms), in order of time. stranger: one that logs in."""
    names: list[str] = [script.launch]
    user = person.user
    if user and (stranger or rng.random() < _LOGIN):
        if stranger or rng.random() < script.unknown:
            user = ""
            names.append("identify")
        names.append("login")
        if rng.random() < _ACCOUNTS:
            names.append("view_accounts")
    while True:
        draw = rng.random() * script.task_ends[-1]
        index = next(index for index, end in enumerate(script.task_ends) if draw <= end)
        for name, chance in script.tasks[index][1]:
            if rng.random() >= chance:
                break
            names.append(name)
        if rng.random() >= _ANOTHER_TASK:
            break
    channel = person.channel if rng.random() < 0.8 else "organic"
    time = start
    found: list[SimEvent] = []
    for index, name in enumerate(names):
        step = 0
        if name == "identify":
            user = person.user
        if index:
            step = int(_STEP_MS * math.exp(rng.gauss(-_STEP_SIGMA * _STEP_SIGMA / 2, _STEP_SIGMA)))
            time += step
        props: dict[str, str | int] = dict(person.props)
        if name == "complete_transfer":
            props["amount"] = int(100 * math.exp(rng.gauss(5.5, 1.2)))
        violations: tuple[str, ...] = ()
        if script.broken and name == _BROKEN_EVENT and person.version == _BROKEN_VERSION and start % _BROKEN_EVERY == 0:
            props["amount"] = str(props["amount"])
            violations = ("type:amount",)
        found.append(
            SimEvent(
                f"{person.number:x}-{script.app}-{start:x}-{index}",
                script.app,
                user,
                person.device,
                name,
                _TYPES.get(name, "track"),
                time,
                person.platform,
                person.version,
                channel,
                step if name in _WITH_DURATION else 0,
                props,
                violations,
            )
        )
    return found


def push(script: Script, person: Persona, time: int) -> SimEvent:
    """A message that reached the person's device: no activity of the person."""
    return SimEvent(
        f"{person.number:x}-{script.app}-{time:x}-p",
        script.app,
        person.user,
        person.device,
        script.passive[0],
        "track",
        time,
        person.platform,
        person.version,
        "push",
        0,
        dict(person.props),
    )


def hour_starts(zone: ZoneInfo, day: date) -> list[tuple[int, int]]:
    """(clock hour, instant in ms) of each hour that a local day has: 24, or 23 or 25 where clocks change."""
    start = int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
    following = day + timedelta(days=1)
    end = int(datetime(following.year, following.month, following.day, tzinfo=zone).timestamp())
    return [(datetime.fromtimestamp(at, zone).hour, at * 1000) for at in range(start, end, 3600)]


def visits_of_day(script: Script, persons: Iterable[Persona], seed: int, day: date) -> Iterator[list[SimEvent]]:
    """Every visit (and every push, alone) of an app on its local day, person by person; the same for the same arguments."""
    rng = random.Random(f"traffic/{seed}/{script.app}/{day.isoformat()}")
    hours = hour_starts(script.zone, day)
    starts = [at for _, at in hours]
    ends = _running(HOUR_WEIGHTS[clock] for clock, _ in hours)
    weekday = WEEKDAY_WEIGHTS[day.weekday()]
    random_ = rng.random
    for person, membership in members(script.app, persons):
        if script.passive and random_() < _PUSH:
            yield [push(script, person, rng.choices(starts, cum_weights=ends)[0] + int(random_() * 3_600_000))]
        if random_() >= membership.daily * weekday:
            continue
        seen: set[int] = set()
        launches = _launches(rng, membership.launches)
        if script.strangers and person.user and random_() < script.strangers:
            while len(seen) < max(2, launches):
                seen.add(rng.choices(starts, cum_weights=ends)[0] + int(random_() * 3_600_000))
            yield from _as_a_stranger(rng, script, person, sorted(seen))
            continue
        for _ in range(launches):
            start = rng.choices(starts, cum_weights=ends)[0] + int(random_() * 3_600_000)
            if start not in seen:
                seen.add(start)
                yield visit(rng, script, person, start)


def _as_a_stranger(rng: random.Random, script: Script, person: Persona, starts: list[int]) -> Iterator[list[SimEvent]]:
    """A day's visits under an anonymous id that is new in the first, and known to be the person's from the login in the last."""
    known = person._replace(device=f"{person.device}-{starts[0]:x}")
    unknown = known._replace(user="")
    for start in starts[:-1]:
        yield visit(rng, script, unknown, start)
    yield visit(rng, script, known, starts[-1], stranger=True)


def members(app: str, persons: Iterable[Persona]) -> Iterator[tuple[Persona, Membership]]:
    """The persons who have an app."""
    for person in persons:
        for membership in person.apps:
            if membership.app == app:
                yield person, membership


def day_visits(scripts: dict[str, Script], persons: list[Persona], seed: int, day: date) -> list[list[SimEvent]]:
    """All visits of all apps on a (local) day."""
    return [one for script in scripts.values() for one in visits_of_day(script, persons, seed, day)]


def thinned(visits: list[list[SimEvent]], limit: int, seed: int) -> list[list[SimEvent]]:
    """Some of the visits, with that many events (the last visit is cut short); all of them where there are not so many."""
    found: list[list[SimEvent]] = []
    for one in random.Random(f"thinned/{seed}/{len(visits)}").sample(visits, len(visits)):
        if limit <= 0:
            break
        found.append(one[:limit])
        limit -= len(one)
    return found


def in_order(visits: Iterable[list[SimEvent]]) -> list[SimEvent]:
    """The events of visits by time. The last may lie on the next day."""
    return sorted((event for one in visits for event in one), key=lambda event: (event.time, event.id))


def curve(zone: ZoneInfo, ms: int) -> float:
    """How busy an instant is, as a part of the busiest hour: 0 to 1."""
    return HOUR_WEIGHTS[datetime.fromtimestamp(ms / 1000, zone).hour] / max(HOUR_WEIGHTS)


def native(event: SimEvent) -> dict[str, object]:
    """The JSON object for the collector's native endpoint."""
    found: dict[str, object] = {"id": event.id, "event": event.event, "time": event.time, "anonymous_id": event.device}
    if event.user:
        found["user_id"] = event.user
    if event.type != "track":
        found["type"] = event.type
    for name in ("platform", "version", "channel"):
        if value := getattr(event, name):
            found[name] = value
    if event.duration:
        found["duration"] = event.duration
    if event.props:
        found["props"] = event.props
    return found


_encode: Callable[[Event], bytes] = msgspec.json.Encoder().encode


def line(event: SimEvent, received: int) -> bytes:
    """The event line as ingest would write it, for a given time of receipt (ms)."""
    ids = {"anonymous_id": event.device}
    if event.user:
        ids["user_id"] = event.user
    return _encode(
        Event(
            id=event.id,
            app=event.app,
            person=event.person,
            event=event.event,
            type=event.type,  # type: ignore[arg-type]
            time=event.time,
            received=received,
            device_time=event.time,
            platform=event.platform,
            version=event.version,
            channel=event.channel,
            duration=event.duration,
            props=event.props,
            ids=ids,
            merge=event.merge,
            lib="footfall-simulator",
            violations=list(event.violations),
        )
    )


def _running(weights: Iterable[float]) -> list[float]:
    total, found = 0.0, []
    for weight in weights:
        total += weight
        found.append(total)
    return found


def _launches(rng: random.Random, mean: float) -> int:
    """At least one; the rest geometric, so that a few persons launch very often."""
    more = mean - 1.0
    go_on = more / (1.0 + more)
    count = 1
    while count < 40 and rng.random() < go_on:
        count += 1
    return count
