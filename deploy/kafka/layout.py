"""Whether a topic is what the plan needs: pure comparison of `ingest.contract.topics` with what a broker says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ingest.contract.topics import TopicSpec

ANOTHER_LAYOUT = "set kafka.partitions back, or start anew with another project.layout and kafka.topic_prefix"

#: What the numbers depend on, where the plan asks for it.
_EXACT = ("cleanup.policy", "message.timestamp.type")


class FoundTopic(NamedTuple):
    """A topic as the broker has it. replicas: of its partition that has fewest."""

    partitions: int
    replicas: int
    config: Mapping[str, str]


def fault(spec: TopicSpec, found: FoundTopic | None) -> str | None:
    """What is wrong with a topic, and how to mend it, in one line; None if nothing is.

    Partition count, cleanup policy and the meaning of timestamps must be as the plan has them, and records of the plan's size
    must fit. How long a topic keeps records is left to whoever runs the cluster.
    """
    if found is None:
        return f"topic {spec.name} does not exist: create it with `footfall topics --create`"
    if found.partitions != spec.partitions:
        return f"topic {spec.name} has {found.partitions} partitions, expected {spec.partitions}: {ANOTHER_LAYOUT}"
    for key in _EXACT:
        expected, has = spec.config.get(key), found.config.get(key) or "unknown"
        if expected is not None and has != expected:
            remedy = f"set it with kafka-configs --alter --add-config {key}={expected}"
            return f"topic {spec.name} has {key} {has}, expected {expected}: {remedy}"
    size, least = found.config.get("max.message.bytes", ""), spec.config["max.message.bytes"]
    if not size.isdigit() or int(size) < int(least):
        return (
            f"topic {spec.name} takes records of {size or 'unknown'} bytes, expected at least {least}: "
            f"set it with kafka-configs --alter --add-config max.message.bytes={least}"
        )
    return None


def weakness(spec: TopicSpec, found: FoundTopic) -> str | None:
    """What makes a topic less safe than the plan wants, and how to mend it, in one line; None if nothing does.

    No number is wrong for it, as long as no broker loses its disk or is gone for good.
    """
    if found.replicas < spec.replication_factor:
        return (
            f"topic {spec.name} has {found.replicas} replicas, kafka.replication_factor says {spec.replication_factor}: "
            "give it more replicas with kafka-reassign-partitions"
        )
    key = "min.insync.replicas"
    has, least = found.config.get(key, ""), spec.config[key]
    if not has.isdigit() or int(has) < int(least):
        return (
            f"topic {spec.name} acknowledges with {has or 'unknown'} of {found.replicas} replicas, expected {least}: "
            f"set it with kafka-configs --alter --add-config {key}={least}"
        )
    return None
