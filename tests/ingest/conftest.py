"""A collector on the session's broker, in a thread of this process."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Iterator

import msgspec
import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from deploy.kafka.admin import admin_client
from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.contract.settings import Settings, read_settings
from ingest.contract.topics import topic_names
from tests.ingest.running import RunningCollector
from tests.ports import free_port

APPS = """
[[apps]]
id = "bank"
write_keys = ["WRITEKEY_seg", "WRITEKEY_rud", "SA_TOKEN", "phc_TOKEN", "phc_TOKEN2"]
[[apps]]
id = "p3"
write_keys = ["tk3"]
"""


_SPOOLS = tempfile.TemporaryDirectory(prefix="footfall-spools-")
atexit.register(_SPOOLS.cleanup)


def settings_on(bootstrap: str, prefix: str) -> Settings:
    """Settings of a collector of its own on a broker, with a spool of its own."""
    settings = read_settings(APPS, {})
    return msgspec.structs.replace(
        settings,
        data_dir=tempfile.mkdtemp(dir=_SPOOLS.name),
        kafka=msgspec.structs.replace(settings.kafka, bootstrap_servers=bootstrap, topic_prefix=prefix, partitions=4),
        collector=msgspec.structs.replace(settings.collector, port=free_port(), metrics_port=free_port()),
    )


@pytest.fixture(scope="module")
def collector(broker: LocalBroker, request: pytest.FixtureRequest) -> Iterator[RunningCollector]:
    """A running collector with topics of this module's own."""
    settings = settings_on(broker.bootstrap, f"c-{request.module.__name__.rpartition('.')[2]}")
    create_topics(settings)
    with RunningCollector(settings) as running:
        running.wait_until_ready()
        yield running


def let_be_as_large_as(settings: Settings, size: int) -> None:
    """Sets what the events topic takes."""
    topic = ConfigResource(ConfigResourceType.TOPIC, topic_names(settings).events, {"max.message.bytes": str(size)})
    with admin_client({"bootstrap_servers": settings.kafka.servers()}, 30.0) as client:
        client.alter_configs([topic])
