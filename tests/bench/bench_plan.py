"""What the tracking plan costs: microseconds of the collector's reading an event, with and without fifty schemas, in one process.

python -m tests.bench.bench_plan
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from ingest.contract.settings import read_settings
from ingest.intake import Request, take
from ingest.keys import Keys
from ingest.limits import limits_of
from ingest.routes import ROUTES
from ingest.rules import rules_of
from tests.bench.bench_collector import BATCH, KEY, native_event, segment_event

SCHEMAS = 50
ROUNDS, REPEATS = 40, 20
RECEIVED = 1_795_330_000_000
_PROPERTIES = """[events.properties]
page = { type = "string" }
amount = { type = "number", required = true, min = 0 }
step = { type = "integer" }
ok = { type = "boolean" }
age_band = { type = "string" }
"""
BODIES: dict[str, tuple[str, object]] = {
    "Segment": ("/v1/batch", {"batch": [segment_event(number) for number in range(BATCH)]}),
    "native": ("/v1/events", [native_event(number) for number in range(BATCH)]),
}


def reader(path: str, body: object, schemas: int) -> Callable[[], float]:
    """Reads a batch from the request's bytes to the encoded lines; returns the CPU that an event took, in microseconds."""
    text = f'[[apps]]\nid = "bank"\nwrite_keys = ["{KEY}"]\n'
    names = ["complete_transfer", *(f"event_{number}" for number in range(1, schemas))][:schemas]
    plan = read_settings(text + "".join(f'[[events]]\nname = "{name}"\n{_PROPERTIES}' for name in names), {})
    request = Request("POST", path, "", {"Authorization": f"Bearer {KEY}"}, json.dumps(body).encode())
    keys, limits, rules = Keys(plan.apps), limits_of(plan.collector), rules_of(plan)

    def read() -> float:
        started = time.process_time()
        for _ in range(REPEATS):
            intake = take(request, ROUTES[path], keys, limits, RECEIVED, rules)
        spent = time.process_time() - started
        assert (len(intake.accepted), len(intake.violations)) == (BATCH, 0)
        return spent / REPEATS / BATCH * 1e6

    return read


def main() -> None:
    """Prints a line for each protocol: the best of rounds that alternate, so that what else the machine does hits both."""
    for name, (path, body) in BODIES.items():
        without, checked = reader(path, body, 0), reader(path, body, SCHEMAS)
        rounds = [(without(), checked()) for _ in range(ROUNDS)]
        plain, planned = min(one for one, _ in rounds), min(one for _, one in rounds)
        print(f"{name}: {plain:.1f} us an event, {planned:.1f} us with {SCHEMAS} schemas: x {planned / plain:.2f}")


if __name__ == "__main__":
    main()
