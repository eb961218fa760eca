"""Names in ClickHouse, and the catalogue of views: one clear name for each number, so that a panel is a short SELECT."""

from __future__ import annotations

from typing import NamedTuple

EVENTS = "events"
METRICS = "metrics"
REJECTED = "rejected"
PERSON_MERGES = "person_merges"
PLAN_APPS = "plan_apps"
PLAN_FUNNELS = "plan_funnels"
LAYOUTS = "layouts"
TOPICS = "topics"
MIGRATIONS = "migrations"

TABLES = (EVENTS, METRICS, REJECTED, PERSON_MERGES, PLAN_APPS, PLAN_FUNNELS, LAYOUTS, TOPICS, MIGRATIONS)


class View(NamedTuple):
    """A view: its name, its columns in order, what one row is.

    In all of them `app` is the id of an app or a group, `facet` is "" for any activity, `day` is the app's local date, and
    instants (`start_at`, `at`) are DateTime64(3, 'UTC').
    """

    name: str
    columns: tuple[str, ...]
    definition: str


VIEWS: tuple[View, ...] = (
    View("apps", ("id", "name", "time_zone", "population", "kind"), "The plan's apps and groups (kind: app or group)."),
    View(
        "totals",
        ("metric", "app", "facet", "window", "start", "day", "hour", "start_at", "value", "at"),
        "Every published number: partitions of the current layout added up.",
    ),
    View(
        "active_users",
        ("app", "facet", "window", "day", "hour", "start_at", "active_users", "at"),
        "Active users of all windows: 5m, 30m, hour, day, 7d, 30d, month.",
    ),
    View(
        "active_now",
        ("app", "facet", "active_5m", "active_30m", "at"),
        "Persons whose last event is that recent; NULL where the stream has said nothing of the app for longer than that.",
    ),
    View("dau", ("app", "facet", "day", "dau"), "Daily active users."),
    View("wau", ("app", "facet", "day", "wau"), "Active users of the seven days that end on `day`."),
    View("mau_30d", ("app", "facet", "day", "mau_30d"), "Active users of the thirty days that end on `day`."),
    View("mau", ("app", "facet", "month", "mau"), "Active users of the calendar month that starts on `month`."),
    View(
        "hourly_active_users",
        ("app", "facet", "day", "hour", "start_at", "active_users"),
        "Active users of each hour; `hour` is what a clock on the wall shows.",
    ),
    View(
        "hourly_share",
        ("app", "facet", "day", "hour", "start_at", "active_users", "day_users", "share"),
        "Active users of each hour, and their part of the day's.",
    ),
    View(
        "hourly_peak",
        ("app", "facet", "day", "peak_hour", "peak_start_at", "peak_users", "day_users", "peak_share"),
        "The hour with most active users of each day (the first of them), and its share of the day's users.",
    ),
    View(
        "stickiness",
        ("app", "facet", "day", "dau", "mau", "mau_30d", "stickiness", "stickiness_30d"),
        "DAU / MAU of the calendar month, and DAU / active users of the thirty days up to that day.",
    ),
    View(
        "launches_per_user",
        ("app", "day", "launches", "dau", "launches_per_user"),
        "Launches of the day, and launches per active user.",
    ),
    View(
        "usage_per_user",
        ("app", "day", "usage_minutes", "dau", "minutes_per_user"),
        "Usage time of the day in minutes, and per active user.",
    ),
    View(
        "sessions_per_user",
        ("app", "day", "sessions", "dau", "sessions_per_user", "minutes_per_session"),
        "Sessions that start on the day, per active user, and their mean length in minutes.",
    ),
    View(
        "lifecycle",
        ("app", "day", "dau", "new_users", "returning_users", "resurrected_users", "dormant_users"),
        "Active users by what they are (new + returning + resurrected = dau), and who became dormant on the day.",
    ),
    View(
        "retention",
        ("app", "cohort", "n", "day", "cohort_users", "retained_users", "rate"),
        "Of the persons new on day `cohort`, those active `n` days later (0 to 30), as far as the app's days have come.",
    ),
    View(
        "overlap",
        ("app", "other", "month", "overlap_users", "mau", "rate"),
        "Persons active in both apps in the month, and their part of the active users of `app`; each pair from both sides.",
    ),
    View(
        "penetration",
        ("app", "facet", "window", "day", "active_users", "population", "penetration"),
        "Active users of a day, 7d, 30d or month as part of the population that the plan gives for the app or group.",
    ),
    View(
        "facet_share",
        ("app", "facet", "kind", "item", "window", "day", "active_users", "all_users", "share"),
        "Each facet's part of the active users of a day, 7d, 30d or month; facet = kind:item.",
    ),
    View(
        "facet_rank",
        ("app", "kind", "item", "facet", "window", "day", "active_users", "share", "place"),
        "Versions, channels, scenes and other facets by their active users of a day, 7d, 30d or month; place 1 has most.",
    ),
    View(
        "scene_penetration",
        ("app", "scene", "window", "day", "scene_users", "active_users", "penetration"),
        "Users of a scene as part of the active users of a day, 7d, 30d or month.",
    ),
    View(
        "funnel",
        (
            "app",
            "funnel",
            "breakdown",
            "day",
            "step",
            "users",
            "previous_users",
            "entered_users",
            "conversion",
            "step_conversion",
            "drop_off",
        ),
        "Persons who entered a funnel on the day, by step (all that the plan has): conversion from the first step, from the one "
        'before, and how many were lost on the way. breakdown "" is all of them, else a facet of the funnel\'s segment.',
    ),
    View(
        "funnel_time",
        ("app", "funnel", "day", "converted_users", "median_seconds", "p90_seconds"),
        "How long those took who went through the whole funnel, by the day on which they entered it.",
    ),
    View(
        "monthly",
        ("metric", "app", "facet", "month", "value"),
        "Every number that a month has. Distinct users of the month; launches, usage_ms, sessions, new_users, resurrected_users "
        "and dormant_users added up; and, where there are any, dau_average (over the app's days in the month), stickiness "
        "(dau_average / active users of the month), launches_per_user, usage_ms_per_user, sessions_per_user (of an active user "
        "of the month) and usage_ms_per_session. What does not add up (returning and retained users, funnels) has no month.",
    ),
    View(
        "month_on_month",
        ("metric", "app", "facet", "month", "value", "previous", "change", "unfinished"),
        "A month of any number of `monthly` beside the one before; change is 0.1 for 10 % more, NULL where there was nothing "
        "before. unfinished is 1 for the app's last month, which goes on.",
    ),
    View(
        "year_on_year",
        ("metric", "app", "facet", "month", "value", "previous", "change", "unfinished"),
        "A month beside the same month of the year before, as month_on_month.",
    ),
    View(
        "app_rank",
        ("metric", "facet", "window", "day", "app", "value", "place"),
        "Apps in order of a number: those of a day, active_users of 7d and 30d too, and those of `monthly`; place 1 has most.",
    ),
    View(
        "typical_hour_curve",
        ("app", "facet", "day_class", "hour", "mean_users", "median_users", "days"),
        "Active users of each clock hour over the 28 days before the app's last (those on which anybody came); day_class is all, "
        "workday or weekend. An hour that the clock shows twice counts once, as the fuller of the two.",
    ),
    View(
        "peak_today",
        ("app", "facet", "day", "peak_hour", "peak_users", "day_users", "peak_share"),
        "The hour with most active users so far today, by the app's own clock.",
    ),
    View(
        "tracked",
        ("app", "day", "event", "version", "violation", "events", "persons"),
        "Events received in the last five weeks by name and app version, and the ids that sent them. "
        'violation "" is all of them, the others are those with that violation of the tracking plan, as `rule:property`.',
    ),
    View(
        "plan_violations",
        ("app", "day", "event", "version", "rule", "property", "events", "persons", "share"),
        "Violations of the tracking plan by app version (of the last five weeks); share is of that day's events of that name and "
        "version. What an app rejects is in the table rejected instead.",
    ),
    View(
        "broken_tracking_points",
        (
            "app",
            "event",
            "rule",
            "property",
            "since_version",
            "share_before",
            "share_after",
            "events_since",
            "first_day",
            "last_day",
        ),
        "Since which app version a violation is there: the version at which its share of the events grows the most. "
        "share_before is NULL where no earlier version was seen in the last five weeks.",
    ),
    View(
        "event_delay",
        ("app", "day", "version", "events", "over_an_hour", "over_a_day", "over_a_week", "median_seconds", "p95_seconds"),
        "How long after they happened the events of a day were received (in the last five weeks), by app version.",
    ),
)
