"""Inserts that fail, on a real engine, embedded and over HTTP: waited out, halved, or searched for the bad row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clickhouse_connect.driver.client import Client

from ingest.contract.errors import WriteError
from ingest.contract.settings import Settings
from sinks.clickhouse import inserter
from sinks.clickhouse.inserter import Inserter
from sinks.clickhouse.kinds import Events
from sinks.clickhouse.landing import land
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.rows import Insert, Row
from sinks.stats import Stats
from tests.sinks.process import event

pytestmark = pytest.mark.clickhouse


class Collected(Inserter):
    """Refused rows are collected here; that they get into Kafka is in test_sinks_process."""

    refused: list[Row]
    why: list[str]

    def refuse(self, rows: list[Row], why: list[str]) -> None:
        self.refused += rows
        self.why += why


class Bench:
    """An inserter of events on a migrated engine. `mend` is called when it waits, and mends what was in the way."""

    def __init__(self, client: Client, settings: Settings) -> None:
        migrate(client, settings)
        self.client = client
        self.stats = Stats(frozenset({"harbor"}))
        self.waits: list[str] = []
        self.mend: Callable[[], object] = lambda: pytest.fail("nothing was to be waited for")
        self.stays = 0
        self.inserter = Collected(Events(settings), settings, client, self.stats, self._pause, self._stay)
        self.inserter.refused, self.inserter.why = [], []

    def _pause(self, _attempt: int, why: str) -> None:
        self.waits.append(why)
        self.mend()

    def _stay(self) -> None:
        self.stays += 1

    def land(self, lines: list[bytes]) -> int:
        return land(Insert([Row(line, 0, 7, number) for number, line in enumerate(lines)], 6, 7), self.inserter)

    def stored(self) -> tuple[int, int]:
        ((rows, distinct),) = self.client.query("SELECT count(), uniqExact(id) FROM events").result_rows
        return int(rows), int(distinct)

    def failed(self) -> dict[str, int]:
        return {kind: count for (_, kind), count in self.stats.snapshot().inserts_failed.items()}


@pytest.fixture
def bench(any_clickhouse: tuple[Client, Settings]) -> Bench:
    return Bench(*any_clickhouse)


def test_bad_rows_are_found_and_all_others_land(bench: Bench) -> None:
    lines = [event(one) for one in range(40)]
    lines[3] = lines[3].replace(b'"n": 3', b'"n": 1e999')
    lines[29] = lines[29].replace(b'"time": ', b'"time": "x')
    lines[29] = lines[29].replace(b', "received"', b'", "received"')
    assert bench.land(lines) == 2
    assert [row.number for row in bench.inserter.refused] == [3, 29]
    assert bench.stored() == (38, 38)
    assert set(bench.failed()) == {"bad_row"}


def test_a_line_that_is_no_text_is_a_bad_row_and_does_not_end_the_sink(bench: Bench) -> None:
    lines = [event(one) for one in range(20)]
    lines[4] = lines[4].replace(b'"n": 4', b'"n": 4, "\xff": 1')
    lines[7] = lines[7].replace(b'"n": 7', b'"n": 1e999')
    assert bench.land(lines) == 2
    assert [row.number for row in bench.inserter.refused] == [4, 7]
    assert bench.stored() == (18, 18)


#: Good lines for the stream, and ClickHouse takes none of them.
BAD = (
    b'"props": {"n": 1e999}',
    b'"props": {"n": 1.8e308}',
    b'"props": {"\xff": 1}',
    b'"props": {}, "context": "text"',
    b'"props": {}, "violations": {"a": 1}',
    b'"props": {}, "device_time": "yesterday"',
    b'"props": {}, "device_time": 1.5',
    b'"props": {}, "ids": [{"a": 1}]',
    b'"props": {}, "sent": 1e999',
)
#: The collector does not write such lines, but ClickHouse takes them.
ODD = (b'"props": {}, "ids": {"a": 1}', b'"props": {}, "later": 1e999', b'"props": {"n": %s}' % (b"9" * 400))


def lines_with(count: int, odd: dict[int, bytes]) -> list[bytes]:
    """Lines of events, some of which have something else for their props."""
    return [
        event(one).replace(b'"props": {"n": %d}' % one, odd[one]) if one in odd else event(one, props={"n": one})
        for one in range(count)
    ]


@pytest.mark.parametrize("every", [1, 3, 100])
def test_very_many_bad_rows_cost_a_few_inserts(bench: Bench, every: int) -> None:
    bad = {one: BAD[one % len(BAD)] for one in range(0, 1000, every)}
    assert bench.land(lines_with(1000, bad)) == len(bad)
    assert [row.number for row in bench.inserter.refused] == sorted(bad)
    assert bench.stored() == (1000 - len(bad), 1000 - len(bad))
    assert bench.failed() == {"bad_row": 1 if every == 1 else 2}
    assert bench.stays == bench.failed()["bad_row"], "the sink stays in its group while it searches"


def test_a_bad_row_says_where_it_is_wrong_and_quotes_nothing_of_it(bench: Bench) -> None:
    bench.land(lines_with(20, {4: BAD[0], 5: BAD[5]}))
    bench.land(lines_with(20, {6: BAD[0]}))
    number, time, alone = bench.inserter.why
    assert "out of range" in number
    assert "$.props" in number
    assert "$.device_time" in time
    assert "yesterday" not in time
    assert alone == number


def test_rows_that_are_only_odd_land_beside_bad_ones(bench: Bench) -> None:
    odd = {one * 3: ODD[one % len(ODD)] for one in range(12)}
    bad = {one * 7 + 1: BAD[one % len(BAD)] for one in range(9)}
    bad = {one: words for one, words in bad.items() if one not in odd}
    assert bench.land(lines_with(80, odd | bad)) == len(bad)
    assert {row.number for row in bench.inserter.refused} == set(bad)
    assert bench.stored()[1] == 80 - len(bad)


def test_a_batch_that_takes_too_much_memory_is_halved_until_it_fits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [event(one, props={f"p{number}": "x" * 50 for number in range(20)}) for one in range(4000)]
    monkeypatch.setitem(inserter.INSERT_OPTIONS, "max_memory_usage", 24_000_000)
    assert bench.land(lines) == 0
    assert bench.stored() == (4000, 4000)
    assert bench.failed()["too_large"] >= 1
    assert set(bench.failed()) == {"too_large"}


def test_of_parts_only_the_last_is_stamped_with_the_batchs_offset(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inserter.INSERT_OPTIONS, "max_memory_usage", 24_000_000)
    bench.land([event(one, props={f"p{number}": "x" * 50 for number in range(20)}) for one in range(4000)])
    rows = bench.client.query("SELECT kafka_offset, count() FROM events GROUP BY 1 ORDER BY 1").result_rows
    assert [offset for offset, _ in rows] == [6, 7], "a process that ends in between has the whole batch sent again"


def test_a_full_disk_is_waited_out_and_no_row_is_blamed(bench: Bench) -> None:
    bench.client.command(f"ALTER TABLE events MODIFY SETTING min_free_disk_bytes_to_perform_insert = {1 << 60}")
    bench.mend = lambda: bench.client.command("ALTER TABLE events RESET SETTING min_free_disk_bytes_to_perform_insert")
    assert bench.land([event(one) for one in range(40)]) == 0
    assert bench.stored() == (40, 40)
    assert bench.failed() == {"retry": 1}
    assert "NOT_ENOUGH_SPACE" in bench.waits[0] or "free" in bench.waits[0]


def test_a_read_only_server_is_waited_for_and_no_row_is_blamed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise InterruptedError

    bench.mend = stop
    with monkeypatch.context() as patch:
        patch.setitem(inserter.INSERT_OPTIONS, "readonly", 1)
        with pytest.raises(InterruptedError):
            bench.land([event(1)])
    assert "readonly" in bench.waits[0]
    assert bench.failed() == {"retry": 1}
    assert bench.land([event(1)]) == 0
    assert bench.stored() == (1, 1)


def test_what_no_wait_can_mend_ends_the_sink(bench: Bench) -> None:
    bench.client.command("DROP TABLE events")
    with pytest.raises(WriteError, match="ClickHouse refuses inserts into events"):
        bench.land([event(1)])


def test_it_tries_again_until_it_is_in(bench: Bench) -> None:
    bench.client.command(f"ALTER TABLE events MODIFY SETTING min_free_disk_bytes_to_perform_insert = {1 << 60}")
    attempts: list[int] = []

    def pause(attempt: int, _why: str) -> None:
        attempts.append(attempt)
        if attempt == 3:
            bench.client.command("ALTER TABLE events RESET SETTING min_free_disk_bytes_to_perform_insert")

    bench.inserter._pause = pause
    assert bench.land([event(1)]) == 0
    assert attempts == [1, 2, 3]
