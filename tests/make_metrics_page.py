"""Writes docs/metrics.md from the catalogues in the code: `python -m tests.make_metrics_page`."""

# ruff: noqa: E501 - the page's own lines

from __future__ import annotations

import re
from pathlib import Path

from ingest.contract.plan import Horizons
from sinks.contract.tables import VIEWS
from streams.contract.catalogue import CATALOGUE
from streams.horizon import horizon_of

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "metrics.md"
VIEWS_SQL = ROOT / "sinks" / "clickhouse" / "migrations" / "views.sql"

#: (late_days, late_hours) -> bytes a person, as `python -m tests.bench.record_bytes` measured them with the demo's plan.
MEASURED = {(7, 24): 210, (31, 24): 223, (31, 48): 240, (31, 168): 343, (31, 720): 921}

#: For every view that reads all metrics, or no metric at all.
GENERAL = ("apps", "totals", "tracked", "plan_violations", "broken_tracking_points", "event_delay")

INTRO = """\
# What each number means

Written by `python -m tests.make_metrics_page` from the catalogues in the code (`streams/contract/catalogue.py`,
`sinks/contract/tables.py`); a test holds it up to date.

Every number is a count or a sum over persons, exact and not estimated. `footfall verify` works them out again from the raw events in
SQL, as far as these reach back, and from when on the stream counts what is new in the plan. What the worker rejected is in neither;
in windows that had closed before a login told who is who, a person may be counted by the ids as sent. What was not compared, and
how many numbers such logins explain, its report says. A number is named by five things, which are columns in ClickHouse (view
`totals`), labels of the gauges in Prometheus (for what is current), and parameters of the API:

| column | meaning |
|---|---|
| `metric` | one of the names below |
| `app` | the id of an app, or of a group (a named set of apps where a person in two of them counts once) |
| `facet` | empty for any activity, else what is counted by itself: `activity:paying`, `scene:dining`, `platform:ios`, `age:26-35` |
| `window` | the span: `5m` `30m` `hour` `day` `7d` `30d` `month` |
| `day`, `hour`, `start` | which one: local date, hour on the wall (-1 if none), and the instant at which the window begins |

* **Time** is the event's own, corrected only where the device's clock was off by more than a minute, and never after its receipt.
* **Days and hours** are those of the app's time zone (a group's: the project's), with its clock changes: a day may have 23 or 25 hours.
* **Activity** is an event of type track, page or screen whose name is not among the app's `passive_events` (a push that arrived).
* **`7d` and `30d`** end on `day` and are named by it; **`month`** is the calendar month and is named by its first day. What ends after
  today is not there yet; a month, and today, are counted as far as they have come.
* **A segment's values** are those that the plan lists, and `other` for all else; an event without the property is in none.
* **A property with a dot in its name** (`props.gift.kind`) is the same flat, `{"gift.kind": "tea"}`, and nested, `{"gift": {"kind": "tea"}}`,
  as in ClickHouse's JSON column; an event that has it twice has the first that is not null. An object is no property itself: what is
  in it are. Values are compared as text: `1` and `"1"` are the same, `true` is `"true"`; a number with a fraction or a list is `other`.
"""

IDENTITY = """\
## Who is a person

* **Anonymous first.** An event without a user id belongs to the anonymous person of its device (`a:<anonymous id>`), and counts.
* **Login.** When an SDK says that the two are one (identify, alias, `track_signup`, bind), all that the anonymous person did becomes
  the user's, past days included: numbers that counted two persons go down to one, by themselves, within a second or two. So it is
  for all that late events could still correct; an hour or day that had closed before the login keeps the number that was told.
* **Afterwards**, what still comes under the anonymous id (another tab, a queue that was sent late) counts for that user.
* **Shared devices.** An anonymous id belongs to the first user who logs in with it, for good. A second user on the same device has a
  record of their own with what they do while logged in; what they do before login counts for the first. Nobody is counted twice.
* **Logout** ends nothing by itself: SDKs then make a new anonymous id (`reset`), and with it a new anonymous person begins. An SDK that
  keeps the old id goes on counting for its user.
* **Unbind** (`track_id_unbind`) undoes nothing: what two ids did together stays one person's, and the id stays with whom it was first
  bound to. It joins nobody either. Events after it carry the login id themselves, and count for it; what is sent under the unbound id
  alone (a phone number that a bank's customer has passed on) goes on counting for the first, so have the app log in first.
* **Two user ids** that are told to be one become the one that sorts first as text; a user id is never merged into an anonymous one.
* **Qualified activity** (`login = true` on an activity) looks at the event as it was sent: it must have carried the user id. A merge
  does not make what was done before login an activity of a logged-in person.

Which id that is for each SDK: [docs/sdks.md](sdks.md#who-the-person-is).
Raw events keep the id that they came with; the table `person_merges` says who became whom. Rules: `streams/contract/merge.py`.
"""

