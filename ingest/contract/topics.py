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


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """What each topic must be.

    events is deleted by age and never compacted; metrics and the changelog are compacted only (a deleted record would be a
    person or a number forgotten).
    """
    names = topic_names(settings)
    kafka = settings.kafka
    retention = str(kafka.retention_hours * 3_600_000)
    compacted = {"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000", "max.message.bytes": "1048588"}
    return [
        TopicSpec(
            names.events,
            kafka.partitions,
            kafka.replication_factor,
            {
                "cleanup.policy": "delete",
                "retention.ms": retention,
                "max.message.bytes": "4194304",
                # so that a receipt ahead of time is told by the broker's clock, in a replay as well
                "message.timestamp.type": "LogAppendTime",
            },
        ),
        TopicSpec(
            names.merges,
            kafka.partitions,
            kafka.replication_factor,
            {"cleanup.policy": "delete", "retention.ms": retention, "max.message.bytes": "1048588"},
        ),
        TopicSpec(names.metrics, kafka.partitions, kafka.replication_factor, compacted),
        TopicSpec(names.changelog, kafka.partitions, kafka.replication_factor, compacted),
        TopicSpec(
            names.rejected,
            1,
            kafka.replication_factor,
            {"cleanup.policy": "delete", "retention.ms": str(30 * 86_400_000), "max.message.bytes": "4194304"},
        ),
    ]
