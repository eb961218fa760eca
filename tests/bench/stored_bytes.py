"""What an event takes in ClickHouse: bytes on disk by table and by column, of the simulator's events.

python -m tests.bench.stored_bytes [--events 300000]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import msgspec

from ingest.contract.settings import read_settings
from sinks.clickhouse.inserter import Inserter
from sinks.clickhouse.kinds import Events
from sinks.clickhouse.landing import land
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.rows import EventsBatch
from sinks.clickhouse.store import open_store
from sinks.stats import Stats
from tests.bench.traffic import frames, past_days

ROOT = Path(__file__).parents[2]
PARTITIONS = 8


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    wanted = parser.parse_args().events
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings((ROOT / "deploy" / "demo.toml").read_text(), {})
        settings = msgspec.structs.replace(settings, data_dir=folder)
        store = open_store(settings)
        client = store.client()
        migrate(client, settings)
        inserter = Inserter(Events(settings), settings, client, Stats(frozenset()), lambda _attempt, why: print(why))
        batches = [EventsBatch(number) for number in range(PARTITIONS)]
        events = past_days(settings, 5000, 1 + wanted // 15_000)[-wanted:]
        sent = 0
        for offset, (number, frame) in enumerate(frames(events, PARTITIONS, 50)):
            sent += len(frame)
            batches[number].add(offset, frame)
        for batch in batches:
            for insert in batch.inserts():
                land(insert, inserter)
        client.command("OPTIMIZE TABLE events FINAL")
        ((rows, disk),) = client.query(
            "SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'events'"
        ).result_rows
        print(f"{rows:,} events: {sent / rows:.0f} bytes of JSON each, {disk / rows:.1f} bytes on disk")
        columns = client.query(
            "SELECT name, data_compressed_bytes AS size FROM system.columns "
            "WHERE table = 'events' AND size > 0 ORDER BY size DESC"
        ).result_rows
        for name, size in columns[:12]:
            print(f"  {name:<16}{size / rows:6.2f}")
        client.close()
        store.close()


if __name__ == "__main__":
    main()
