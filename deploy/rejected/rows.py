"""Rejected rows in ClickHouse, through a client that is given. An id is the column `id` of the table: 16 hexadecimal digits."""

from __future__ import annotations

from typing import Any, NamedTuple

from ingest.contract.rejected import REJECTION_ID, Rejected

#: Events that came after a rejection name it among their ids.
_SENT_AGAIN = (
    f"id IN (SELECT ids['{REJECTION_ID}'] FROM events WHERE received >= {{since:Int64}} AND mapContains(ids, '{REJECTION_ID}'))"
)
_COLUMNS = "id, at, stage, reason, detail, app, topic, partition, offset, line, payload, encoding, truncated, context"


class Wanted(NamedTuple):
    """Which rows: since an instant (ms UTC), and of one app, reason or stage ("" for all), or just these ids."""

    since: int
    app: str = ""
    reason: str = ""
    stage: str = ""
    ids: tuple[str, ...] = ()


class Group(NamedTuple):
    """Rows of one stage, reason and app; `latest` is the id and `detail` the words of the last one."""

    stage: str
    reason: str
    app: str
    rows: int
    sent_again: int
    last: int
    latest: str
    detail: str


class Found(NamedTuple):
    """A row by its id, and whether an event came of it that was sent again."""

    id: str
    row: Rejected
    sent_again: bool


def groups(client: Any, wanted: Wanted) -> list[Group]:
    """Counts, the most frequent first."""
    where, parameters = _where(wanted)
    sql = (
        f"SELECT stage, reason, app, count() AS rows, countIf({_SENT_AGAIN}), max(rejected.at) AS last, "
        "argMax(id, rejected.at), argMax(detail, rejected.at) "
        f"FROM rejected FINAL WHERE {where} GROUP BY stage, reason, app ORDER BY rows DESC, stage, reason, app LIMIT 1000"
    )
    return [Group(*row) for row in client.query(sql, parameters=parameters).result_rows]


def found(client: Any, wanted: Wanted, limit: int, not_yet: bool = False) -> list[Found]:
    """Rows, the oldest first; with `not_yet` only those that were not sent again."""
    where, parameters = _where(wanted)
    if not_yet:
        where += f" AND NOT ({_SENT_AGAIN})"
    sql = f"SELECT {_COLUMNS}, {_SENT_AGAIN} FROM rejected FINAL WHERE {where} ORDER BY rejected.at, id LIMIT {{limit:UInt32}}"
    rows = client.query(sql, parameters=parameters | {"limit": limit}).result_rows
    names = _COLUMNS.split(", ")[1:]
    return [Found(str(row[0]), Rejected(**dict(zip(names, row[1:-1], strict=True))), bool(row[-1])) for row in rows]


def _where(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    parts = ["rejected.at >= {since:Int64}"]
    parameters: dict[str, Any] = {"since": wanted.since}
    for name in ("app", "reason", "stage"):
        if value := getattr(wanted, name):
            parts.append(f"{name} = {{{name}:String}}")
            parameters[name] = value
    if wanted.ids:
        parts.append("id IN {ids:Array(String)}")
        parameters["ids"] = list(wanted.ids)
    return " AND ".join(parts), parameters
