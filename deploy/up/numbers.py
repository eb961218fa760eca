"""The live table's numbers: from the exporter's samples to one row per app and group, and the funnels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ingest.contract.plan import Funnel, Plan
from sinks.contract import gauges

#: Only these lines of the exporter's page are read: parsing all facets each second would be work for nothing.
_OURS = tuple(family.name + "{" for family in gauges.NUMBERS)


class Sample(NamedTuple):
    """One line of the exporter's page."""

    name: str
    labels: Mapping[str, str]
    value: float


class Row(NamedTuple):
    """One line of the live table; None where there is no number yet."""

    scope: str
    title: str
    now: int | None
    hour: int | None
    day: int | None
    month: int | None
    launches: int | None
    usage_s: float | None
    peak_hour: int | None
    peak_users: int | None

    def launches_per_user(self) -> float | None:
        """Launches of today per active user of today."""
        return self.launches / self.day if self.launches is not None and self.day else None

    def minutes_per_user(self) -> float | None:
        """Minutes of use today per active user of today."""
        return self.usage_s / 60 / self.day if self.usage_s is not None and self.day else None


class FunnelLine(NamedTuple):
    """A funnel of today: how many persons reached each step."""

    title: str
    steps: tuple[str, ...]
    reached: tuple[int, ...]


def relevant(page: str) -> str:
    """The lines of an exporter's page that the table needs: numbers of any activity (facet "")."""
    return "".join(
        line + "\n" for line in page.splitlines() if line.startswith(_OURS) and ("facet=" not in line or 'facet=""' in line)
    )


def scopes(plan: Plan) -> list[tuple[str, str]]:
    """Id and title of every app and group, in the plan's order."""
    return [(app.id, app.name or app.id) for app in plan.apps] + [(group.id, group.name or group.id) for group in plan.groups]


def rows(plan: Plan, samples: Iterable[Sample]) -> list[Row]:
    """One row per app and group. The exporter's gauges stand for the current hour, day and month of each app's zone."""
    found: dict[tuple[str, str, str], float] = {}
    for sample in samples:
        found[sample.name, sample.labels.get("app", ""), sample.labels.get("window", "")] = sample.value

    apps = {app.id for app in plan.apps}  # launches and usage time are of apps, not of groups

    def whole(family: gauges.Family, scope: str, window: str = "") -> int | None:
        value = found.get((family.name, scope, window))
        return None if value is None else int(value)

    return [
        Row(
            scope=scope,
            title=title,
            now=whole(gauges.ACTIVE_USERS, scope, "5m"),
            hour=whole(gauges.ACTIVE_USERS, scope, "hour"),
            day=whole(gauges.ACTIVE_USERS, scope, "day"),
            month=whole(gauges.ACTIVE_USERS, scope, "month"),
            launches=whole(gauges.LAUNCHES, scope) if scope in apps else None,
            usage_s=found.get((gauges.USAGE_SECONDS.name, scope, "")) if scope in apps else None,
            peak_hour=whole(gauges.PEAK_HOUR, scope),
            peak_users=whole(gauges.PEAK_HOUR_USERS, scope),
        )
        for scope, title in scopes(plan)
    ]


def any_number(found: Sequence[Row]) -> bool:
    """Whether there is a number to see at all."""
    return any(row.day for row in found)


def funnel_line(funnel: Funnel, levels: Iterable[tuple[int, int]]) -> FunnelLine:
    """A funnel from (highest step reached, persons) pairs: who reached step 3 reached 1 and 2."""
    steps = tuple(step.event for step in funnel.steps)
    counts = dict(levels)
    reached = tuple(sum(count for level, count in counts.items() if level >= step) for step in range(1, len(steps) + 1))
    return FunnelLine(funnel.name or funnel.id, steps, reached)
