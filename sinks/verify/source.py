"""SQL for the activity events of some apps: which person, when, and which facets each counts for. Pure."""

from __future__ import annotations

from typing import NamedTuple

from ingest.contract.plan import OTHER, App, Plan, Segment, applies
from sinks.verify.expressions import among, is_scalar, name, prop, text, texts


class Source(NamedTuple):
    """Where raw events are, and how they are read.

    database   of the tables `events` and `person_merges`
    merged     whether ids that were granted to another person count as that person
    part       (this one, of so many): only persons of that part, so that a large table can be worked through piece by piece
    only       ids whose events alone are looked at, () for all; without: ids whose events are left out
    salt       of these ids, which stand in no statement in clear
    counted    a condition on rows: those that the worker counted at all (sinks.verify.rejections), "" for all
    late       ms: only persons of whom an id was granted at a later clock (-1: all); with it `merged` may be False, and parts are
               of whole persons all the same
    """

    database: str
    merged: bool = True
    part: tuple[int, int] = (0, 1)
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    salt: str = ""
    counted: str = ""
    late: int = -1


_JOINED = "if(merged_into = '', person, merged_into)"


def who(source: Source) -> str:
    """The person whom an event counts for, in terms of `rows`."""
    return _JOINED if source.merged else "person"


def resolved(database: str) -> str:
    """A subquery of (begins, merged_into): ids that were granted, and the person at the end of the chain of merges."""
    merges = f"(SELECT person AS merged_person, target AS merged_target FROM {name(database)}.person_merges FINAL)"
    return f"""(
        WITH RECURSIVE chains AS (
            SELECT merged_person AS begins, merged_target AS reaches, 1 AS hops FROM {merges} AS first_hop
            UNION ALL
            SELECT chains.begins, next_hop.merged_target, chains.hops + 1
            FROM chains INNER JOIN {merges} AS next_hop ON chains.reaches = next_hop.merged_person
        )
        SELECT begins, argMax(reaches, hops) AS merged_into FROM chains GROUP BY begins
    )"""


def late_persons(database: str, late: int) -> str:
    """A subquery of (joined_into, newest, granted): persons of whom an id was granted at a clock (ms) later than `late`: the
    newest such clock, and how many ids were granted to the person at all."""
    return f"""(
        SELECT merged_into AS joined_into, max(clock) AS newest, count() AS granted
        FROM {resolved(database)} AS ends
        INNER JOIN (SELECT person, clock FROM {name(database)}.person_merges FINAL) AS grants ON begins = person
        GROUP BY joined_into HAVING newest > {late}
    )"""


def rows(source: Source) -> str:
    """The table of events; with `merged_into`, the person at the end of the chain of merges ("": the id was never merged)."""
    events = f"{name(source.database)}.events"
    if not source.merged and source.late < 0:
        return events
    return f"{events} LEFT ANY JOIN {resolved(source.database)} AS resolved ON person = begins"


def activity(plan: Plan, source: Source, apps: list[App], columns: str) -> str:
    """A subquery: activity events with `who`, `t`, `r` (ms) and more columns."""
    conditions = []
    for app in apps:
        one = f"app = {text(app.id)}"
        if app.passive_events:
            one += f" AND event NOT IN ({texts(app.passive_events)})"
        conditions.append(f"({one})")
    this, parts = source.part
    whole = who(source) if source.late < 0 else _JOINED
    piece = f" AND cityHash64({whole}) % {parts} = {this}" if parts > 1 else ""
    if source.late >= 0:
        piece += f" AND {whole} IN (SELECT joined_into FROM {late_persons(source.database, source.late)})"
    if source.only:
        piece += f" AND {among(source.salt, 'person', source.only)}"
    if source.without:
        piece += f" AND NOT {among(source.salt, 'person', source.without)}"
    if source.counted:
        piece += f" AND {source.counted}"
    return (
        f"SELECT {who(source)} AS who, least(time, received) AS t, received AS r, {columns} FROM {rows(source)} "
        f"WHERE type IN ('track', 'page', 'screen') AND ({' OR '.join(conditions) or '0'}){piece}"
    )


def app_facets(plan: Plan, app: App) -> str:
    """An array of the facets that an event of the app counts for; the first is ''. Login is a matter of the id as sent."""
    parts = ["''"]
    for one in plan.activities:
        if applies(one.apps, app.id):
            login = " AND startsWith(person, 'u:')" if one.login else ""
            parts.append(_if(f"event IN ({texts(one.events)}){login}", text(f"activity:{one.id}")))
    scenes = [scene for scene in plan.scenes if applies(scene.apps, app.id)]
    parts += [_if(f"event IN ({texts(scene.events)})", text(f"scene:{scene.id}")) for scene in scenes]
    parts += [segment_facet(segment) for segment in plan.segments if applies(segment.apps, app.id)]
    return f"arrayFilter(facet -> facet IS NOT NULL, [{', '.join(parts)}])"


def group_facets(plan: Plan, apps: list[App]) -> str:
    """As `app_facets` for the events of several apps: any activity, and the activities."""
    parts = ["''"]
    for one in plan.activities:
        own = [app.id for app in apps if applies(one.apps, app.id)]
        if own:
            login = " AND startsWith(person, 'u:')" if one.login else ""
            condition = f"app IN ({texts(own)}) AND event IN ({texts(one.events)}){login}"
            parts.append(_if(condition, text(f"activity:{one.id}")))
    return f"arrayFilter(facet -> facet IS NOT NULL, [{', '.join(parts)}])"


def _if(condition: str, value: str) -> str:
    return f"if({condition}, {value}, NULL)"


def segment_facet(segment: Segment) -> str:
    """The segment's facet of an event, or NULL.

    A property is looked at in the JSON column.
    """
    other = text(f"{segment.id}:{OTHER}")
    if not segment.source.startswith("props."):
        column = f"toString({segment.source})"
        known = f"concat({text(segment.id + ':')}, value)"
        picked = f"if(value IN ({texts(segment.values)}), {known}, {other})"
        return f"arrayMap(value -> if(value = '', NULL, {picked}), [{column}])[1]"
    path = segment.source.removeprefix("props.")
    column = prop(path)
    return (
        f"if(dynamicType({column}) = 'None', NULL, "
        f"if({is_scalar(path)} AND toString({column}) IN ({texts(segment.values)}), "
        f"concat({text(segment.id + ':')}, toString({column})), {other}))"
    )
