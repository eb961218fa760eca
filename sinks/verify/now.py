"""Active now (5m, 30m), compared at the very moments that the stream's totals are of. Pure but for the client it is given."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ingest.contract.settings import Settings
from sinks.verify.rejections import counted
from sinks.verify.report import Difference
from sinks.verify.source import Source, rows, who
from sinks.verify.sql import minutes_sql, name, text
from streams.contract.total import TotalKey

_MINUTES = {"5m": 5, "30m": 30}
_MINUTE_MS = 60_000
#: What comes under a merged id is handed over with a checkpoint or two.
_HANDED_OVER_MS = 60_000


def compare_now(client: Any, settings: Settings, database: str, now: int) -> tuple[dict[tuple[str, str], int], list[Difference]]:
    """(how many totals were compared, differences). A total counts persons of its partition at its own `at`, or `now` (ms).

    At its own, because it is of that moment; but it is not told again as long as it stays the same. So where an event was still
    on its way at that moment, and somebody else's last minute went by just when it was read, it is right for the present only
    (and may be a minute behind, as totals are some moments on their way).

    Only partitions whose last event was received before that moment are looked at (well before it, if it came under an id that
    is part of another person: its partition hears of it later); of a total that is not there nothing is said.
    """
    totals = client.query(
        f"SELECT app, facet, window, partition, value, at FROM {name(database)}.metrics FINAL "
        f"WHERE layout = {text(settings.project.layout)} AND window IN ('5m', '30m') AND metric = 'active_users'"
    ).result_rows
    if not totals:
        return {}, []
    partitions = settings.kafka.partitions
    merges = client.query(f"SELECT 1 FROM {name(database)}.person_merges LIMIT 1").result_rows
    source = Source(database, merged=bool(merges), counted=counted(client, settings, database))
    newest: dict[int, int] = {}
    for hashed, later in (("person", "0"), (who(source), f"if({who(source)} = person, 0, {_HANDED_OVER_MS})")):
        for partition, received in client.query(
            f"SELECT kafkaMurmurHash({hashed}) % {partitions} AS one, max(received + {later}) FROM {rows(source)} "
            f"WHERE {source.counted or '1'} GROUP BY one"
        ).result_rows:
            newest[partition] = max(received, newest.get(partition, 0))
    since = min(row[5] for row in totals) - 31 * _MINUTE_MS
    minutes: dict[tuple[str, str, int], dict[int, int]] = defaultdict(dict)
    scopes = [app.id for app in settings.apps] + [group.id for group in settings.groups]
    for scope in scopes:
        for partition, facet, minute, persons in client.query(
            minutes_sql(settings, source, scope, partitions, since)
        ).result_rows:
            minutes[scope, facet, partition][minute] = persons
    compared: dict[tuple[str, str], int] = defaultdict(int)
    differences: list[Difference] = []
    for app, facet, window, partition, value, at in totals:
        if newest.get(partition, 0) > at or app not in scopes:
            continue
        present = now // _MINUTE_MS
        persons, *present_persons = (
            sum(count for minute, count in minutes[app, facet, partition].items() if last - _MINUTES[window] < minute <= last)
            for last in (at // _MINUTE_MS, present - 1, present)
        )
        compared["active_users", window] += 1
        if value not in (persons, *present_persons):
            key = TotalKey("active_users", app, facet, window, 0)
            differences.append(Difference(key=key, stream=value, sql=persons, truth=f"(partition {partition})"))
    return dict(compared), differences
