"""Shell: the collector's Prometheus metrics. Labels are bounded: apps of the plan, protocols, reasons, routes, status codes."""

from __future__ import annotations

from collections import Counter as Count
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ingest.intake import Intake
from ingest.privacy.rule import Privacy
from ingest.routes import Protocol

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_BYTES = (256, 1_000, 4_000, 16_000, 64_000, 256_000, 512_000, 900_000)


class Stats:
    """All metrics of one collector, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._events = Counter(
            "footfall_collector_events",
            "Events that are safe: acknowledged by Kafka, or on disk in the spool",
            ("app", "protocol"),
            registry=self.registry,
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
        self._masked = Counter(
            "footfall_collector_privacy_events",
            "Events (refused ones too) in which the privacy rules found something, by what it was; sent again, they count again",
            ("app", "found"),
            registry=self.registry,
        )
        self._requests = Counter(
            "footfall_collector_requests",
            "Requests by what they are and how they were answered",
            ("route", "status"),
            registry=self.registry,
        )
        self._limited = Counter(
            "footfall_collector_limited",
            "Requests that were told to come later, by the bucket that was empty",
            ("by",),
            registry=self.registry,
        )
        self._by_client = Counter(
            "footfall_collector_unavailable_by_client",
            "Requests answered 503 for what the client did, by what: too much at once, a body too slow, or cut short",
            ("why",),
            registry=self.registry,
        )
        for why in ("limited", "slow_body", "cut_body"):
            self._by_client.labels(why)
        self._cut = Counter(
            "footfall_collector_connections_cut",
            "Connections that were refused or ended by the collector, by why",
            ("why",),
            registry=self.registry,
        )
        self.connections = Gauge("footfall_collector_connections", "Open connections", registry=self.registry)
        self.request_bytes = Counter("footfall_collector_request_bytes", "Bytes of bodies, as they came", registry=self.registry)
        self.ack_seconds = Histogram(
            "footfall_collector_ack_seconds",
            "From a request's events being read to all of them being safe, in Kafka or in the spool",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.frame_bytes = Histogram("footfall_collector_frame_bytes", "Sizes of frames", buckets=_BYTES, registry=self.registry)
        self.in_flight_bytes = Gauge(
            "footfall_collector_in_flight_bytes", "Bytes of requests and frames that are not safe yet", registry=self.registry
        )
        self.kafka_up = Gauge("footfall_collector_kafka_up", "Whether Kafka takes frames", registry=self.registry)
        self.frames_failed = Counter(
            "footfall_collector_frames_failed",
            "Frames that neither Kafka nor the spool took; their senders were told",
            registry=self.registry,
        )
        self._spool_metrics()

    def _spool_metrics(self) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"footfall_collector_{name}", text, registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"footfall_collector_{name}", text, labels, registry=self.registry)

        self.spool_bytes = gauge("spool_bytes", "Bytes in the spool that wait for Kafka")
        self.spool_limit_bytes = gauge("spool_limit_bytes", "Bytes that the spool may have; 0: there is none")
        self.spool_frames = gauge("spool_frames", "Frames in the spool that wait for Kafka")
        self.spool_age_seconds = gauge("spool_age_seconds", "How long the oldest frame in the spool has been waiting; 0: none is")
        self.spooled_frames = counter("spooled_frames", "Frames that were made safe in the spool")
        self.spool_drained_frames = counter("spool_drained_frames", "Frames of the spool that Kafka has acknowledged")
        self.spool_refused = counter("spool_refused", "Frames that the spool had no room for, or could not write")
        self.spool_damaged = counter(
            "spool_damaged",
            "Pieces of the spool that were set aside: the middle or the end of a segment, a whole one, a frame unfit for Kafka",
            "kind",
        )
        for kind in ("middle", "tail", "whole", "unfit"):
            self.spool_damaged.labels(kind)
        self.spool_fsync_seconds = Histogram(
            "footfall_collector_spool_fsync_seconds",
            "Time of one fsync of the spool, which many requests share",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def masked(self, privacy: Privacy) -> None:
        """Takes over what the privacy rules have counted."""
        if privacy.counts:
            for (app, what), count in privacy.counts.items():
                self._masked.labels(app, what).inc(count)
            privacy.counts.clear()

    def request(self, route: str, status: int) -> None:
        """Counts an answer."""
        self._requests.labels(route, str(status)).inc()

    def limited(self, by: Literal["key", "address"]) -> None:
        """Counts a request that has to wait."""
        self._limited.labels(by).inc()

    def by_client(self, why: Literal["limited", "slow_body", "cut_body"]) -> None:
        """Counts a request that is answered 503, though nothing was wrong here."""
        self._by_client.labels(why).inc()

    def cut(self, why: str) -> None:
        """Counts a connection that was refused or ended."""
        self._cut.labels(why).inc()

    def safe(self, protocol: Protocol, intake: Intake) -> None:
        """Counts what is safe now, and what was refused."""
        for app, count in Count(one.app for one in intake.accepted).items():
            self._events.labels(app, protocol).inc(count)
        for reason, count in Count(one.reason for one in intake.refused).items():
            self._rejected.labels(str(reason), protocol).inc(count)
        for label, count in Count(intake.violations).items():
            self._violations.labels(*label).inc(count)
