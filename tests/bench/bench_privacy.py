"""What the privacy rules cost the collector: microseconds an event from a request's body to its lines, with and without them.

    python -m tests.bench.bench_privacy [--turns 10]

No server and no Kafka: one core decodes batches of 50 and throws the lines away. "Hits" are events that have something to mask.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

from ingest.contract.settings import read_settings
from ingest.intake import Request, take
from ingest.keys import Keys
from ingest.limits import limits_of
from ingest.privacy.rule import Privacy
from ingest.routes import ROUTES
from tests.bench.bench_collector import BATCH, KEY, native_event, segment_event, sensors_event

_SECRET = b"0123456789abcdef0123456789abcdef"
_DETECT = 'detect = ["id_card", "mobile", "bank_card"]'
_RULES = {
    "detectors": _DETECT,
    "deny list": 'deny = ["phone", "id_number", "address"]',
    "ip truncated": 'ip = "truncate"',
    "hashed ids": "hash_ids = true",
    "all of these": f'hash_ids = true\n{_DETECT}\ndeny = ["phone", "id_number"]\nip = "truncate"',
}
_NOW = 1_795_330_000_000


def bodies(kind: str, hits: bool) -> list[bytes]:
    """Requests of one protocol."""
    found = []
    for start in range(0, 100 * BATCH, BATCH):
        events: list[dict[str, Any]] = []
        for number in range(start, start + BATCH):
            event = {"/v1/batch": segment_event, "/v1/events": native_event, "/sa": sensors_event}[kind](number)
            if kind == "/v1/events":
                event["id"] = f"{number:08x}-f967-4e35-aa40-0242ac120002"
            if hits:
                event["props" if kind == "/v1/events" else "properties"]["memo"] = f"转给 1380013{number:04d}"
            events.append(event)
        found.append(json.dumps({"batch": events} if kind == "/v1/batch" else events, ensure_ascii=False).encode())
    return found


class Work:
    """Batches of one protocol under some rules, decoded again and again."""

    def __init__(self, kind: str, toml: str, hits: bool) -> None:
        settings = read_settings(f'[[apps]]\nid = "bench"\nwrite_keys = ["{KEY}"]\n[privacy]\n{toml}', {})
        self._rules = (Privacy(settings.privacy, settings, _SECRET),) if settings.privacy.in_force else ()
        self._keys, self._limits, self._route = Keys(settings.apps), limits_of(settings.collector), ROUTES[kind]
        self._requests = [Request("POST", kind, "", {"Authorization": f"Bearer {KEY}"}, body) for body in bodies(kind, hits)]
        self.times: list[float] = []

    def turn(self) -> None:
        """Decodes all requests once; the CPU time an event, in microseconds."""
        started = time.process_time()
        for request in self._requests:
            intake = take(request, self._route, self._keys, self._limits, _NOW, self._rules)
            assert len(intake.accepted) == BATCH
        self.times.append((time.process_time() - started) / len(self._requests) / BATCH * 1e6)


def main() -> None:
    """Prints a table. All columns of a line take turns, so that what else the machine does is the same for all."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--turns", type=int, default=10)
    turns = arguments.parse_args().turns
    print(f"{'us an event (ratio to none)':28}" + "".join(f"{name:>20}" for name in ("none", *_RULES, "detectors, hits")))
    for name, kind in {"Segment": "/v1/batch", "Sensors": "/sa", "native": "/v1/events"}.items():
        none, hit, none_hit = Work(kind, "", False), Work(kind, _DETECT, True), Work(kind, "", True)
        columns = [none, *(Work(kind, toml, False) for toml in _RULES.values()), hit]
        for _ in range(turns):
            for one in (*columns, none_hit):
                one.turn()
        cells = []
        for one in columns:
            base = none_hit if one is hit else none
            best = statistics.median(one.times)
            cells.append(f"{best:.1f} ({best / statistics.median(base.times):.2f}x)")
        print(f"{name:28}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
