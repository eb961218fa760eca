"""The catalogue of metrics: every number that streams publishes, with its unit, its windows, and its definition."""

from __future__ import annotations

from typing import NamedTuple

from streams.contract.total import Window


class Metric(NamedTuple):
    """A published number.

    scopes   what `app` can be: "app", or "app or group"
    facets   what `facet` can be: "" for any activity only, or in words
    """

    name: str
    title: str
    title_zh: str
    unit: str
    windows: tuple[Window, ...]
    scopes: str
    facets: str
    definition: str


ACTIVE_USERS = "active_users"
LAUNCHES = "launches"
USAGE_MS = "usage_ms"
SESSIONS = "sessions"
NEW_USERS = "new_users"
RETURNING_USERS = "returning_users"
RESURRECTED_USERS = "resurrected_users"
DORMANT_USERS = "dormant_users"
RETAINED_USERS = "retained_users"
OVERLAP_USERS = "overlap_users"
FUNNEL_USERS = "funnel_users"
FUNNEL_CONVERSIONS = "funnel_conversions"

_FUNNEL = "app or group of the funnel"

CATALOGUE: tuple[Metric, ...] = (
    Metric(
        ACTIVE_USERS,
        "Active users",
        "活跃用户数",
        "persons",
        ("5m", "30m", "hour", "day", "7d", "30d", "month"),
        "app or group",
        "any of the plan; for groups activities only",
        "Distinct persons with a qualifying event in the window; 5m and 30m: whose last event is that recent, in whole minutes.",
    ),
    Metric(
        LAUNCHES,
        "Launches",
        "启动次数",
        "launches",
        ("day",),
        "app",
        "",
        "Distinct times (per person, in milliseconds) of launch events on the local day, at most 1000 a person and day.",
    ),
    Metric(
        USAGE_MS,
        "Usage time",
        "使用时长",
        "milliseconds",
        ("day",),
        "app",
        "",
        "Length of the union of a person's active spans on the local day: events and SDK-reported durations, with gaps up to "
        "the session gap filled, clipped at midnight.",
    ),
    Metric(
        SESSIONS,
        "Sessions",
        "会话数",
        "sessions",
        ("day",),
        "app",
        "",
        "Number of active spans (as for usage time, not clipped) that start on the local day.",
    ),
    Metric(
        NEW_USERS,
        "New users",
        "新增用户数",
        "persons",
        ("day",),
        "app or group",
        "",
        "Persons whose first day ever with a qualifying event is this one.",
    ),
    Metric(
        RETURNING_USERS,
        "Returning users",
        "留存活跃用户数",
        "persons",
        ("day",),
        "app or group",
        "",
        "Active on the day, not new, and active on one of the 30 days before.",
    ),
    Metric(
        RESURRECTED_USERS,
        "Resurrected users",
        "回流用户数",
        "persons",
        ("day",),
        "app or group",
        "",
        "Active on the day, not new, and not active on any of the 30 days before.",
    ),
    Metric(
        DORMANT_USERS,
        "Dormant users",
        "沉默用户数",
        "persons",
        ("day",),
        "app or group",
        "",
        "Persons who become dormant on the day: active 30 days before, and on none of the days since, the day included.",
    ),
    Metric(
        RETAINED_USERS,
        "Retained users",
        "留存用户数",
        "persons",
        ("day",),
        "app or group",
        "d0 to d30: days after the first",
        "Of the persons whose first day is this one (the cohort), those active again so many days after it.",
    ),
    Metric(
        OVERLAP_USERS,
        "Overlap of apps",
        "重合用户数",
        "persons",
        ("month",),
        "app",
        "app:<other app>",
        "Persons active in the month in this app and in the other one, each in its own zone.",
    ),
    Metric(
        FUNNEL_USERS,
        "Funnel step",
        "漏斗步骤人数",
        "persons",
        ("day",),
        _FUNNEL,
        "<funnel>:<step>, and <funnel>:<step>:<facet> for its breakdown",
        "Persons whose deepest chain that starts on the day reaches the step (from 1): steps in strictly increasing order of "
        "(time, CRC-32 of the event id), the last no more than the window after the first; an exclusion that is not the next "
        "step ends a chain. At most the 500 earliest events of a funnel a person and day.",
    ),
    Metric(
        FUNNEL_CONVERSIONS,
        "Funnel time to convert",
        "漏斗转化时长",
        "persons",
        ("day",),
        _FUNNEL,
        "<funnel>:<seconds>: lower end of the bucket, at most 3.2 % wide",
        "Persons by the time from first to last step of their quickest complete chain that starts on the day.",
    ),
)
