"""Shell: kafka-python's admin client, with bounded waits, and closed also when it could not be opened."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

CLIENT_ID = "footfall-admin"
_FAILED = re.compile(r"Bootstrap connection to \S+ failed: (.*?)(?: \(backoff [\d.]+ secs\))?$")


@contextlib.contextmanager
def admin_client(options: dict[str, Any], wait_s: float) -> Iterator[Any]:
    """An admin client for kafka-python's connection options. Raises a KafkaError when no broker answers within `wait_s`."""
    client = KafkaAdminClient.__new__(KafkaAdminClient)
    wait_ms = int(wait_s * 1000)
    try:
        client.__init__(
            **options, client_id=CLIENT_ID, bootstrap_timeout_ms=wait_ms, request_timeout_ms=wait_ms, reconnect_backoff_max_ms=500
        )
    except BaseException:
        # Its input-output thread runs already, and nobody else would stop it.
        if hasattr(client, "_net"):
            client._metrics.close()
            client._client.close()
            client._net.stop()
        raise
    try:
        yield client
    finally:
        client.close()


def cluster_is_ready(bootstrap: str, cluster_id: str) -> bool:
    """Whether the broker there is of this cluster and serves: it names a broker that takes requests in its metadata."""
    with quiet_client():
        try:
            with admin_client({"bootstrap_servers": [bootstrap]}, 5.0) as client:
                cluster = client.describe_cluster()
        except (KafkaError, OSError):
            return False
    return cluster["cluster_id"] == cluster_id and any(not one.get("is_fenced") for one in cluster["brokers"])


class Heard(logging.Handler):
    """Why kafka-python's last connection failed, as it logged it: its error at the end says no more than that time is up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the reason out of a record that has one."""
        failed = _FAILED.match(" ".join(record.getMessage().split()))
        if failed:
            self.last = failed[1].removeprefix("KafkaConnectionError: ")[:200]


@contextlib.contextmanager
def quiet_client() -> Iterator[Heard]:
    """Keeps kafka-python from logging each refused connection while a broker is waited for; the caller reports the outcome."""
    logger = logging.getLogger("kafka")
    heard = Heard()
    before, level = logger.propagate, logger.level
    logger.addHandler(heard)
    logger.propagate = False
    logger.setLevel(logging.WARNING)  # whatever the process shows: the reason is wanted
    try:
        yield heard
    finally:
        logger.propagate = before
        logger.setLevel(level)
        logger.removeHandler(heard)
