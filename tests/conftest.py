"""What all tests may use: one real broker a session, and settings of their own on it.

A test that kills or stops a broker starts a `LocalBroker` of its own, on its tmp_path.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import msgspec
import pytest

from deploy.kafka.broker import LocalBroker
from ingest.contract.settings import Settings, read_settings
from tests.ports import free_port

DEMO = Path(__file__).parent.parent / "deploy" / "demo.toml"
PARTITIONS = 4

# Examples have no time limit: on a busy machine each of them may take long, and health checks of speed say nothing either.
hypothesis.settings.register_profile("footfall", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("footfall")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first: several processes that share the files of tests then end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A running broker. It is everybody's: use topics of your own (`settings`), and leave it running."""
    local = LocalBroker(tmp_path_factory.mktemp("broker"))
    local.start()
    yield local
    local.stop()


@pytest.fixture
def demo_settings(tmp_path: Path) -> Settings:
    """The demo's plan with a topic prefix of this test's own, 4 partitions, the embedded ClickHouse, free ports; no Kafka yet."""
    settings = read_settings(DEMO.read_text(), {})
    return msgspec.structs.replace(
        settings,
        data_dir=str(tmp_path / "var"),
        kafka=msgspec.structs.replace(settings.kafka, topic_prefix=f"t{uuid.uuid4().hex[:12]}", partitions=PARTITIONS),
        clickhouse=msgspec.structs.replace(settings.clickhouse, url=""),
        collector=msgspec.structs.replace(settings.collector, port=free_port(), metrics_port=free_port()),
        worker=msgspec.structs.replace(settings.worker, port=0),
        sinks=msgspec.structs.replace(settings.sinks, port=free_port(), clickhouse_port=free_port(), console_port=0),
    )


@pytest.fixture
def settings(demo_settings: Settings, broker: LocalBroker) -> Settings:
    """`demo_settings` on the session's broker. The topics are not there yet: deploy.kafka.topics.create_topics(settings)."""
    kafka = msgspec.structs.replace(demo_settings.kafka, bootstrap_servers=broker.bootstrap)
    return msgspec.structs.replace(demo_settings, kafka=kafka)


@pytest.fixture
def kafka_settings(settings: Settings) -> Settings:
    """The same as `settings`, for tests that want nothing but Kafka."""
    return settings
