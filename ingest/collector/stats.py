"""Shell: the collector's Prometheus metrics. Labels are bounded: apps of the plan, protocols, reasons, routes, status codes."""

from __future__ import annotations

from collections import Counter as Count

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ingest.intake import Intake
from ingest.routes import Protocol

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_BYTES = (256, 1_000, 4_000, 16_000, 64_000, 256_000, 512_000, 900_000)


class Stats:
    """All metrics of one collector, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._events = Counter(
            "footfall_collector_events", "Events that Kafka has acknowledged", ("app", "protocol"), registry=self.registry
        )
        self._rejected = Counter(
            "footfall_collector_rejected",
            "Events and requests that were not accepted; those of a native request with 401 or 413 are not kept",
            ("reason", "protocol"),
            registry=self.registry,
        )
        self._violations = Counter(
            "footfall_collector_plan_violations",
            "Violations of the tracking plan, of events kept or rejected; what the plan does not name is other",
            ("app", "event", "property", "rule"),
            registry=self.registry,
        )
        self._requests = Counter(
            "footfall_collector_requests",
            "Requests by what they are and how they were answered",
            ("route", "status"),
            registry=self.registry,
        )
        self.request_bytes = Counter("footfall_collector_request_bytes", "Bytes of bodies, as they came", registry=self.registry)
        self.ack_seconds = Histogram(
            "footfall_collector_ack_seconds",
            "From a request's events being read to Kafka's acknowledgement of all of them",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.frame_bytes = Histogram("footfall_collector_frame_bytes", "Sizes of frames", buckets=_BYTES, registry=self.registry)
        self.in_flight_bytes = Gauge(
            "footfall_collector_in_flight_bytes", "Bytes of requests and frames that wait for Kafka", registry=self.registry
        )
        self.kafka_up = Gauge("footfall_collector_kafka_up", "Whether Kafka takes frames", registry=self.registry)
        self.frames_failed = Counter(
            "footfall_collector_frames_failed",
            "Frames that Kafka did not acknowledge; their senders were told",
            registry=self.registry,
        )

    def request(self, route: str, status: int) -> None:
        """Counts an answer."""
        self._requests.labels(route, str(status)).inc()

    def safe(self, protocol: Protocol, intake: Intake) -> None:
        """Counts what is in Kafka now, and what was refused."""
        for app, count in Count(one.app for one in intake.accepted).items():
            self._events.labels(app, protocol).inc(count)
        for reason, count in Count(one.reason for one in intake.refused).items():
            self._rejected.labels(str(reason), protocol).inc(count)
        for label, count in Count(intake.violations).items():
            self._violations.labels(*label).inc(count)
