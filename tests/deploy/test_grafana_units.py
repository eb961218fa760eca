"""The rules by which panels' units are looked at see what is plainly wrong."""

from __future__ import annotations

import pytest

from tests.deploy.grafana_units import unit_of, units_of_column, units_of_promql


@pytest.mark.parametrize(
    ("name", "values", "right", "wrong"),
    [
        ("DAU", [12.0, 300.0], "short", "percentunit"),
        ("Ahead", [0.0, 0.25], "percentunit", "short"),
        ("Share of DAU", [0.0, 1.0], "percentunit", "short"),
        ("Month on month", [1.5, -0.2], "percentunit", "short"),
        ("Peak hour", [1.0, 23.0], "suffix:h", "short"),
        ("Minutes per user", [0.4, 7.0], "m", "s"),
        ("p95", [300.0, 0.4], "s", "ms"),
        ("usage_ms", [60_000.0], "ms", "s"),
        ("Launches per user", [0.5], "short", "percentunit"),
    ],
)
def test_a_column_of_another_kind_is_seen(name: str, values: list[float], right: str, wrong: str) -> None:
    allowed = units_of_column(name, values)
    assert right in allowed
    assert wrong not in allowed


@pytest.mark.parametrize(
    ("query", "right", "wrong"),
    [
        ("time() - max(footfall_last_total_timestamp_seconds)", "s", "dateTimeAsIso"),
        ("histogram_quantile(0.5, sum by (le) (rate(footfall_collector_ack_seconds_bucket[5m])))", "s", "ms"),
        ("histogram_quantile(0.5, sum by (le) (rate(footfall_collector_frame_bytes_bucket[5m])))", "bytes", "s"),
        ("sum(rate(footfall_collector_request_bytes_total[5m]))", "Bps", "bytes"),
        ("sum(rate(footfall_events_total[5m]))", "cps", "short"),
        ("sum(increase(footfall_collector_frames_failed_total[5m]))", "short", "cps"),
        ("max(footfall_collector_spool_age_seconds)", "s", "short"),
        ("sum(footfall_worker_persons)", "short", "bytes"),
        ("sum(rate(footfall_collector_rejected_total[5m])) / sum(rate(footfall_events_total[5m]))", "percentunit", "cps"),
    ],
)
def test_an_expression_of_another_kind_is_seen(query: str, right: str, wrong: str) -> None:
    allowed = units_of_promql(query)
    assert right in allowed
    assert wrong not in allowed


def test_a_column_has_the_unit_of_its_panel_unless_another_is_given_to_it() -> None:
    other = {"matcher": {"options": "/^(?:Share)$/"}, "properties": [{"id": "unit", "value": "percentunit"}]}
    wide = {"matcher": {"options": "/^(?:Rank)$/"}, "properties": [{"id": "custom.width", "value": 60}]}
    panel = {"fieldConfig": {"defaults": {"unit": "short"}, "overrides": [other, wide]}}
    assert [unit_of(panel, name) for name in ("Share", "Rank", "DAU")] == ["percentunit", "short", "short"]
    assert unit_of({"fieldConfig": {"defaults": {}, "overrides": []}}, "DAU") == ""
