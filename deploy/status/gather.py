"""Shell: asks Kafka and the processes of this machine how they are."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import Any

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from deploy.kafka.admin import admin_client, quiet_client
from deploy.kafka.topics import check_topics
from deploy.status.report import GroupState, ProcessState, Status, TopicState, groups_of, lag, spool_words
from deploy.up.parts import stage_parts
from ingest.contract.errors import LayoutError, UnavailableError
from ingest.contract.settings import Settings, kafka_options
from ingest.contract.topics import topic_specs

WAIT_S = 10.0


def gather(settings: Settings) -> Status:
    """The state of everything. Raises UnavailableError when no broker answers."""
    try:
        check_topics(settings)
        fault = ""
    except LayoutError as error:
        fault = str(error)
    names = [spec.name for spec in topic_specs(settings)]
    with quiet_client() as heard:
        try:
            with admin_client(kafka_options(settings.kafka), WAIT_S) as client:
                brokers = tuple(f"{one['host']}:{one['port']}" for one in client.describe_cluster()["brokers"])
                partitions = _partitions(client, names)
                starts, ends = _offsets(client, partitions, OffsetSpec.EARLIEST), _offsets(client, partitions, OffsetSpec.LATEST)
                topics = _topics(client, names, partitions, ends)
                groups = tuple(_group(client, group, topic, ends, starts) for group, topic in groups_of(settings))
        except (KafkaError, OSError) as error:
            why = heard.last or f"{type(error).__name__}: {error}"
            raise UnavailableError(f"Kafka at {', '.join(settings.kafka.servers())} does not answer: {why}") from error
    return Status(brokers, topics, groups, processes(settings), fault, time.time_ns() // 1_000_000)


def _partitions(client: Any, names: list[str]) -> dict[str, list[TopicPartition]]:
    described = client.describe_topics(names)
    return {
        topic["name"]: [TopicPartition(topic["name"], one["partition_index"]) for one in topic["partitions"]]
        for topic in described
        if topic["error_code"] == 0
    }


def _offsets(client: Any, partitions: dict[str, list[TopicPartition]], spec: OffsetSpec) -> dict[str, dict[int, int]]:
    wanted = {one: spec for of_topic in partitions.values() for one in of_topic}
    found: dict[str, dict[int, int]] = {}
    for one, answer in (client.list_partition_offsets(wanted) if wanted else {}).items():
        found.setdefault(one.topic, {})[one.partition] = answer.offset
    return found


def _topics(
    client: Any, names: list[str], partitions: dict[str, list[TopicPartition]], ends: dict[str, dict[int, int]]
) -> tuple[TopicState, ...]:
    wanted = {one: OffsetSpec.MAX_TIMESTAMP for of_topic in partitions.values() for one in of_topic}
    newest: dict[str, int] = {}
    for one, answer in (client.list_partition_offsets(wanted) if wanted else {}).items():
        newest[one.topic] = max(newest.get(one.topic, 0), answer.timestamp)
    return tuple(
        TopicState(name, len(partitions.get(name, ())), sum(ends.get(name, {}).values()), max(0, newest.get(name, 0)))
        for name in names
    )


def _group(client: Any, group: str, topic: str, ends: dict[str, dict[int, int]], starts: dict[str, dict[int, int]]) -> GroupState:
    committed: dict[int, int] = {}
    members = 0
    try:
        offsets = client.list_group_offsets({group: None})[group]
        committed = {one.partition: found.offset for one, found in offsets.items() if one.topic == topic and found.offset >= 0}
        members = len(client.describe_groups([group])[group].get("members", ()))
    except KafkaError:  # the broker does not know the group: nobody ever read
        pass
    return GroupState(group, topic, members, lag(ends.get(topic, {}), committed, starts.get(topic, {})))


def processes(settings: Settings) -> tuple[ProcessState, ...]:
    """The three stages on this machine; a worker with port 0 cannot be asked."""
    found = []
    for part in stage_parts(settings):
        address = part.ready_url.removesuffix("/health/ready")
        state = _state(part.ready_url) if address else "unknown"
        waiting = _spool(address) if part.name == "collector" and "ready" in state else ""
        found.append(ProcessState(part.name, address or "worker.port is 0", state, waiting))
    return tuple(found)


def _state(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 (our own http address)
            return "ready" if answer.status == 200 else "not ready"
    except urllib.error.HTTPError:
        return "not ready"
    except OSError:
        return "not running"


def _spool(address: str) -> str:
    try:
        with urllib.request.urlopen(f"{address}/metrics", timeout=3) as answer:  # noqa: S310 (our own http address)
            return spool_words(answer.read().decode())
    except (OSError, ValueError):
        return ""
