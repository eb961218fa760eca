"""footfall.toml: the plan and the settings of each stage, as one typed value.

Reading is pure: text and environment come in as arguments. `${NAME}` in a string value stands for an environment variable,
so that secrets need not lie in the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from ingest.contract.errors import ConfigError
from ingest.contract.plan import Plan
from ingest.contract.privacy import PrivacySettings, check_privacy
from ingest.contract.table import Table

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Timeout = Annotated[int, msgspec.Meta(ge=100, le=3_600_000)]
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class KafkaSettings(Table, frozen=True, kw_only=True):
    """Where Kafka is. Without `bootstrap_servers`, `footfall up` starts a broker of its own under the data directory."""

    bootstrap_servers: str = ""
    topic_prefix: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9._-]{1,64}$")] = "footfall"
    #: Of the events topic; fixed at creation (another count needs another project.layout and topic_prefix).
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 8
    replication_factor: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    #: How long raw frames stay in Kafka; what a sink that was away may catch up.
    retention_hours: Positive = 168
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""

    def __post_init__(self) -> None:
        if self.security_protocol not in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"):
            raise ConfigError("kafka.security_protocol must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
        if self.security_protocol.startswith("SASL") and not (self.sasl_mechanism and self.sasl_username):
            raise ConfigError(f"kafka.security_protocol {self.security_protocol} needs sasl_mechanism and sasl_username")

    def __repr__(self) -> str:  # a password must not reach a log
        return f"KafkaSettings({self.bootstrap_servers!r}, {self.security_protocol})"

    def servers(self) -> list[str]:
        """host:port of each bootstrap server."""
        return [one.strip() for one in self.bootstrap_servers.split(",") if one.strip()]


class ClickHouseSettings(Table, frozen=True, kw_only=True):
    """Where ClickHouse is. Without `url` the embedded engine is used, owned by the sinks' process.

    cluster: the name in the servers' `remote_servers`, if there are several: tables are replicated, and sharded by person.
    """

    url: str = ""
    user: str = "default"
    password: str = ""
    database: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")] = "footfall"
    cluster: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{0,64}$")] = ""
    events_ttl_days: Annotated[int, msgspec.Meta(ge=1)] = 400

    def __post_init__(self) -> None:
        if self.cluster and not self.url:
            raise ConfigError("clickhouse.cluster needs clickhouse.url: the address of one of its servers")

    def __repr__(self) -> str:  # a password must not reach a log
        return f"ClickHouseSettings({self.url!r}, user={self.user!r}, database={self.database!r})"


class CollectorSettings(Table, frozen=True, kw_only=True):
    """The HTTP door for SDKs. Limits hold for everything that comes from outside, before and after decompression."""

    host: str = "127.0.0.1"
    port: Port = 8090
    #: Prometheus metrics of the collector; never on the public port.
    metrics_port: Port = 8093
    #: How long events are gathered into a frame before it is sent; up to four times as long while others wait for Kafka.
    linger_ms: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 5
    #: SDKs fill batches of up to 5 MiB, and put one event on top.
    max_body_bytes: Positive = 6 * 1024 * 1024
    max_inflated_bytes: Positive = 20 * 1024 * 1024
    max_batch_events: Positive = 1000
    max_event_bytes: Positive = 64 * 1024
    #: Longest wait for Kafka's acknowledgement before the spool takes what waits (without a spool: before a 503).
    ack_timeout_ms: Annotated[int, msgspec.Meta(ge=1000, le=300_000)] = 10_000
    #: Bytes of requests and frames that wait for Kafka; beyond, a 503.
    max_in_flight_bytes: Positive = 64 * 1024 * 1024
    #: What may lie on disk while Kafka is away; beyond, a 503. 0: no spool, a 503 at once.
    spool_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1024 * 1024 * 1024
    #: Where: a folder of this collector's own ("": `spool` in data_dir), on a disk that outlives it.
    spool_dir: str = ""
    #: The spool leaves the disk so many bytes.
    spool_keep_free_bytes: Annotated[int, msgspec.Meta(ge=0)] = 256 * 1024 * 1024
    #: Of an event: members of one object, characters of a name and of a text.
    max_properties: Positive = 512
    max_name_chars: Positive = 256
    max_value_chars: Positive = 64 * 1024
    #: Events a second for each write key, and requests a second for each client address: 0 is no limit. A burst may come at once
    #: (0: ten seconds' worth). Who is over it is told when to come again: 429 at the native endpoint, 503 where SDKs send.
    key_events_per_s: Annotated[float, msgspec.Meta(ge=0)] = 0
    key_burst_events: NotNegative = 0
    address_requests_per_s: Annotated[float, msgspec.Meta(ge=0)] = 0
    address_burst_requests: NotNegative = 0
    #: Connections at a time: all, and of one address (0: no limit).
    max_connections: Positive = 4096
    max_connections_per_address: NotNegative = 0
    #: How long a request's head may take; how long a connection may stay without a request; how long a body may take, with a
    #: second more for each body_bytes_per_s that have come.
    head_timeout_ms: Timeout = 15_000
    idle_timeout_ms: Timeout = 75_000
    body_timeout_ms: Timeout = 30_000
    body_bytes_per_s: Positive = 4096
    #: Origins of web pages that may send: "*" is any; "https://*.bank.example" any host below it.
    cors_origins: list[str] = msgspec.field(default_factory=lambda: ["*"])
    #: Networks of proxies whose word about a client's address is taken (10.0.0.0/8), and the header that it is in.
    trusted_proxies: list[str] = msgspec.field(default_factory=list)
    forwarded_header: Literal["X-Forwarded-For", "Forwarded"] = "X-Forwarded-For"


class WorkerSettings(Table, frozen=True, kw_only=True):
    """The Faust worker."""

    #: Between two checkpoints of a partition (records and totals in one transaction).
    checkpoint_ms: Annotated[int, msgspec.Meta(ge=50, le=10_000)] = 500
    #: A checkpoint comes early when that many records wait.
    checkpoint_records: Positive = 20_000
    #: Decoded records kept at hand per partition.
    cached_records: Positive = 50_000
    #: The totals of a partition are written beside its records when that many have changed and that time has passed: who reads
    #: them next need only sum up what has changed since.
    snapshot_records: Positive = 5_000
    snapshot_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 120_000
    #: A worker that Kafka has not heard of for so long loses its partitions to the others.
    session_timeout_ms: Annotated[int, msgspec.Meta(ge=6_000, le=300_000)] = 30_000
    #: Health and metrics of this worker; 0 picks a free port.
    host: str = "127.0.0.1"
    port: Port = 8092


class SinksSettings(Table, frozen=True, kw_only=True):
    """The sinks' process: ClickHouse writers, Prometheus exporter, and the reader's door to an embedded engine."""

    host: str = "127.0.0.1"
    port: Port = 8091
    #: Of the ClickHouse HTTP interface in front of the embedded engine (only there; not with clickhouse.url).
    clickhouse_port: Port = 8123
    #: The console and the API, on a door of their own; 0 picks a free port. Beyond loopback they ask for console_token, as a
    #: bearer token or as the password of any user.
    console_host: str = "127.0.0.1"
    console_port: Port = 8094
    console_token: str = ""
    batch_events: Annotated[int, msgspec.Meta(ge=1, le=900_000)] = 50_000
    batch_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 1000

    def __post_init__(self) -> None:
        if self.console_host not in LOOPBACK and not self.console_token:
            raise ConfigError(
                f"sinks.console_host {self.console_host} is open to the network: set sinks.console_token too "
                '(16 characters or more; "${FOOTFALL_CONSOLE_TOKEN}" takes it from the environment)'
            )
        if self.console_token and (
            len(self.console_token) < 16 or not self.console_token.isascii() or not self.console_token.isprintable()
        ):
            raise ConfigError("sinks.console_token must be 16 or more printable ASCII characters")

    def __repr__(self) -> str:  # a token must not reach a log
        return f"SinksSettings({self.host!r}, {self.port}, console {self.console_host}:{self.console_port})"


class Settings(Plan, frozen=True, kw_only=True):
    """All of footfall.toml."""

    data_dir: str = "var"
    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    collector: CollectorSettings = CollectorSettings()
    worker: WorkerSettings = WorkerSettings()
    sinks: SinksSettings = SinksSettings()
    privacy: PrivacySettings = PrivacySettings()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_privacy(self.privacy, self)


def read_settings(text: str, environment: Mapping[str, str], source: str = "footfall.toml") -> Settings:
    """The settings in a TOML text. Raises ConfigError that names the line or the key, and what was expected there."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from error
    try:
        return msgspec.convert(_expand(data, environment, "$"), Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def _expand(value: Any, environment: Mapping[str, str], path: str) -> Any:
    if isinstance(value, dict):
        return {key: _expand(one, environment, f"{path}.{key}") for key, one in value.items()}
    if isinstance(value, list):
        return [_expand(one, environment, f"{path}[{index}]") for index, one in enumerate(value)]
    if isinstance(value, str):

        def variable(match: re.Match[str]) -> str:
            try:
                return environment[match[1]]
            except KeyError:
                raise ConfigError(f"{path} names the environment variable {match[1]}, which is not set") from None

        return _VARIABLE.sub(variable, value)
    return value


def kafka_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Connection options for kafka-python's clients, security included."""
    options: dict[str, Any] = {"bootstrap_servers": kafka.servers(), "security_protocol": kafka.security_protocol}
    if kafka.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password,
        }
    for key in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if getattr(kafka, key):
            options[key] = getattr(kafka, key)
    return options
