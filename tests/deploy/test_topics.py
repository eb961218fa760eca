"""Topics on the real broker: created once, checked at every start."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer
from kafka.record import util as record_util

from deploy.kafka.admin import admin_client
from deploy.kafka.layout import FoundTopic, fault, weakness
from deploy.kafka.topics import check_topics, create_topics, require_crc32c
from ingest.contract.errors import ConfigError, LayoutError, UnavailableError
from ingest.contract.settings import Settings, kafka_options
from ingest.contract.topics import TopicSpec, least_in_sync, topic_names, topic_specs
from sinks.kafka import check_topics as check_read_topics
from tests.ports import free_port

SPEC = TopicSpec(
    "shop.events",
    8,
    1,
    {"cleanup.policy": "delete", "max.message.bytes": "4194304", "message.timestamp.type": "LogAppendTime"},
)


def with_kafka(settings: Settings, **changes: Any) -> Settings:
    return msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, **changes))


def test_a_topic_as_the_plan_has_it_is_no_fault_whatever_its_retention() -> None:
    assert fault(SPEC, FoundTopic(8, 1, {**SPEC.config, "retention.ms": "1"})) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, ["shop.events", "footfall topics"]),
        (FoundTopic(9, 1, SPEC.config), ["shop.events", "9 partitions", "expected 8", "kafka.partitions"]),
        (
            FoundTopic(8, 1, {**SPEC.config, "cleanup.policy": "compact,delete"}),
            ["compact,delete", "expected delete", "kafka-configs"],
        ),
        (FoundTopic(8, 1, {**SPEC.config, "message.timestamp.type": "CreateTime"}), ["CreateTime", "expected LogAppendTime"]),
        (FoundTopic(8, 1, {}), ["cleanup.policy unknown", "expected delete"]),
        (FoundTopic(8, 1, {**SPEC.config, "max.message.bytes": "1048588"}), ["1048588", "4194304", "kafka-configs"]),
    ],
)
def test_a_fault_names_the_topic_what_was_found_and_expected_and_the_remedy(found: FoundTopic | None, words: list[str]) -> None:
    wrong = fault(SPEC, found)
    assert wrong is not None
    assert "\n" not in wrong
    for word in words:
        assert word in wrong


@pytest.mark.parametrize(("replicas", "least"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3)])
def test_what_is_acknowledged_outlives_a_broker_and_one_that_is_away_stops_nothing(replicas: int, least: int) -> None:
    assert least_in_sync(replicas) == least


def test_every_topic_is_acknowledged_by_two_of_three(demo_settings: Settings) -> None:
    for spec in topic_specs(with_kafka(demo_settings, replication_factor=3)):
        assert (spec.replication_factor, spec.config["min.insync.replicas"]) == (3, "2"), spec.name


def test_a_topic_that_is_less_safe_than_the_plan_wants_is_told_with_the_remedy(demo_settings: Settings) -> None:
    spec = topic_specs(with_kafka(demo_settings, replication_factor=3))[0]
    partitions = spec.partitions
    assert weakness(spec, FoundTopic(partitions, 3, {**spec.config, "min.insync.replicas": "3"})) is None
    fewer = weakness(spec, FoundTopic(partitions, 1, spec.config))
    assert fewer is not None
    assert "has 1 replicas, kafka.replication_factor says 3: give it more replicas with kafka-reassign-partitions" in fewer
    for config, has in (({"min.insync.replicas": "1"}, "1"), ({}, "unknown")):
        alone = weakness(spec, FoundTopic(partitions, 3, config))
        assert alone is not None
        assert f"acknowledges with {has} of 3 replicas, expected 2: set it with kafka-configs" in alone
        assert fault(spec, FoundTopic(partitions, 3, {**spec.config, **config})) is None


@pytest.mark.broker
def test_topics_are_created_once_and_pass_the_check(settings: Settings) -> None:
    names = [spec.name for spec in topic_specs(settings)]
    assert create_topics(settings) == names
    assert create_topics(settings) == []
    assert check_topics(settings) == []
    weak = check_topics(with_kafka(settings, replication_factor=3))  # the broker's word, not the settings'
    assert [line.split()[:5] for line in weak] == [["topic", name, "has", "1", "replicas,"] for name in names]


@pytest.mark.broker
def test_only_what_is_missing_is_created(settings: Settings) -> None:
    names = topic_names(settings)
    with admin_client(kafka_options(settings.kafka), 10.0) as client:
        client.create_topics({names.rejected: {"num_partitions": 1, "replication_factor": 1, "configs": {}}})
    assert create_topics(settings) == [names.events, names.merges, names.metrics, names.changelog]


@pytest.mark.broker
def test_missing_topics_are_a_layout_error(settings: Settings) -> None:
    with pytest.raises(LayoutError, match=rf"{topic_names(settings).events} does not exist: .*footfall topics"):
        check_topics(settings)


@pytest.mark.broker
@pytest.mark.parametrize("check", [check_topics, check_read_topics])
def test_topics_that_the_broker_hears_of_a_moment_later_are_there(
    settings: Settings, check: Callable[[Settings], object]
) -> None:
    with ThreadPoolExecutor() as pool:
        checked = pool.submit(check, settings)
        time.sleep(0.5)
        create_topics(settings)
        checked.result()


@pytest.mark.broker
def test_another_partition_count_is_a_layout_error(settings: Settings) -> None:
    create_topics(settings)
    with pytest.raises(LayoutError, match=rf"{topic_names(settings).events} has 4 partitions, expected 5"):
        check_topics(with_kafka(settings, partitions=5))


@pytest.mark.broker
def test_a_changelog_that_is_deleted_by_age_is_a_layout_error(settings: Settings) -> None:
    changelog = topic_names(settings).changelog
    with admin_client(kafka_options(settings.kafka), 10.0) as client:
        client.create_topics({changelog: {"num_partitions": 4, "replication_factor": 1, "configs": {"cleanup.policy": "delete"}}})
    create_topics(settings)
    with pytest.raises(LayoutError, match=rf"{changelog} has cleanup.policy delete, expected compact"):
        check_topics(settings)


@pytest.mark.broker
def test_a_frame_of_the_largest_size_is_taken(settings: Settings) -> None:
    create_topics(settings)
    frame = bytes(4 * 1024 * 1024 - 1024)
    producer = KafkaProducer(**kafka_options(settings.kafka), acks="all", max_request_size=len(frame) + 1024)
    try:
        assert producer.send(topic_names(settings).events, frame, partition=0).get(20).offset == 0
    finally:
        producer.close()


@pytest.mark.broker
def test_a_replication_that_the_cluster_cannot_give_is_a_config_error(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"refuses: .*replication factor"):
        create_topics(with_kafka(settings, replication_factor=3))


@pytest.mark.parametrize("work", [create_topics, check_topics])
def test_no_broker_is_an_unavailable_error_within_the_bound(demo_settings: Settings, work: Any) -> None:
    port = free_port()
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=rf"no Kafka broker answers at 127\.0\.0\.1:{port} within 2 s"):
        work(with_kafka(demo_settings, bootstrap_servers=f"127.0.0.1:{port}"), wait_s=2.0)
    assert time.monotonic() - started < 30.0


@pytest.mark.broker
def test_a_broker_that_wants_no_password_is_told_apart_from_one_that_is_away(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)  # what the process logs of itself changes nothing
    security = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "me",
        "sasl_password": "secret",
    }
    with pytest.raises(UnavailableError, match="IllegalSaslState") as caught:
        check_topics(with_kafka(settings, **security), wait_s=10.0)
    assert "secret" not in str(caught.value)


def test_no_bootstrap_servers_is_a_config_error(demo_settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"kafka\.bootstrap_servers is not set"):
        check_topics(demo_settings)


def test_checksums_in_python_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_crc32c()
    monkeypatch.setattr(record_util, "crc32c_c", None)
    with pytest.raises(ConfigError, match=r"kafka-python\[crc32c\]"):
        require_crc32c()
