"""The expander of Grafana's macros and variables, against what the plugin's own tests expect of it."""

from __future__ import annotations

import pytest

from tests.deploy.grafana_macros import MacroError, Range, expand_promql, expand_sql

TIME = Range(1_415_792_726_123, 1_447_328_726_456)


@pytest.mark.parametrize(
    ("query", "expanded"),
    [
        (
            "FROM foo WHERE $__timeFilter(cast(s AS timestamp))",
            "FROM foo WHERE cast(s AS timestamp) >= toDateTime(1415792726) AND cast(s AS timestamp) <= toDateTime(1447328726)",
        ),
        (
            "WHERE $__timeFilter_ms(at)",
            "WHERE at >= fromUnixTimestamp64Milli(1415792726123) AND at <= fromUnixTimestamp64Milli(1447328726456)",
        ),
        (
            "SELECT $__timeInterval($__fromTime) AS t",
            "SELECT toStartOfInterval(toDateTime(toDateTime(1415792726)), INTERVAL 60 second) AS t",
        ),
        ("SELECT toDate($__toTime, zone)", "SELECT toDate(toDateTime(1447328726), zone)"),
        ("SELECT '$__fromTime' -- $__toTime", "SELECT '$__fromTime' -- $__toTime"),
        ("app = ${app:sqlstring} AND x = '$app'", "app = 'o''brien' AND x = 'o'brien'"),
    ],
)
def test_sql_is_expanded_as_the_plugin_does(query: str, expanded: str) -> None:
    assert expand_sql(query, TIME, {"app": "o'brien"}) == expanded


@pytest.mark.parametrize("query", ["$__columns(a, b)", "$__timeFilter", "$__timeFilter(a, b)", "$__timeFilter(a", "$nobody"])
def test_what_is_not_known_is_an_error(query: str) -> None:
    with pytest.raises(MacroError):
        expand_sql(query, TIME, {})


def test_promql_has_its_own_macros() -> None:
    query = 'rate(x_total{app="$app"}[$__rate_interval])'
    assert expand_promql(query, Range(0, 60_000, 15), {"app": "a"}) == 'rate(x_total{app="a"}[60s])'
    with pytest.raises(MacroError):
        expand_promql("$__nothing", TIME, {})
