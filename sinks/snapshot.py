"""What the sinks' process knows of itself at one moment: what gauges, the API and health are made of. Pure."""

from __future__ import annotations

from typing import NamedTuple

from sinks.ages import Distribution


class Snapshot(NamedTuple):
    """All of it at one moment; times in ms UTC."""

    events: dict[str, int]
    names: dict[tuple[str, str], int]
    last_event: dict[str, int]
    last_total: int
    lag: dict[str, int]
    rows_inserted: dict[str, int]
    inserts_failed: dict[tuple[str, str], int]
    rows_refused: dict[str, int]
    lines_skipped: dict[str, int]
    records_lost: dict[str, int]
    last_insert: dict[str, int]
    caught_up: bool
    waiting: dict[str, str]
    gauge_freshness: Distribution
    row_freshness: dict[str, Distribution]
