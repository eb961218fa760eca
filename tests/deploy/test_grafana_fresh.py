"""The dashboards of an installation that nobody has sent anything to yet: empty, and without an error."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from tests.deploy.grafana_demo import Demo, demo_plan
from tests.deploy.test_grafana import SQL, Engine


@pytest.mark.clickhouse
def test_before_the_first_event_no_panel_fails(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(demo_plan(), data_dir=str(tmp_path / "var"))
    store = open_store(settings)
    client = store.client()
    migrate(client, settings)
    fresh = Engine(client, Demo(settings, int(time.time() * 1000), datetime.now(UTC).date(), {}, {}, [], []))
    for case in SQL:
        fresh.ask(case.target["rawSql"])
    client.close()
    store.close()
