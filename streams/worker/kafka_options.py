"""Shell: connection options for aiokafka and Faust, from the same settings as everybody else's."""

from __future__ import annotations

from typing import Any

from aiokafka.helpers import create_ssl_context
from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from ingest.contract.settings import KafkaSettings


def _ssl_context(kafka: KafkaSettings) -> Any:
    return create_ssl_context(
        cafile=kafka.ssl_cafile or None, certfile=kafka.ssl_certfile or None, keyfile=kafka.ssl_keyfile or None
    )


def aiokafka_options(kafka: KafkaSettings) -> dict[str, Any]:
    """For aiokafka's clients, security included."""
    options: dict[str, Any] = {"bootstrap_servers": kafka.servers(), "security_protocol": kafka.security_protocol}
    if kafka.security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(kafka)
    if kafka.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password,
        }
    return options


def faust_credentials(kafka: KafkaSettings) -> CredentialsT | None:
    """For faust.App(broker_credentials=...)."""
    tls = kafka.security_protocol.endswith("SSL")
    if kafka.security_protocol.startswith("SASL"):
        return SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password,
            mechanism=kafka.sasl_mechanism,
            ssl_context=_ssl_context(kafka) if tls else None,
        )
    return SSLCredentials(_ssl_context(kafka)) if tls else None
