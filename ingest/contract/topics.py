"""The topics, and what each must be. Created once, checked at every start: a wrong partition count is a wrong number."""

from __future__ import annotations

from typing import NamedTuple

from ingest.contract.settings import Settings


class TopicSpec(NamedTuple):
    """A topic as the design needs it; `config` holds Kafka's own names and values."""

    name: str
    partitions: int
    replication_factor: int
    config: dict[str, str]


class TopicNames(NamedTuple):
    """The names of all topics of a project."""

    events: str
    metrics: str
    rejected: str
    merges: str
    changelog: str
    worker_app: str


def topic_names(settings: Settings) -> TopicNames:
    """Names from prefix and layout. The changelog's is the one that Faust makes of the worker's app id and the table `person`."""
    prefix = settings.kafka.topic_prefix
    worker_app = f"{prefix}-worker-{settings.project.layout}"
    return TopicNames(
        events=f"{prefix}.events",
        metrics=f"{prefix}.metrics",
        rejected=f"{prefix}.rejected",
        merges=f"{prefix}.merges",
        changelog=f"{worker_app}-person-changelog",
        worker_app=worker_app,
    )


def least_in_sync(replication_factor: int) -> int:
    """How many replicas must have a record before it is acknowledged (min.insync.replicas): the larger half of them, so that
    what is acknowledged outlives a broker, and one broker that is away stops nothing. Two replicas can only do the latter: 1."""
    return replication_factor // 2 + 1 if replication_factor > 2 else 1


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """What each topic must be.

    events is deleted by age and never compacted; metrics and the changelog are compacted only (a deleted record would be a
    person or a number forgotten).
    """
    names = topic_names(settings)
    kafka = settings.kafka
    retention = str(kafka.retention_hours * 3_600_000)
    compacted = {"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000", "max.message.bytes": "1048588"}

    def spec(name: str, partitions: int, config: dict[str, str]) -> TopicSpec:
        factor = kafka.replication_factor
        return TopicSpec(name, partitions, factor, config | {"min.insync.replicas": str(least_in_sync(factor))})

    return [
        spec(
            names.events,
            kafka.partitions,
            {
                "cleanup.policy": "delete",
                "retention.ms": retention,
                "max.message.bytes": "4194304",
                # so that a receipt ahead of time is told by the broker's clock, in a replay as well
                "message.timestamp.type": "LogAppendTime",
            },
        ),
        spec(
            names.merges,
            kafka.partitions,
            {"cleanup.policy": "delete", "retention.ms": retention, "max.message.bytes": "1048588"},
        ),
        spec(names.metrics, kafka.partitions, compacted),
        spec(names.changelog, kafka.partitions, compacted),
        spec(
            names.rejected,
            1,
            {"cleanup.policy": "delete", "retention.ms": str(30 * 86_400_000), "max.message.bytes": "4194304"},
        ),
    ]
