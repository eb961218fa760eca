"""What Grafana does to a query before the engine sees it: variables (its front end), then the ClickHouse data source's macros.

Written from the behaviour of grafana/clickhouse-datasource (pkg/macros) and Grafana's variable formats, for those of them that a
dashboard may use here; anything else is an error, so that no panel relies on what is not expanded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Range(NamedTuple):
    """The dashboard's time range in epoch milliseconds, and the step between two points of a panel in seconds."""

    start: int
    end: int
    step_s: int = 60


class MacroError(ValueError):
    """A macro or a variable that there is not, or that is used wrongly."""


_WORD = re.compile(r"(?P<skip>--[^\n]*|/\*.*?\*/|'(?:\\.|''|[^'\\])*'|`[^`]*`|\"[^\"]*\")|\$__(?P<macro>\w+)", re.DOTALL)
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(?!__)(\w+)|\[\[(\w+)\]\]")


def expand_sql(sql: str, time: Range, variables: Mapping[str, str]) -> str:
    """The SQL as ClickHouse gets it. Raises MacroError."""
    return _macros(expand_variables(sql, variables), time)


def expand_promql(query: str, time: Range, variables: Mapping[str, str]) -> str:
    """The PromQL as Prometheus gets it. Raises MacroError."""
    query = query.replace("$__rate_interval", f"{4 * time.step_s}s").replace("$__interval", f"{time.step_s}s")
    query = query.replace("$__range", f"{(time.end - time.start) // 1000}s")
    if "$__" in query:
        raise MacroError(f"a macro that is not known in {query!r}")
    return expand_variables(query, variables)


def expand_variables(text: str, variables: Mapping[str, str]) -> str:
    """Dashboard variables, one value each: as it stands, or as `${name:sqlstring}`: quoted, with its quotes doubled."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[3] or match[4]
        if name not in variables:
            raise MacroError(f"${name} is no variable of the dashboard")
        found = variables[name]
        if match[2] is None:
            return found
        if match[2] != "sqlstring":
            raise MacroError(f"the format {match[2]} of ${name} is not expanded here")
        return "'" + found.replace("'", "''") + "'"

    return _VARIABLE.sub(value, text)


def _seconds(ms: int) -> str:
    return f"toDateTime({ms // 1000})"


def _millis(ms: int) -> str:
    return f"fromUnixTimestamp64Milli({ms})"


def _known(time: Range) -> dict[str, tuple[int, Callable[[list[str]], str]]]:
    """Macro -> (how many arguments, what becomes of it)."""
    start, end = _seconds(time.start), _seconds(time.end)
    start_ms, end_ms = _millis(time.start), _millis(time.end)
    step = max(time.step_s, 1)
    return {
        "fromTime": (0, lambda _: start),
        "toTime": (0, lambda _: end),
        "fromTime_ms": (0, lambda _: start_ms),
        "toTime_ms": (0, lambda _: end_ms),
        "interval_s": (0, lambda _: str(step)),
        "timeFilter": (1, lambda a: f"{a[0]} >= {start} AND {a[0]} <= {end}"),
        "timeFilter_ms": (1, lambda a: f"{a[0]} >= {start_ms} AND {a[0]} <= {end_ms}"),
        "timeInterval": (1, lambda a: f"toStartOfInterval(toDateTime({a[0]}), INTERVAL {step} second)"),
        "timeInterval_ms": (1, lambda a: f"toStartOfInterval(toDateTime64({a[0]}, 3), INTERVAL {step * 1000} millisecond)"),
    }


def _macros(sql: str, time: Range) -> str:
    known = _known(time)
    out, at = "", 0
    while match := _WORD.search(sql, at):
        out += sql[at : match.start()]
        at = match.end()
        if match["skip"]:
            out += match["skip"]
            continue
        name = match["macro"]
        if name not in known:
            raise MacroError(f"$__{name} is not expanded here")
        count, become = known[name]
        arguments: list[str] = []
        if count and sql[at : at + 1] == "(":
            arguments, at = _arguments(sql, at)
        if len(arguments) != count:
            raise MacroError(f"$__{name} wants {count} arguments, not {len(arguments)}")
        out += become([_macros(one, time) for one in arguments])
    return out + sql[at:]


def _arguments(sql: str, at: int) -> tuple[list[str], int]:
    """The arguments in the parentheses that begin at `at`, and where they end."""
    depth, begin, found = 0, at + 1, []
    while at < len(sql):
        skipped = re.compile(r"'(?:\\.|''|[^'\\])*'").match(sql, at)
        if skipped:
            at = skipped.end()
            continue
        depth += (sql[at] == "(") - (sql[at] == ")")
        if (sql[at] == "," and depth == 1) or depth == 0:
            found.append(sql[begin:at].strip())
            begin = at + 1
        at += 1
        if depth == 0:
            return [one for one in found if one], at
    raise MacroError("parentheses that are not closed")
