"""Who there is: seeded persons with their apps, how often they open them, and the traits that segments look at. Pure.

Calibrated to what is published about mobile banking: a person has 1.5 of the apps, 0.22 to 0.36 of an app's monthly users come
on a given day, and some 40% of its monthly users open it once or twice in the month.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from ingest.contract.plan import Plan, Segment

#: Share of persons with one, two, three and four apps: 1.5 on average.
_APP_COUNTS = (0.62, 0.28, 0.08, 0.02)
#: Persons who never log in: known by their device only.
_ANONYMOUS = 0.06
#: Of a trait: shares of persons whose value the plan does not list, and who have none.
_UNLISTED, _ABSENT = 0.03, 0.04
#: Chance of a visit on a day: a heavy tail. Most persons come once or twice a month, a few come nearly every day.
_DAILY_SHAPE = (0.17, 0.7)
_DAILY_RANGE = (0.03, 0.97)

#: Traits that the simulator gives to persons even where the plan has no segment for them.
_FIELDS = {
    "platform": ("android", "ios", "harmony"),
    "version": ("9.2.0", "9.1.0", "9.0.0"),
    "channel": ("organic", "push", "sms", "branch"),
}
_UNLISTED_VALUES = {"platform": "web", "version": "8.7.3", "channel": "partner"}


class Membership(NamedTuple):
    """A person's way with one app: chance of a visit on an average day, and mean launches on a day with a visit."""

    app: str
    daily: float
    launches: float


class Persona(NamedTuple):
    """A person. `user` is "" for one who never logs in; `props` are traits that go with every event."""

    number: int
    user: str
    device: str
    platform: str
    version: str
    channel: str
    props: dict[str, str]
    apps: tuple[Membership, ...]

    @property
    def key(self) -> str:
        """The person as Footfall knows it: the partition key."""
        return f"u:{self.user}" if self.user else f"a:{self.device}"


def make_persons(plan: Plan, seed: int, count: int) -> list[Persona]:
    """`count` persons over the plan's apps; the same for the same plan, seed and count.

    The first n persons are the same whatever the count: a larger population has them too.
    """
    if not plan.apps:
        raise ValueError("the plan has no apps")
    rng = random.Random(f"population/{seed}")
    return [_person(plan, rng, number) for number in range(count)]


def _person(plan: Plan, rng: random.Random, number: int) -> Persona:
    anonymous = rng.random() < _ANONYMOUS
    device = f"d{rng.getrandbits(48):012x}"
    traits = {segment.source: _trait(rng, segment) for segment in plan.segments}
    fields = {name: traits.get(name) or _default(rng, name) for name in _FIELDS}
    props = {source.removeprefix("props."): value for source, value in traits.items() if source.startswith("props.") and value}
    daily = _DAILY_RANGE[0] + (_DAILY_RANGE[1] - _DAILY_RANGE[0]) * rng.betavariate(*_DAILY_SHAPE)
    memberships: list[Membership] = []
    for rank, app in enumerate(_choose_apps(plan, rng)):
        own = daily * (1.0, 0.85, 0.7, 0.6)[rank]
        memberships.append(Membership(app, own, 1.03 + 1.46 * own))
    return Persona(
        number=number,
        user="" if anonymous else f"c{100_000 + number}",
        device=device,
        platform=fields["platform"],
        version=fields["version"],
        channel=fields["channel"],
        props=props,
        apps=tuple(memberships),
    )


def _choose_apps(plan: Plan, rng: random.Random) -> list[str]:
    """Distinct apps, the larger ones (by the plan's population) more often."""
    wanted = rng.choices((1, 2, 3, 4), _APP_COUNTS)[0]
    left = {app.id: float(app.population or 1) for app in plan.apps}
    chosen: list[str] = []
    while left and len(chosen) < wanted:
        app = rng.choices(list(left), list(left.values()))[0]
        del left[app]
        chosen.append(app)
    return chosen


def _trait(rng: random.Random, segment: Segment) -> str:
    """One of a segment's values, the first ones more often; sometimes one that is not listed, or none."""
    draw = rng.random()
    if draw < _ABSENT:
        return ""
    if draw < _ABSENT + _UNLISTED:
        return _UNLISTED_VALUES.get(segment.source, "elsewhere")
    return rng.choices(segment.values, [1 / (1 + 0.4 * rank) for rank in range(len(segment.values))])[0]


def _default(rng: random.Random, field: str) -> str:
    return "" if rng.random() < _ABSENT else rng.choice(_FIELDS[field])