CHANGES = """\
## When a definition changes

A new funnel or segment counts from the moment the worker knows it. To have the past by the new plan too (or to change a time zone, a
horizon, the session gap), count the raw events anew under a new layout, while the old numbers go on:

```sh
footfall replay --layout 2
```

It ends by saying how to switch. With `--from kafka` it reads what Kafka has not deleted yet instead of ClickHouse, and says from when on
that is complete. Who is who is the same in all layouts: an id belongs to the first who claims it in the merges topic, which they
share, and a replay leaves claims of its last hour to that topic. Layouts are never added up; views show the layout that the sinks run with.
"""


def views_of() -> dict[str, list[str]]:
    """Metric -> the views that show it, in their order, as their SQL says."""
    names = [metric.name for metric in CATALOGUE]
    shown: dict[str, set[str]] = {}
    for view, body in re.findall(r"CREATE OR REPLACE VIEW (\w+)(.*?);", VIEWS_SQL.read_text(), re.DOTALL):
        shown[view] = {name for name in names if f"'{name}'" in body}
        if "WHERE window = 'month'" in body:  # whatever has months
            shown[view] |= {metric.name for metric in CATALOGUE if "month" in metric.windows}
        for read in re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", body):
            shown[view] |= shown.get(read, set())
        left_out = " ".join(re.findall(r"NOT IN \([^)]*\)|!= '\w+'", body))
        shown[view] -= {name for name in names if f"'{name}'" in left_out}
    order = [view.name for view in VIEWS if view.name not in GENERAL]
    return {name: [view for view in order if name in shown.get(view, set())] for name in names}


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _metrics() -> list[str]:
    views = views_of()
    lines = ["## The metrics", ""]
    for metric in CATALOGUE:
        lines += [
            f"### {metric.title} · {metric.title_zh}",
            "",
            metric.definition,
            "",
            _row("", ""),
            "|---|---|",
            _row("metric", f"`{metric.name}`, in {metric.unit}"),
            _row("windows", " ".join(f"`{window}`" for window in metric.windows)),
            _row("app", metric.scopes),
            _row("facet", metric.facets or "none: any activity only"),
            _row("views", " ".join(f"`{view}`" for view in views[metric.name])),
            "",
        ]
    return lines


def _views() -> list[str]:
    lines = [
        "## The views",
        "",
        "In ClickHouse; each a short SELECT away from a panel.",
        "",
        _row("view", "what a row is", "columns"),
    ]
    lines.append("|---|---|---|")
    lines += [_row(f"`{view.name}`", view.definition, " ".join(f"`{one}`" for one in view.columns)) for view in VIEWS]
    return [*lines, ""]


def _horizons() -> list[str]:
    default = Horizons()
    lines = [
        "## Late events, and what they cost",
        "",
        (
            f"`horizons.late_days` (default {default.late_days}): an event that is received at most so many local days after it happened still "
            "corrects its day, its trailing windows and its month. "
            f"`horizons.late_hours` (default {default.late_hours}): the same for hours, launches, usage time, sessions and funnels. "
            "What comes later is kept in the raw events and counted as late, and no number changes. Whether it is late is decided by the "
            "event alone (receipt against its own time), so that a replay decides the same."
        ),
        "",
        "A person's record keeps somewhat more than late events may touch, so that trailing windows and the month stay whole:",
        "",
        _row("late_days", "late_hours", "days kept", "hours kept", "days of launches and spans kept", "bytes a person"),
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for (late_days, late_hours), size in MEASURED.items():
        kept = horizon_of(Horizons(late_days=late_days, late_hours=late_hours))
        figures = (late_days, late_hours, kept.keep_days, kept.keep_hours, kept.keep_span_days, size)
        lines.append(_row(*(str(figure) for figure in figures)))
    lines += [
        "",
        (
            "Bytes are those of the record in the changelog, on average over the demo's persons (three apps, a group, 24 facets an app, a funnel), "
            "after two months: measured with `python -m tests.bench.record_bytes`. By construction: a day or an hour more is one bit in "
            "each app for every set of facets that was not seen just when the others were; what grows with `late_hours` are the launches and "
            "spans of each active day and the events of funnels."
        ),
        "",
    ]
    return lines


def render() -> str:
    """The page's text."""
    lines = [*INTRO.splitlines(), "", *_metrics(), *_views(), *_horizons(), *IDENTITY.splitlines(), "", *CHANGES.splitlines()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
