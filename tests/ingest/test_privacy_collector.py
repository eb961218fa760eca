"""The privacy rules in a collector that runs: what is in Kafka, what its metrics say; and it does not start without a key."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.contract.errors import ConfigError
from ingest.contract.privacy import KEY_VARIABLE, PrivacySettings
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from tests.ingest.conftest import settings_on
from tests.ingest.running import RunningCollector, records

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

MOBILE = "13800138000"


def private(broker: LocalBroker) -> Settings:
    settings = settings_on(broker.bootstrap, f"p{uuid.uuid4().hex[:10]}")
    privacy = PrivacySettings(hash_ids=True, detect=("mobile",), deny=("email",), ip="truncate")
    return msgspec.structs.replace(settings, privacy=privacy)


def test_nothing_of_whom_it_was_reaches_kafka(broker: LocalBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = private(broker)
    create_topics(settings)
    monkeypatch.setenv(KEY_VARIABLE, "k" * 40)
    with RunningCollector(settings) as collector:
        collector.wait_until_ready()
        props = {"note": f"tel {MOBILE}", "email": "w@example.com", "$ip": "203.0.113.77"}
        good = {"event": "pay", "user_id": "customer-4711", "anonymous_id": "device-9", "type": "identify", "props": props}
        assert collector.send(good, {"event": 7, "note": MOBILE}).json()["accepted"] == 1
        (event,) = collector.events()
        assert event.person.startswith("u:h-")
        assert event.props == {"note": "tel *******8000", "$ip": "203.0.113.0"}
        names = topic_names(settings)
        everything = b"".join(value for topic in (names.events, names.rejected) for _, value in records(settings, topic))
        for secret in ("customer-4711", "device-9", MOBILE, "w@example.com", "203.0.113.77", "k" * 40):
            assert secret.encode() not in everything
        metric = "footfall_collector_privacy_events_total"
        for found in ("mobile", "property", "address", "payload"):
            assert collector.metric(f'{metric}{{app="bank",found="{found}"}}') == 1


def test_it_does_not_start_without_a_key(broker: LocalBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=KEY_VARIABLE), RunningCollector(private(broker)):
        pass
