"""Shell: creates the topics that the plan needs, and checks at every start that they are what it needs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    AuthorizationError,
    InvalidConfigurationError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaConfigurationError,
    KafkaError,
    PolicyViolationError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    UnsupportedSaslMechanismError,
    for_code,
)
from kafka.record import util as record_util

from deploy.kafka.admin import admin_client, quiet_client
from deploy.kafka.layout import FoundTopic, fault, weakness
from ingest.contract.errors import ConfigError, LayoutError, UnavailableError
from ingest.contract.settings import Settings, kafka_options
from ingest.contract.topics import TopicSpec, topic_specs

WAIT_S = 10.0
#: How long a topic that a broker does not know is asked for again: it may have been created a moment ago, by way of another one.
_HEARD_S = 2.0
_AGAIN_S = 0.2
#: Refusals that no second try can change: the settings must.
_REFUSALS = (
    AuthorizationError,
    InvalidConfigurationError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaConfigurationError,
    PolicyViolationError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)


def create_topics(settings: Settings, wait_s: float = WAIT_S) -> list[str]:
    """Creates the topics that are missing, waits until each has leaders, and returns their names. Others are left as they are.

    Raises UnavailableError when no broker answers within `wait_s` seconds, ConfigError when the broker refuses.
    """
    specs = topic_specs(settings)
    with _broker(settings, wait_s) as client:
        there = _replicas(client, specs)
        missing = [spec for spec in specs if spec.name not in there]
        created = [spec.name for spec in missing if _create(client, spec, wait_s)]
        client.wait_for_topics([spec.name for spec in missing], timeout_ms=int(wait_s * 1000))
    return created


def check_topics(settings: Settings, wait_s: float = WAIT_S) -> list[str]:
    """Returns when every topic is what the plan needs, with a line for each that is less safe than the plan wants.

    Raises LayoutError with the first that is not, what was found and expected, and how to mend it; UnavailableError when no
    broker answers within `wait_s` seconds.
    """
    specs = topic_specs(settings)
    with _broker(settings, wait_s) as client:
        replicas, until = _replicas(client, specs), time.monotonic() + _HEARD_S
        while len(replicas) < len(specs) and time.monotonic() < until:
            time.sleep(_AGAIN_S)
            replicas = _replicas(client, specs)
        configs = _configs(client, sorted(replicas))
    weak = []
    for spec in specs:
        found = None
        if counts := replicas.get(spec.name):
            found = FoundTopic(len(counts), min(counts), configs.get(spec.name, {}))
        wrong = fault(spec, found)
        if wrong:
            raise LayoutError(wrong)
        if found is not None and (less := weakness(spec, found)):
            weak.append(less)
    return weak


def require_crc32c() -> None:
    """Raises ConfigError when kafka-python computes checksums in Python: everything would work, 30 times slower."""
    if record_util.crc32c_c is None:
        raise ConfigError("kafka-python runs without native checksums, 30 times slower: pip install 'kafka-python[crc32c]'")


@contextlib.contextmanager
def _broker(settings: Settings, wait_s: float) -> Iterator[Any]:
    """An admin client; kafka-python's errors become Footfall's."""
    servers = ", ".join(settings.kafka.servers())
    if not servers:
        raise ConfigError("kafka.bootstrap_servers is not set: set it, or let `footfall up` start a broker of its own")
    with quiet_client() as heard:
        try:
            with admin_client(kafka_options(settings.kafka), wait_s) as client:
                yield client
        except _REFUSALS as error:
            raise ConfigError(f"Kafka at {servers} refuses: {_reason(error)} (mend [kafka] in footfall.toml)") from error
        except (KafkaError, OSError) as error:
            why = f" ({heard.last or _reason(error)})"
            raise UnavailableError(
                f"no Kafka broker answers at {servers} within {wait_s:.0f} s{why}: start it, or mend [kafka] in footfall.toml"
            ) from error


def _reason(error: BaseException) -> str:
    """The error's own words on one line, or its name when it has none."""
    words = " ".join(str(error.args[0] if error.args else "").split())
    return words[:240] or type(error).__name__.removesuffix("Error")


def _replicas(client: Any, specs: Sequence[TopicSpec]) -> dict[str, list[int]]:
    """The topics of `specs` that exist, with the number of replicas of each partition."""
    topics = client.describe_topics([spec.name for spec in specs])
    found: dict[str, list[int]] = {}
    for topic in topics:
        problem = for_code(topic["error_code"])
        if topic["error_code"] == 0:
            found[topic["name"]] = [len(partition["replica_nodes"]) for partition in topic["partitions"]]
        elif issubclass(problem, AuthorizationError | InvalidTopicError):
            raise problem(topic["name"])
    return found


def _configs(client: Any, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    described = client.describe_configs(resources, config_filter="all")
    return {
        name: {key: str(entry["value"]) for key, entry in entries.items()} for name, entries in described.get("topic", {}).items()
    }


def _create(client: Any, spec: TopicSpec, wait_s: float) -> bool:
    """Creates a topic; False if somebody else did so in the meantime."""
    wanted = {
        spec.name: {"num_partitions": spec.partitions, "replication_factor": spec.replication_factor, "configs": spec.config}
    }
    response = client.create_topics(wanted, timeout_ms=int(wait_s * 1000), raise_errors=False)
    (topic,) = response["topics"]
    problem = for_code(topic["error_code"])
    if topic["error_code"] == 0:
        return True
    if issubclass(problem, TopicAlreadyExistsError):
        return False
    raise problem(f"topic {spec.name}: {topic.get('error_message') or problem.description}")
